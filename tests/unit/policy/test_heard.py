"""Heard: only time in which a message could have gone counts as its chances."""

from dataclasses import replace

from cmail.policy.heard import KEPT_MAX, Heard
from cmail.policy.orders import FREE, NOTHING, Orders

CLOSED = replace(FREE, is_exchange_open=False)
SMALL = Orders(size_max=1000)


def test_without_limits_all_time_counts() -> None:
    """As before there were any orders; also what lies before we started."""
    assert Heard(FREE, 500).admitted_ms(9000, 0, 100, 900) == 800


def test_time_in_which_it_was_kept_does_not_count() -> None:
    """A large message while only small ones go, everything between exchanges."""
    heard = Heard(FREE, 0)
    heard.note(SMALL, 100)
    heard.note(CLOSED, 300)
    heard.note(FREE, 350)
    assert heard.admitted_ms(9000, 0, 0, 400) == 150
    assert heard.admitted_ms(9000, 0, 200, 400) == 50
    assert heard.admitted_ms(9000, 0, 370, 400) == 30
    assert heard.admitted_ms(10, 0, 0, 400) == 350
    assert heard.admitted_ms(9000, 1, 0, 400) == 350


def test_what_was_before_us_counts_only_for_who_was_never_kept() -> None:
    """After a restart nobody knows how long a large message could not go."""
    heard = Heard(SMALL, 1000)
    heard.note(FREE, 1100)
    assert heard.admitted_ms(10, 0, 0, 1200) == 1200
    assert heard.admitted_ms(9000, 0, 0, 1200) == 100


def test_memory_is_bounded() -> None:
    """Years of orders cost no more than the last ones."""
    heard = Heard(FREE, 0)
    for number in range(3 * KEPT_MAX):
        heard.note(CLOSED if number % 2 else FREE, number)
    assert heard.admitted_ms(1, 0, 0, 3 * KEPT_MAX) == KEPT_MAX // 2
    assert Heard(replace(FREE, size_max=NOTHING), 0).admitted_ms(0, 0, 0, 10) == 0
