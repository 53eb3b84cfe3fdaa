"""What a worker sees of the line in its own connections."""

import asyncio
from types import SimpleNamespace
from typing import Any

from cmail.app.worker_reached import WorkerReached
from cmail.app.worker_sight import STUCK_S, WorkerSight
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


def wait(seconds: float) -> None:
    """In the running loop; nothing in it sleeps."""
    loop = asyncio.get_running_loop()
    now = loop.time() + seconds
    loop.time = lambda: now  # type: ignore[method-assign]


def test_a_connection_on_which_nothing_moves() -> None:
    """It has something to send and settles nothing for long: silence, told again after twice the time; one that
    idles, or that settles, is none."""

    async def test() -> None:
        one, idle = lane(taken={1}), lane()
        made = sight(one, idle)
        assert made.look() == ""
        wait(STUCK_S)
        assert made.look() == "silent" and made.look() == ""
        wait(1.5 * STUCK_S)
        assert made.look() == ""
        wait(0.5 * STUCK_S)
        assert made.look() == "silent"
        wait(2 * STUCK_S)
        one.settled_count = 1
        assert made.look() == ""

    asyncio.run(test())


def test_a_large_message_on_a_slow_line_is_no_silence() -> None:
    """As long as its octets move the link is there, if nothing is settled for an hour; probes may fail behind
    them meanwhile."""

    async def test() -> None:
        one = lane(taken={1}, octets=300)
        made = sight(one)
        assert made.look() == "", "what was said in the handshake is no proof of now"
        for _ in range(3):
            wait(0.8 * STUCK_S)
            one.octets += 1448
            assert made.look() == "ok"
            wait(0.8 * STUCK_S)
            assert made.look() == ""
        wait(0.2 * STUCK_S)
        assert made.look() == "silent"

    asyncio.run(test())
