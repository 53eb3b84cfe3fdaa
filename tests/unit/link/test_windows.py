"""Times and windows in local time: what is open, what comes next, and nothing twice when the clock changes."""

import os
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.link.allowance import when_words
from cmail.link.windows import (
    last_begin,
    longest_s,
    midnight_after,
    next_begin,
    open_until,
    parse_slot,
    parse_slots,
    parse_window,
    today,
)

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    """Seconds since 1970 of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def local(seconds: float | None, zone: ZoneInfo = BERLIN) -> str:
    """And back; with the offset, because a night may have the same time twice."""
    return "never" if seconds is None else datetime.fromtimestamp(seconds, zone).strftime("%a %F %H:%M %z")


@pytest.mark.parametrize(
    ("text", "days", "start", "end", "minutes"),
    [
        ("08:00", "0123456", 480, None, 0),
        ("8:05", "0123456", 485, None, 0),
        ("22:00-06:00", "0123456", 1320, 360, 480),
        ("00:00-24:00", "0123456", 0, 0, 1440),
        ("08:00-08:00", "0123456", 480, 480, 1440),
        ("Mon-Fri 12:30", "01234", 750, None, 0),
        ("sat,SUN 10:00-12:00", "56", 600, 720, 120),
        ("Fri-Mon 23:00-01:00", "0456", 1380, 60, 120),
    ],
)
def test_what_is_written(text: str, days: str, start: int, end: int | None, minutes: int) -> None:
    """Days, begin, end and length of each form."""
    slot = parse_slot(text)
    assert (slot.days, slot.start_min, slot.end_min) == (frozenset(map(int, days)), start, end)
    assert slot.minutes == minutes and slot.is_window is (end is not None)


@pytest.mark.parametrize(
    "text",
    "| |8|24:00|12:60|8:5|-1:00|1٢:00|08:00-|08:00-09:00-10:00|Mo 08:00|Mon Tue 08:00|Mon- 08:00|Mon,"
    "|, 08:00|Montag 08:00|08:00 Mon|Mon-Fri".split("|"),
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """ValueError with words, whatever it is."""
    with pytest.raises(ValueError, match=r"right are|days are"):
        parse_slot(text)


def test_a_time_is_no_window() -> None:
    """Where a window is asked for."""
    assert parse_window("08:00-09:00").minutes == 60
    with pytest.raises(ValueError, match="without an end"):
        parse_window("08:00")


@pytest.mark.parametrize(
    ("slots", "now", "until", "next_"),
    [
        (["22:00-06:00"], "2026-01-30 21:59", "never", "Fri 2026-01-30 22:00 +0100"),
        (["22:00-06:00"], "2026-01-30 22:00", "Sat 2026-01-31 06:00 +0100", "Sat 2026-01-31 22:00 +0100"),
        (["22:00-06:00"], "2026-01-31 05:59", "Sat 2026-01-31 06:00 +0100", "Sat 2026-01-31 22:00 +0100"),
        (["22:00-06:00"], "2026-01-31 06:00", "never", "Sat 2026-01-31 22:00 +0100"),
        (["Fri 22:00-06:00"], "2026-01-31 05:00", "Sat 2026-01-31 06:00 +0100", "Fri 2026-02-06 22:00 +0100"),
        (["Sat 22:00-06:00"], "2026-01-31 05:00", "never", "Sat 2026-01-31 22:00 +0100"),
        (["Mon-Fri 12:30"], "2026-01-30 12:30", "never", "Mon 2026-02-02 12:30 +0100"),
        (["Fri 12:30"], "2026-01-30 12:30", "never", "Fri 2026-02-06 12:30 +0100"),
        (["08:00", "20:00-21:00"], "2026-01-30 09:00", "never", "Fri 2026-01-30 20:00 +0100"),
        (
            ["08:00-10:00", "10:00-11:00"],
            "2026-01-30 09:00",
            "Fri 2026-01-30 11:00 +0100",
            "Fri 2026-01-30 10:00 +0100",
        ),
        ([], "2026-01-30 09:00", "never", "never"),
    ],
)
def test_what_is_open_and_what_comes(slots: list[str], now: str, until: str, next_: str) -> None:
    """Over midnight, over the week's end, touching windows as one."""
    parsed = parse_slots(slots)
    assert local(open_until(parsed, at(now), BERLIN)) == until
    assert local(next_begin(parsed, at(now), BERLIN)) == next_


def test_a_window_that_never_ends_does_not_hang() -> None:
    """All day, every day: open, and its end is a week away at least."""
    end_s = open_until(parse_slots(["00:00-24:00"]), at("2026-01-30 09:00"), BERLIN)
    assert end_s is not None and end_s - at("2026-01-30 09:00") >= 6 * 86400


