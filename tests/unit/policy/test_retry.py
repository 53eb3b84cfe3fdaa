"""When again: the table of waits, the lifetime with its chances, the delay notice, the window."""

from datetime import timedelta

import pytest

from cmail.policy.concurrency import REGROW_AFTER_S, Window
from cmail.policy.retry import (
    Age,
    GiveUp,
    RetryAfter,
    decide,
    has_expired,
    is_delay_due,
    wait_max_ms,
    wait_ms,
)
from cmail.queue.settings import QueueSettings

TIMES = QueueSettings()
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("failures", "minutes"), [(0, 5), (1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (10**6, 60)]
)
def test_waits_follow_the_table(failures: int, minutes: int) -> None:
    """The n-th wait is the n-th entry; the last repeats."""
    assert wait_ms(failures, TIMES.retry, 0.5) == minutes * MINUTE


def test_jitter_spreads_but_never_far() -> None:
    """90 to 110 per cent, and wait_max_ms() is above all of them."""
    waits = [wait_ms(9, TIMES.retry, n / 1000) for n in range(1000)]
    assert min(waits) == 54 * MINUTE and 65.9 * MINUTE < max(waits) < 66 * MINUTE <= wait_max_ms(TIMES)


def test_a_wait_is_never_nothing() -> None:
    """A table with 0s does not make a circle."""
    assert wait_ms(1, (timedelta(0),), 0.0) == 1000


@pytest.mark.parametrize(
    ("name", "attempts", "age", "periods", "expired"),
    [
        ("a day old", 9, Age(DAY, DAY), 1, False),
        ("just before", 9, Age(5 * DAY - 1, 5 * DAY - 1), 1, False),
        ("just over", 9, Age(5 * DAY, 5 * DAY), 1, True),
        ("never tried", 0, Age(50 * DAY, 50 * DAY), 0, False),
        ("old, but the link was down", 9, Age(50 * DAY, 4 * DAY), 9, False),
        ("old, little link, ten periods", 10, Age(50 * DAY, HOUR), 10, True),
        ("ten periods, but young", 10, Age(DAY, DAY), 10, False),
        ("the wall clock was set back", 10, Age(0, 6 * DAY), 1, False),
    ],
)
def test_expiry_needs_age_and_chances(
    name: str, attempts: int, age: Age, periods: int, expired: bool
) -> None:
    """Older than its lifetime by the wall, and link-up time or periods, and tried at least once."""
    assert has_expired(attempts, age, periods, TIMES) is expired


@pytest.mark.parametrize(
    ("name", "attempts", "age", "periods", "due"),
    [
        ("four hours of link", 5, Age(4 * HOUR, 4 * HOUR), 1, True),
        ("not yet", 5, Age(4 * HOUR - 1, 4 * HOUR - 1), 1, False),
        ("days off line", 2, Age(9 * DAY, HOUR), 2, False),
        ("days off line, three periods", 3, Age(9 * DAY, HOUR), 3, True),
        ("never tried", 0, Age(9 * DAY, 9 * DAY), 0, False),
    ],
)
def test_the_delay_notice_likewise(name: str, attempts: int, age: Age, periods: int, due: bool) -> None:
    """4 h, or 3 periods."""
    assert is_delay_due(attempts, age, periods, TIMES) is due


def test_the_delay_notice_can_be_switched_off() -> None:
    """delay_notice = "0s" tells nobody."""
    off = QueueSettings(delay_notice=timedelta(0))
    assert not is_delay_due(99, Age(9 * DAY, 9 * DAY), 9, off)


def test_decide_retries_then_gives_up() -> None:
    """The union that callers match on."""
    assert decide(1, Age(0, 0), 1, TIMES, 0.5) == RetryAfter(5 * MINUTE)
    assert decide(99, Age(5 * DAY, 5 * DAY), 1, TIMES, 0.5) == GiveUp()


def test_the_window_opens_by_doubling_and_closes_at_once() -> None:
    """1, 2, 4, 8; back to what works when one more is refused, and not up again for a minute."""
    window = Window()
    sizes = [window.size]
    for _ in range(3):
        assert window.proved(0.0)
        sizes.append(window.size)
    assert sizes == [1, 2, 4, 8]
    window.refused(3, 100.0)
    assert window.size == 3 and not window.proved(101.0) and window.size == 3
    assert window.proved(100.0 + REGROW_AFTER_S) and window.size == 6
    window.closed()
    assert window.size == 1
