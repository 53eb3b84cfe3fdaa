"""How values are written for people: times, spans, sizes, counts."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from cmail.admin import link_words
from cmail.admin.link_words import size as octets
from cmail.admin.rows import duration
from cmail.admin.sites import is_full
from cmail.link.allowance import when_words


def clock(wall_ms: int | None) -> str:
    """14:05 today, else 23 Nov 14:05, in the time of this machine; a dash for none."""
    if not wall_ms:
        return "–"
    then = time.localtime(wall_ms / 1000)
    now = time.localtime()
    if then[:3] == now[:3]:
        return time.strftime("%H:%M:%S", then)
    if then.tm_year == now.tm_year:
        return time.strftime("%-d %b %H:%M", then)
    return time.strftime("%-d %b %Y %H:%M", then)


def moment(wall_ms: int | None) -> str:
    """For the datetime attribute: RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((wall_ms or 0) // 1000))


def ago(wall_ms: int | None) -> str:
    """3 h ago; in 5 min; a dash for none."""
    if not wall_ms:
        return "–"
    ms = time.time_ns() // 1_000_000 - wall_ms
    return f"{duration(ms)} ago" if ms >= 0 else f"in {duration(-ms)}"


def size(octets: int | None) -> str:
    """12 KB, 3.4 MB: as people say it (powers of 1000)."""
    if octets is None:
        return "–"
    number = float(octets)
    for unit in ("octets", "KB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "octets" or number >= 10 else f"{number:.1f} {unit}"


def count(number: int | None) -> str:
    """12 345, with narrow spaces."""
    return "–" if number is None else f"{number:,}".replace(",", "\u202f")


def plural(number: int, one: str, many: str) -> str:
    """1 message, 2 messages."""
    return f"{count(number)} {one if number == 1 else many}"


def money(cost: float) -> str:
    """1.50, under 0.01; a dash for nothing."""
    return link_words.money(cost) if cost else "–"


def when(wall_ms: int) -> str:
    """at 14:05, tomorrow at 08:00."""
    return when_words(wall_ms / 1000, time.time())


def short(words: str, most: int = 300) -> str:
    """What others have said, of a bounded length."""
    return words if len(words) <= most else f"{words[: most - 1]}…"


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "clock": clock,
    "moment": moment,
    "ago": ago,
    "span": duration,
    "size": size,
    "octets": octets,
    "count": count,
    "plural": plural,
    "short": short,
    "when": when,
    "money": money,
    "is_full": is_full,
}
