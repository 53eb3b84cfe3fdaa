"""One timer for many routes, and times in words."""

import random

import pytest

from cmail.queue import wakeups
from cmail.queue.wakeups import Wakeups
from cmail.queue.words import duration


def test_the_earliest_time_of_a_route_counts() -> None:
    """Later ones are forgotten; a route is told once."""
    known = Wakeups()
    assert known.at("a", 10.0) and not known.at("b", 20.0) and not known.at("a", 15.0)
    assert known.at("b", 5.0) and known.first == 5.0
    assert known.take(4.9) == [] and known.take(10.0) == ["b", "a"]
    assert known.first is None and known.take(99.0) == []


def test_it_agrees_with_a_plain_table() -> None:
    """Any order of calls gives what a dict of minima gives."""
    chance, known, now = random.Random(3), Wakeups(), 0.0
    plain: dict[str, float] = {}
    for _ in range(5000):
        route, time = f"r{chance.randrange(20)}", now + chance.random() * 10
        known.at(route, time)
        plain[route] = min(plain.get(route, 1e9), time)
        if chance.random() < 0.3:
            now += chance.random()
            due = {r for r, t in plain.items() if t <= now}
            assert set(known.take(now)) == due
            for r in due:
                del plain[r]
        assert known.first == (min(plain.values()) if plain else None)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More routes than it remembers are left to the slow look."""
    monkeypatch.setattr(wakeups, "ROUTES_MAX", 3)
    known = Wakeups()
    for n in range(10):
        known.at(f"r{n}", float(n))
    assert known.take(99.0) == ["r0", "r1", "r2"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (300, "5 minutes"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (7200, "2 hours"),
        (86_400, "1 day"),
        (5 * 86_400, "5 days"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    """As a person would say it."""
    assert duration(seconds) == words
