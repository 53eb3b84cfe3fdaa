"""Habits: how many messages a host takes on one connection, and how long that is believed."""

from ipaddress import ip_address

from cmail.delivery.habits import Habits
from cmail.delivery.hosts import Host
from tests.support.clock import FakeClock

HOST, OTHER = (Host("mx", ip_address(f"192.0.2.{number}"), 25) for number in (1, 2))


def test_what_a_host_takes_is_believed_for_a_while() -> None:
    """It holds for that host, never beyond what the settings allow, and not for ever: it may have been a restart."""
    clock = FakeClock()
    habits = Habits(clock.monotonic)
    habits.learn(HOST, 3)
    assert [habits.messages_max(each, 1000) for each in (HOST, OTHER)] == [3, 1000]
    assert habits.messages_max(HOST, 2) == 2
    habits.learn(HOST, 1)
    clock.advance(29 * 60)
    assert habits.messages_max(HOST, 1000) == 1
    clock.advance(2 * 60)
    assert habits.messages_max(HOST, 1000) == 1000


def test_hosts_without_end_are_not_remembered_without_end() -> None:
    """A limit on everything."""
    habits = Habits(FakeClock().monotonic)
    for number in range(3000):
        habits.learn(Host("mx", ip_address(number), 25), 1)
    assert len(habits._known) <= 1000