def test_spring_leaves_an_hour_out() -> None:
    """On 29 March 2026 there is no 02:30 in Berlin: what is to begin then begins an hour later by the
    clock, once; a window around it is an hour shorter."""
    at_half_past = parse_slots(["02:30"])
    assert local(next_begin(at_half_past, at("2026-03-28 12:00"), BERLIN)) == "Sun 2026-03-29 03:30 +0200"
    assert local(next_begin(at_half_past, at("2026-03-29 03:30"), BERLIN)) == "Mon 2026-03-30 02:30 +0200"
    night = parse_slots(["22:00-06:00"])
    end_s = open_until(night, at("2026-03-28 22:00"), BERLIN)
    assert end_s is not None and end_s - at("2026-03-28 22:00") == 7 * 3600


@pytest.mark.parametrize(
    ("window", "begin", "end"),
    [
        ("02:00-03:00", "03:00", "04:00"),
        ("02:10-02:50", "03:00", "03:40"),
        ("02:30-03:00", "03:00", "03:30"),
        ("02:30-03:30", "03:00", "03:30"),
        ("02:30-05:00", "03:00", "05:00"),
        ("01:30-02:30", "01:30", "03:30"),
    ],
)
def test_a_window_in_the_hour_that_spring_leaves_out(window: str, begin: str, end: str) -> None:
    """It is not lost: it begins with the first minute that there is, and one that is left out whole lasts as
    long as ever."""
    slots = parse_slots([window])
    begin_s = next_begin(slots, at("2026-03-29 00:00"), BERLIN)
    assert local(begin_s)[-11:-6] == begin and begin_s is not None
    assert local(open_until(slots, begin_s, BERLIN))[-11:-6] == end
    assert local(next_begin(slots, begin_s, BERLIN))[:14] == "Mon 2026-03-30"


def test_autumn_has_an_hour_twice() -> None:
    """On 25 October 2026 Berlin has 02:30 twice: the first counts, and it is met once."""
    slots = parse_slots(["02:30"])
    first_s = next_begin(slots, at("2026-10-25 01:00"), BERLIN)
    assert local(first_s) == "Sun 2026-10-25 02:30 +0200"
    assert first_s is not None
    assert local(next_begin(slots, first_s, BERLIN)) == "Mon 2026-10-26 02:30 +0100"
    end_s = open_until(parse_slots(["22:00-06:00"]), at("2026-10-24 22:00"), BERLIN)
    assert end_s is not None and end_s - at("2026-10-24 22:00") == 9 * 3600


_SLOTS = st.lists(
    st.sampled_from(["02:30", "08:00", "22:00-06:00", "Mon-Fri 12:30", "Sun 01:00-03:00", "00:00-24:00"]),
    min_size=1,
    max_size=3,
)


@given(
    _SLOTS, st.integers(0, 366 * 24 * 60), st.sampled_from(["Europe/Berlin", "UTC", "Australia/Lord_Howe"])
)
def test_next_and_last_agree(texts: list[str], minutes: int, zone_name: str) -> None:
    """What begins next has begun last once it is there, and nothing begins in between; on every day of a
    year, also where the clock changes by half an hour."""
    zone, slots = ZoneInfo(zone_name), parse_slots(texts)
    now_s = at("2026-01-01 00:00", zone) + 60 * minutes
    next_s = next_begin(slots, now_s, zone)
    assert next_s is not None and next_s > now_s
    assert last_begin(slots, next_s, zone) == next_s
    before_s = last_begin(slots, next_s - 1, zone)
    assert before_s is not None and before_s <= now_s
    end_s = open_until(slots, now_s, zone)
    assert end_s is None or end_s > now_s


def test_the_longest_window() -> None:
    """For what could never go in one."""
    assert longest_s(parse_slots(["08:00", "12:00-12:30", "Sat 22:00-02:00"])) == 4 * 3600
    assert longest_s(parse_slots(["08:00"])) == 0


def test_the_day_and_its_end() -> None:
    """A budget lasts until midnight, also on a day of 23 hours."""
    noon = at("2026-03-28 12:00")
    assert (today(noon, BERLIN), local(midnight_after(noon, BERLIN))) == (
        "2026-03-28",
        "Sun 2026-03-29 00:00 +0100",
    )
    sunday = midnight_after(noon, BERLIN)
    assert midnight_after(sunday, BERLIN) - sunday == 23 * 3600


def test_without_a_zone_it_is_that_of_the_machine() -> None:
    """None: the machine's own, as TZ says it."""
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = "Europe/Berlin"
        time.tzset()
        now_s = at("2026-03-28 23:00")
        for texts in (["02:30"], ["22:00-06:00"], ["Sun 12:00"]):
            slots = parse_slots(texts)
            assert next_begin(slots, now_s) == next_begin(slots, now_s, BERLIN)
            assert open_until(slots, now_s) == open_until(slots, now_s, BERLIN)
        assert midnight_after(now_s) == now_s + timedelta(hours=1).total_seconds()
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ("2026-11-23 22:00", "at 22:00"),
        ("2026-11-24 08:00", "tomorrow at 08:00"),
        ("2026-11-30 08:00", "on Monday at 08:00"),
        ("2026-12-23 12:00", "on 23 December at 12:00"),
    ],
)
def test_when_in_words(then: str, words: str) -> None:
    """A day of the week is one of the next seven."""
    assert when_words(at(then), at("2026-11-23 12:00"), BERLIN) == words
