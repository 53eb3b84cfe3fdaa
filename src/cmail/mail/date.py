"""Date-times as RFC 5322 §3.3 writes them, whatever the locale."""

from datetime import UTC, datetime
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def print_date(wall_ms: int) -> str:
    """Mon, 9 Feb 2026 08:15:00 +0100, in the zone of this machine."""
    t = datetime.fromtimestamp(wall_ms // 1000, UTC).astimezone()
    return f"{_DAYS[t.weekday()]}, {t.day} {_MONTHS[t.month - 1]} {t.year} {t:%H:%M:%S %z}"
