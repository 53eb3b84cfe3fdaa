"""What a worker sees of the line in its own connections."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cmail.app import worker_sight
from cmail.app.worker_reached import WorkerReached
from cmail.app.worker_sight import WorkerSight
from cmail.link.clock import LinkView
from tests.support.clock import FakeClock
from tests.support.link_process import LinkProcess


def lane(**fields: Any) -> Any:
    usual = {"settled_count": 0, "has_delivered": False, "taken": set(), "octets": 0}
    made = type("Lane", (), {**usual, **fields})()
    made.acknowledged = lambda: made.octets
    return made


def sight(*lanes: Any, needs_link: bool = True) -> WorkerSight:
    """Of a worker with these connections."""
    route = SimpleNamespace(needs_link=needs_link, lanes=set(lanes))
    scheduler: Any = SimpleNamespace(routes={"relay": route})
    link, is_news = LinkProcess(lambda _: {}), asyncio.Event()
    reached = WorkerReached(link, lambda: [scheduler], is_news)
    return WorkerSight(link, lambda: [scheduler], LinkView(FakeClock()), reached, is_news)


def test_what_was_delivered_since_the_last_look() -> None:
    """All is well when something was; what was delivered an hour ago says nothing of now."""

    async def test() -> None:
        one = lane(has_delivered=True, settled_count=3)
        made = sight(one)
        assert made.look() == "ok" and made.look() == ""
        one.settled_count = 4
        assert made.look() == "ok"
        assert sight(lane(has_delivered=True, settled_count=3), needs_link=False).look() == ""
        assert sight(lane(settled_count=3)).look() == "", "put off, not delivered"

    asyncio.run(test())


def test_a_connection_on_which_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has something to send and settles nothing for long: silence, told once in a while; one that
    idles, or that settles, is none."""
    monkeypatch.setattr(worker_sight, "STUCK_S", 0.05)

    async def test() -> None:
        one, idle = lane(taken={1}), lane()
        made = sight(one, idle)
        assert made.look() == ""
        await asyncio.sleep(0.06)
        assert made.look() == "silent" and made.look() == ""
        await asyncio.sleep(0.06)
        one.settled_count = 1
        assert made.look() == ""

    asyncio.run(test())


def test_a_large_message_on_a_slow_line_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as its octets move the link is there, if nothing is settled for an hour; probes may fail behind
    them meanwhile."""
    monkeypatch.setattr(worker_sight, "STUCK_S", 0.05)

    async def test() -> None:
        one = lane(taken={1}, octets=300)
        made = sight(one)
        assert made.look() == "", "what was said in the handshake is no proof of now"
        for _ in range(3):
            await asyncio.sleep(0.04)
            one.octets += 1448
            assert made.look() == "ok"
        await asyncio.sleep(0.06)
        assert made.look() == "silent"

    asyncio.run(test())
