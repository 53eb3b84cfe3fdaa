"""Why a recipient waits and what can be done about it, in plain words. Pure: a row in, sentences out."""

import re
from dataclasses import dataclass
from typing import Any, Final

from cmail.admin.rows import duration
from cmail.mail.outcome import NotNow
from cmail.policy.routing import LMTP, LOCAL, MX_PREFIX, RELAY


@dataclass(frozen=True, slots=True)
class Why:
    """The answer of `cmail queue why`."""

    why: str
    advice: str


# What a reason has in it -> what it means. The first that fits is taken; small letters.
_CLUES: Final = (
    (
        ("it may have arrived",),
        "Their machine had all of the message and did not say what became of it. It is sent again by itself,"
        " rather than lost, so whoever it is for may get it twice; ask there if it may not come twice.",
    ),
    (
        ("greylist", "grey list", "graylist"),
        "Their server wants every new sender to wait a little (greylisting). It takes the message at a"
        " later attempt; nothing needs to be done.",
    ),
    (
        ("535", "530", "538", "authentication", "password"),
        "Our log-in at the next server failed. Check [smtp] username and password_file, then: cmail queue"
        " flush",
    ),
    (
        ("certificate", "tls"),
        "The encrypted connection did not come about. Check [smtp] tls and the certificate of the next"
        ' server; with tls = "required" it must be valid for its name.',
    ),
    (
        ("no smtp host", "smtp.host", "no host named"),
        'No upstream server is named. Set host in [smtp], or delivery = "mx", and then: cmail queue flush',
    ),
    (
        ("full", "quota", "452", "552"),
        "There is no room for it where it goes. Free some there; it is tried again by itself.",
    ),
    (
        ("refused", "unreachable", "timed out", "no answer", "time-out", "reset", "closed"),
        "Their machine did not answer or hung up. It is tried again by itself; if it goes on, ask whoever"
        " runs it, or check that a firewall lets us out.",
    ),
    (
        ("servfail", "dns", "resolver", "look up"),
        "The name of the next host could not be looked up. Check [dns] servers and the line; it is tried"
        " again by itself.",
    ),
)
_OURS: Final = ("no smtp host", "smtp.host", "535", "530", "538")  # our own trouble, not the peer's
_AGAIN: Final = "It is tried again by itself; to try now: cmail queue flush {id}"


def explain(
    row: dict[str, Any], now_ms: int, *, is_link_down: bool, is_batch: bool, is_server_down: bool = False
) -> Why:
    """Why the recipient of a row (admin.rows) waits."""
    if is_server_down:
        last = f" The last attempt ended with: {row['reason']}." if row["reason"] else ""
        return Why(f"The server is not running, so nothing is sent.{last}", "Start it: cmail serve")
    if row["state"] == "held":
        return Why(
            "It is on hold: somebody (or a rule) stopped it, and it stays until it is released.",
            f"cmail queue release {row['id']}   (or: cmail queue delete {row['id']})",
        )
    is_internet = row["route"] not in (LOCAL, LMTP)
    if is_internet and (is_link_down or row["kind"] == NotNow.OFFLINE):
        state = "down" if is_link_down else "not there when it was tried"
        return Why(
            f"The link is {state}. While it is, nothing is tried, and the message does not get older.",
            "It goes by itself as soon as the link is up (cmail link status shows it).",
        )
    if not row["attempts"] and is_internet and is_batch:
        return Why(
            "Mail for the Internet is collected here (queue.batch) and goes at the next exchange.",
            "To send now: cmail queue flush",
        )
    if not row["attempts"] and not row["reason"]:
        return Why(f"It is new: {_way(row['route'])} has not been tried yet.", "Nothing: it goes by itself.")
    return Why(_tried(row, now_ms), _advice(row))


def _tried(row: dict[str, Any], now_ms: int) -> str:
    tried = f"{_times(row['attempts'])} {_way(row['route'])}; the last answer was"
    said = row["reason"] or "nothing was said"
    who = _whose_trouble(row)
    waits = row["next_ms"] - now_ms
    when = f" The next attempt is in {duration(waits)}." if waits > 0 else " It is its turn now."
    return f"{who}. {tried}: {said}.{when}"


def _times(attempts: int) -> str:
    if not attempts:  # others were tried, and told enough of the next hop
        return "It has not been tried itself; others were,"
    return "Tried once" if attempts == 1 else f"Tried {attempts} times"


def _whose_trouble(row: dict[str, Any]) -> str:
    if _has_any(str(row["reason"]).lower(), _OURS):
        return "The way out of here is not set up, or does not let us in"
    return "The next server is in trouble" if row["kind"] == NotNow.HOST else "This message was put off"


def _advice(row: dict[str, Any]) -> str:
    reason = str(row["reason"]).lower()
    for clues, advice in _CLUES:
        if _has_any(reason, clues):
            return advice
    return _AGAIN.format(id=row["id"])


def _has_any(reason: str, clues: tuple[str, ...]) -> bool:
    """Whether a clue is in a reason; a reply code is not found within a longer number, such as a port."""
    return any(re.search(rf"(?<!\d){re.escape(clue)}(?!\d)", reason) for clue in clues)


def _way(route: str) -> str:
    if route == LOCAL:
        return "into the mailbox here"
    if route == LMTP:
        return "through the LMTP server"
    if route == RELAY:
        return "through the upstream server"
    return f"at the mail server of {route.removeprefix(MX_PREFIX)}"
