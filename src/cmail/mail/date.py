"""Date-times as RFC 5322 §3.3 writes them, whatever the locale, and timestamps of RFC 3339."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def print_date(wall_ms: int) -> str:
    """Mon, 9 Feb 2026 08:15:00 +0100, in the zone of this machine."""
    t = datetime.fromtimestamp(wall_ms // 1000, UTC).astimezone()
    return f"{_DAYS[t.weekday()]}, {t.day} {_MONTHS[t.month - 1]} {t.year} {t:%H:%M:%S %z}"


# RFC 3339 §5.6; T and Z may be small letters there. A second of 60 is a leap second.
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))\Z"
)
_EPOCH: Final = datetime(1970, 1, 1)
_MS: Final = timedelta(milliseconds=1)


def read_timestamp(text: str) -> int:
    """Wall milliseconds of a date-time of RFC 3339; ValueError when it is none."""
    found = _TIMESTAMP.match(text)
    if found is None:
        raise ValueError("not a date-time of RFC 3339")
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    leap, second = (1, 59) if second == 60 else (0, second)
    moment = datetime(year, month, day, hour, minute, second) - _EPOCH
    offset = timedelta(0)
    if found[8]:
        hours, minutes = int(found[9]), int(found[10])
        if hours > 23 or minutes > 59:
            raise ValueError("no such offset from UTC")
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if found[8] == "-" else 1)
    return (moment - offset) // _MS + leap * 1000 + int((found[7] or "")[:3].ljust(3, "0"))


def print_timestamp(wall_ms: int) -> str:
    """2026-02-09T07:15:00Z: RFC 3339, in UTC, whole seconds; at the latest the end of year 9999."""
    seconds = min(wall_ms // 1000, 253_402_300_799)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
