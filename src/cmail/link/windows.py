"""Times and windows: "08:00", "22:00-06:00", "Mon-Fri 12:30": when the next begins, which is open, how long.

Written in local time; what comes in and goes out are seconds since 1970, so no change to or from summer
time is ever met twice or missed: a time that a day does not have is that much later, one that it has twice
is the first; a window that begins at one that is not there begins with the next that is. Pure: the zone is
an argument (None: that of the machine)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Final

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY: Final = frozenset(range(7))
_MINUTES_A_DAY: Final = 24 * 60
_LOOK_AHEAD_DAYS: Final = 8  # a week, and today again
EXAMPLES: Final = '"08:00", "22:00-06:00", "Mon-Fri 12:30"'


@dataclass(frozen=True, slots=True)
class Slot:
    """A time of day on some days, or (with an end) a window that begins then."""

    days: frozenset[int]  # Monday is 0; the days on which it begins
    start_min: int  # minutes since midnight
    end_min: int | None = None  # not above start_min: on the day after

    @property
    def is_window(self) -> bool:
        """Whether it lasts."""
        return self.end_min is not None

    @property
    def minutes(self) -> int:
        """How long it lasts, on a day of 24 hours; 0 for a time."""
        if self.end_min is None:
            return 0
        return (self.end_min - self.start_min) % _MINUTES_A_DAY or _MINUTES_A_DAY


@dataclass(frozen=True, slots=True)
class Span:
    """A slot on a certain day."""

    begin_s: float
    end_s: float  # begin_s for a time

    def is_open(self, now_s: float) -> bool:
        """Whether now is in it."""
        return self.begin_s <= now_s < self.end_s


def parse_slot(text: str) -> Slot:
    """A slot from its text; ValueError says what is wrong, in words."""
    *before, times = text.split() or [""]
    if len(before) > 1 or not times:
        raise ValueError(f"it is neither a time nor a window; right are {EXAMPLES}")
    days = _days(before[0]) if before else _EVERY_DAY
    start, dash, end = times.partition("-")
    return Slot(days, _minute(start), _end(end) if dash else None)


def parse_window(text: str) -> Slot:
    """A slot that has an end; ValueError for a mere time."""
    slot = parse_slot(text)
    if not slot.is_window:
        raise ValueError('it is a time without an end; a window is written "08:00-09:30"')
    return slot


def parse_slots(texts: Sequence[str]) -> tuple[Slot, ...]:
    """All of a setting that was checked."""
    return tuple(parse_slot(text) for text in texts)


def _minute(text: str) -> int:
    hour, colon, minute = text.partition(":")
    is_number = all(part.isascii() and part.isdigit() and len(part) <= 2 for part in (hour, minute))
    if not colon or not is_number or len(minute) != 2 or int(hour) > 23 or int(minute) > 59:
        raise ValueError(f'"{text}" is no time from 00:00 to 23:59; right are {EXAMPLES}')
    return int(hour) * 60 + int(minute)


def _end(text: str) -> int:
    return 0 if text == "24:00" else _minute(text)


def _days(text: str) -> frozenset[int]:
    """Mon, Mon-Fri, Sat,Sun, Fri-Mon."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin = _day(first)
        end = _day(last) if dash else begin
        found.update((begin + n) % 7 for n in range((end - begin) % 7 + 1))
    return frozenset(found)


def _day(text: str) -> int:
    try:
        return _DAYS.index(text.lower())
    except ValueError:
        raise ValueError(f'"{text}" is no day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun') from None


def open_until(slots: Sequence[Slot], now_s: float, zone: tzinfo | None = None) -> float | None:
    """When the window that is open now ends (of several the last); None: none is open. Windows that
    touch are one."""
    end_s, is_longer = now_s, True
    while is_longer:
        ends = [span.end_s for span in _spans(slots, end_s, zone) if span.is_open(end_s)]
        is_longer = bool(ends) and end_s - now_s < 7 * 86400
        end_s = max([end_s, *ends])
    return end_s if end_s > now_s else None


def next_begin(slots: Sequence[Slot], now_s: float, zone: tzinfo | None = None) -> float | None:
    """When the next slot begins, later than now; None: there is none."""
    return min((span.begin_s for span in _spans(slots, now_s, zone) if span.begin_s > now_s), default=None)


def last_begin(slots: Sequence[Slot], now_s: float, zone: tzinfo | None = None) -> float | None:
    """When a slot began last, now at the latest; None: there is none."""
    found = _spans(slots, now_s - 7 * 86400, zone)
    return max((span.begin_s for span in found if span.begin_s <= now_s), default=None)


def longest_s(slots: Sequence[Slot]) -> float:
    """Seconds of the longest window; 0 when there is none."""
    return 60.0 * max((slot.minutes for slot in slots), default=0)


def is_endless(slots: Sequence[Slot]) -> bool:
    """Whether windows leave no minute of a week out."""
    week = bytearray(7 * _MINUTES_A_DAY)
    for slot in slots:
        for day in slot.days:
            for minute in range(slot.start_min, slot.start_min + slot.minutes):
                week[(day * _MINUTES_A_DAY + minute) % len(week)] = 1
    return all(week)


def midnight_after(now_s: float, zone: tzinfo | None = None) -> float:
    """When the next day begins."""
    return _instant(datetime.fromtimestamp(now_s, zone).date() + timedelta(days=1), 0, zone)


def today(now_s: float, zone: tzinfo | None = None) -> str:
    """The day as 2026-01-31."""
    return datetime.fromtimestamp(now_s, zone).date().isoformat()


def _spans(slots: Sequence[Slot], now_s: float, zone: tzinfo | None) -> list[Span]:
    """Those that began yesterday or begin within a week of now."""
    first = datetime.fromtimestamp(now_s, zone).date() - timedelta(days=1)
    days = [first + timedelta(days=n) for n in range(_LOOK_AHEAD_DAYS + 2)]
    return [_span(slot, day, zone) for day in days for slot in slots if day.weekday() in slot.days]


def _span(slot: Slot, day: date, zone: tzinfo | None) -> Span:
    begin_s = _instant(day, slot.start_min, zone)
    if slot.end_min is None:
        return Span(begin_s, begin_s)
    end_day = day if slot.end_min > slot.start_min else day + timedelta(days=1)
    end_s = _instant(end_day, slot.end_min, zone)
    if not _is_there(begin_s, slot.start_min, zone):
        begin_s = _next_there(day, slot.start_min, zone)
        if end_s <= begin_s or not _is_there(end_s, slot.end_min, zone):
            end_s = begin_s + 60.0 * slot.minutes  # all of it is left out: it is as much later
    return Span(begin_s, max(begin_s, end_s))


def _is_there(instant_s: float, minute: int, zone: tzinfo | None) -> bool:
    """Whether the day of an instant has the minute that it was made of."""
    local = datetime.fromtimestamp(instant_s, zone)
    return local.hour * 60 + local.minute == minute


def _next_there(day: date, minute: int, zone: tzinfo | None) -> float:
    """The first minute behind one that is left out."""
    found = (_instant(day, later, zone) for later in range(minute + 1, _MINUTES_A_DAY))
    return next(
        (s for n, s in enumerate(found, minute + 1) if _is_there(s, n, zone)), _instant(day, minute, zone)
    )


def _instant(day: date, minute: int, zone: tzinfo | None) -> float:
    """A local time as seconds since 1970; one of those that summer time leaves out is as much later."""
    hour, minute = divmod(minute, 60)
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp()
