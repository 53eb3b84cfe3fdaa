"""When a message is to go, by when, and how urgent it is: what MAIL says of it, and the keywords in EHLO.

FUTURERELEASE (RFC 4865), DELIVERBY (RFC 2852) and MT-PRIORITY (RFC 6710). What is wrong with a parameter is a
GrammarError; whether somebody may ask is not decided here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cmail.mail.date import print_timestamp, read_timestamp
from cmail.protocol.smtp.grammar import GrammarError

HOLD_KEYWORDS: Final = frozenset(("HOLDFOR", "HOLDUNTIL"))
KEYWORDS: Final = HOLD_KEYWORDS | {"BY", "MT-PRIORITY"}
SECONDS_MAX: Final = 999_999_999  # nine digits: RFC 4865, RFC 2852
PRIORITY_MAX: Final = 9  # RFC 6710

_SECONDS: Final = re.compile(rb"[0-9]{1,9}\Z")
_BY: Final = re.compile(rb"([+-]?[0-9]{1,9});([NRnr])([Tt]?)\Z")  # by-time ";" by-mode [by-trace]
_PRIORITY: Final = re.compile(rb"(?:0|-?[1-9])\Z")  # RFC 6710: no plus sign, no -0


@dataclass(frozen=True, slots=True)
class Schedule:
    """What MAIL asked for. `said` are the keywords, for who may not say them."""

    said: tuple[str, ...]
    hold_for_s: int = 0
    hold_until_ms: int = 0  # wall; 0: not said
    by_s: int | None = None  # from when it came, or from when it is released; 0 or less: late already
    by_mode: str = ""  # "N" or "R", and "T" behind it with by-trace
    priority: int | None = None


def parse_schedule(parameters: Mapping[str, bytes]) -> Schedule:
    """The parameters of KEYWORDS. RFC 4865: HOLDFOR or HOLDUNTIL, not both."""
    if len(HOLD_KEYWORDS & parameters.keys()) > 1:
        raise GrammarError("HOLDFOR or HOLDUNTIL, not both")
    hold_for_s, hold_until_ms, priority = 0, 0, None
    by_s, by_mode = None, ""
    for keyword, value in parameters.items():
        if keyword == "HOLDFOR":
            hold_for_s = _hold_for(value)
        elif keyword == "HOLDUNTIL":
            hold_until_ms = _hold_until(value)
        elif keyword == "BY":
            by_s, by_mode = _by(value)
        else:
            priority = _priority(value)
    return Schedule(tuple(parameters), hold_for_s, hold_until_ms, by_s, by_mode, priority)


def _hold_for(value: bytes) -> int:
    if not _SECONDS.match(value):
        raise GrammarError("HOLDFOR must be seconds, up to nine digits")
    return int(value)


def _hold_until(value: bytes) -> int:
    """A date-time of RFC 3339. RFC 4865 wants it in UTC; one with an offset is as clear."""
    try:
        return max(1, read_timestamp(value.decode("ascii")))
    except ValueError:  # UnicodeDecodeError is one, too
        raise GrammarError("HOLDUNTIL must be like 2026-11-23T08:00:00Z") from None


def _by(value: bytes) -> tuple[int, str]:
    found = _BY.match(value)
    if found is None:
        raise GrammarError("BY must be seconds;N or seconds;R, with T behind it for a trace")
    by_s, mode = int(found[1]), (found[2] + found[3]).decode().upper()
    if by_s <= 0 and mode[0] == "R":  # RFC 2852: what is late already cannot be returned in time
        raise GrammarError("BY with R must be more than 0 seconds")
    return by_s, mode


def _priority(value: bytes) -> int:
    if not _PRIORITY.match(value):
        raise GrammarError("MT-PRIORITY must be a number from -9 to 9")
    return int(value)


def by_value(by_s: int, by_mode: str) -> str:
    """BY as MAIL says it: what is left of the time."""
    return f"{max(-SECONDS_MAX, min(by_s, SECONDS_MAX))};{by_mode}"


def scheduling_keywords(hold_max_s: int, now_ms: int, by_min_s: int) -> tuple[str, ...]:
    """The EHLO keywords with their parameters (RFC 4865, RFC 2852, RFC 6710). Neither a hold of at
    most 0 s nor a priority profile is named: all of -9 to 9 count here, each before the next."""
    found = []
    if hold_max_s > 0:
        until = print_timestamp((now_ms // 1000 + hold_max_s) * 1000)
        found.append(f"FUTURERELEASE {hold_max_s} {until}")
    found.append(f"DELIVERBY {by_min_s}" if by_min_s > 0 else "DELIVERBY")
    return (*found, "MT-PRIORITY")
