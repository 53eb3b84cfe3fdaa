"""Wishes: when a sender wants a message to go, by when, and how urgent; who may ask, and what becomes of it.

FUTURERELEASE (RFC 4865), DELIVERBY (RFC 2852) and MT-PRIORITY (RFC 6710) are for who hands mail in: after a
log-in, and from relay.networks. Strangers are not offered them: a deadline would have us send reports to
whoever they name as sender, a priority would put their mail before that of people here, and a server that
must return late mail is not to think that we do it for it. A deadline of theirs is refused as unknown; a
priority is taken for the usual one, and that is said (RFC 6710). LMTP is for programs, of whose senders
we know nothing."""

from dataclasses import dataclass
from typing import Final

from cmail.protocol.smtp.commands import unknown_parameter
from cmail.protocol.smtp.scheduling import HOLD_KEYWORDS, Schedule
from cmail.smtpd.facts import Session
from cmail.smtpd.offered import by_min_s, hold_max_s

HOLD_TOO_LONG: Final = b"501 5.5.4 We keep no message so long before it is sent\r\n"
OK: Final = b"2.0.0 Ok"  # what is said of a message that was taken
LOWERED: Final = b"2.3.6 0 is the priority that it has here"  # RFC 6710: the number comes first


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a message gets of what was asked."""

    priority: int = 0
    deliver_by_ms: int = 0  # link-up time
    by_mode: str = ""
    hold_until_ms: int = 0  # wall
    said: bytes = OK
    is_priority_fixed: bool = (
        False  # 0, and the header asks for another: the next server must not believe that
    )


NO_WISHES: Final = Wishes()


def may_ask(session: Session) -> bool:
    """Whether its wishes are heard: it hands mail in, and we know who that is."""
    return bool(session.username or session.client.may_relay) and session.facts.kind != "lmtp"


def check_schedule(session: Session, schedule: Schedule) -> bytes:
    """At MAIL: b"", or why not."""
    context = session.facts.context
    limits = context.settings
    if not may_ask(session):
        return _refuse_unknown(schedule, frozenset(("MT-PRIORITY",)))
    longest_s = hold_max_s(limits)
    if not longest_s and not HOLD_KEYWORDS.isdisjoint(schedule.said):
        return _refuse_unknown(schedule, frozenset(("MT-PRIORITY", "BY")))
    now_ms = context.clock.wall_ms()
    if max(schedule.hold_for_s * 1000, schedule.hold_until_ms - now_ms) > longest_s * 1000:
        return HOLD_TOO_LONG  # RFC 4865
    least_s = by_min_s(limits)
    if schedule.by_s is not None and schedule.by_mode[0] == "R" and schedule.by_s < least_s:
        return b"555 5.5.4 BY with R must be at least %d seconds here\r\n" % least_s  # RFC 2852
    return b""


def _refuse_unknown(schedule: Schedule, known: frozenset[str]) -> bytes:
    keyword = next((each for each in schedule.said if each not in known), "")
    return unknown_parameter(keyword) if keyword else b""


def said_priority(session: Session, schedule: Schedule) -> int | None:
    """The priority that a message has here when MAIL says one; None when it does not."""
    return schedule.priority if schedule.priority is None or may_ask(session) else 0


def wishes_of(
    session: Session, schedule: Schedule | None, header_priority: int, arrived_ms: int, link_ms: int
) -> Wishes:
    """What a message gets of what MAIL and its header section ask for."""
    if not may_ask(session):
        is_lowered = schedule is not None and schedule.priority
        said = LOWERED if is_lowered else OK
        return Wishes(said=said, is_priority_fixed=True) if is_lowered or header_priority else NO_WISHES
    if schedule is None:
        return Wishes(header_priority)
    # RFC 6758: the field counts only where MAIL says nothing.
    asked = header_priority if schedule.priority is None else schedule.priority
    until_ms = schedule.hold_until_ms or arrived_ms + schedule.hold_for_s * 1000
    held_ms = max(0, until_ms - arrived_ms)
    if schedule.by_s is None:
        deliver_by_ms = 0
    else:  # its time begins when it is released: nobody can ask for both and get neither
        deliver_by_ms = max(1, link_ms + held_ms + schedule.by_s * 1000)
    is_fixed = not asked and header_priority != 0
    until_ms = until_ms if held_ms else 0
    return Wishes(asked, deliver_by_ms, schedule.by_mode, until_ms, is_priority_fixed=is_fixed)
