"""Link-up time: it stands still while the link is down, and nothing makes it jump."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.link.clock import LinkReading, LinkView, parse_reading
from cmail.policy.orders import FREE, NOTHING, Orders
from tests.support.clock import FakeClock

T0 = 1_800_000_000_000


def test_it_stands_still_while_down() -> None:
    """An hour down is an hour less."""
    reading = LinkReading().down(T0)
    assert reading.link_ms(T0 + 3_600_000) == T0
    reading = reading.up(T0 + 3_600_000)
    assert reading.link_ms(T0 + 3_600_000) == T0
    assert reading.link_ms(T0 + 3_600_001) == T0 + 1
    assert reading.periods == 2


def test_down_twice_and_up_twice_are_once() -> None:
    """What it is already changes nothing."""
    reading = LinkReading().down(T0)
    assert reading.down(T0 + 5) is reading
    up = reading.up(T0 + 9)
    assert up.up(T0 + 50) is up


@given(st.lists(st.tuples(st.booleans(), st.integers(-(10**9), 10**9)), max_size=30))
def test_no_change_of_the_link_makes_it_jump(steps: list[tuple[bool, int]]) -> None:
    """At each change it goes on where it stood, whatever somebody did to the wall clock."""
    reading, wall = LinkReading(), T0
    for is_down, passed in steps:
        wall += passed
        before = reading.link_ms(wall)
        reading = reading.down(wall) if is_down else reading.up(wall)
        assert reading.link_ms(wall) == before


def test_it_goes_over_a_socket_and_back() -> None:
    """fields() and parse_reading() are each other's inverse."""
    reading = LinkReading().down(T0).up(T0 + 7).down(T0 + 9)
    assert parse_reading(reading.fields()) == reading


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"is_down": 1, "down_ms": 0, "periods": 1, "changed_wall_ms": 0},
        {"is_down": False, "down_ms": "0", "periods": 1, "changed_wall_ms": 0},
        {"is_down": False, "down_ms": 0, "periods": 0, "changed_wall_ms": 0},
        {"is_down": False, "down_ms": 0, "periods": True, "changed_wall_ms": 0},
    ],
)
def test_what_is_no_reading_is_refused(fields: dict[str, object]) -> None:
    """ValueError, and nothing half read."""
    with pytest.raises(ValueError):
        parse_reading(fields)


def test_a_worker_hears_of_changes_only() -> None:
    """Listeners are called when the link goes down or up, not for each word of the link process."""
    clock, heard = FakeClock(), []
    view = LinkView(clock)
    view.listen(lambda: heard.append(view.is_down))
    down = LinkReading().down(clock.wall_ms())
    for reading in (LinkReading(), down, down, down.up(clock.wall_ms())):
        view.changed(reading)
    assert heard == [True, False]
    assert (view.is_down, view.periods, view.link_ms()) == (False, 2, clock.wall_ms())


def test_a_worker_hears_of_other_orders() -> None:
    """Listeners are called when orders change, those for turns only when the link goes down or up; who
    says nothing of orders leaves them as they are."""
    clock, heard, turns = FakeClock(), [], []
    view = LinkView(clock)
    view.listen(lambda: heard.append(view.orders.size_max))
    view.listen_to_turns(lambda: turns.append(view.is_down))
    none = Orders(size_max=NOTHING)
    for reading, orders in ((LinkReading(), none), (LinkReading(), none), (LinkReading(), None)):
        view.changed(reading, orders)
    assert (view.orders, heard, turns) == (none, [NOTHING], [])
    view.changed(LinkReading().down(clock.wall_ms()), FREE)
    assert turns == [True] and heard == [NOTHING, FREE.size_max]
