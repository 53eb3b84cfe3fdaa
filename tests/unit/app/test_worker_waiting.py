"""What waits for the Internet in a worker: exact while that is cheap, else told again for a while."""

from typing import Any

import pytest

from cmail.app import worker_waiting
from cmail.app.worker_waiting import WorkerWaiting
from cmail.policy.orders import Orders
from cmail.queue.settings import QueueSettings
from tests.unit.queue.house import House, run

KEPT = Orders(is_exchange_open=False)


def counting(house: House) -> list[int]:
    """Counts how often the spool is asked for all that waits."""
    asked, waits = [0], house.spool.waits

    def count(*wanted: Any) -> Any:
        asked[0] += 1
        return waits(*wanted)

    house.spool.waits = count  # type: ignore[assignment, method-assign]
    return asked


def test_what_is_cheap_is_exact() -> None:
    """Each question sees what came since; mail for people here is none of it."""

    async def test(house: House) -> None:
        house.order(KEPT)
        waiting = WorkerWaiting(lambda: [house.scheduler])
        for count in (1, 2):
            await house.send("bob@example.net")
            await house.send("bob@example.net", priority=1)
            found = await waiting.answer({"limit": 3})
            assert (found["messages"], found["urgent"]) == (2 * count, count)
            assert [row["priority"] for row in found["listed"]] == ([1, 0], [1, 1, 0])[count - 1]

    run(test)


def test_what_is_dear_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten looks in a row are one question to the disk; other orders, or who must know, ask it anew."""
    monkeypatch.setattr(worker_waiting, "CHEAP_S", -1.0)
    monkeypatch.setattr(worker_waiting, "TOLD_AGAIN", 1e6)

    async def test(house: House) -> None:
        house.order(KEPT)
        asked = counting(house)
        waiting = WorkerWaiting(lambda: [house.scheduler])
        await house.send("bob@example.net", size=5000)
        for _ in range(10):
            assert (await waiting.answer({"limit": 20}))["messages"] == 1
        assert asked == [1]
        await house.send("bob@example.net")
        assert (await waiting.answer({"limit": 20}))["messages"] == 1
        assert (await waiting.answer({"limit": 20, "is_fresh": True}))["messages"] == 2
        assert asked == [2]
        house.order(Orders(is_exchange_open=False, size_max=1000))
        found = await waiting.answer({"limit": 20})
        assert (found["messages"], found["admitted_messages"], len(found["listed"])) == (2, 1, 1)

    run(test)


def test_what_its_sender_holds_is_not_in_the_plan() -> None:
    """RFC 4865: before its time it would go in no exchange, so it is no reason for one; however much of it
    there is, what may go stands in the list."""

    async def test(house: House) -> None:
        house.order(KEPT)
        waiting = WorkerWaiting(lambda: [house.scheduler])
        until_ms = house.clock.wall_ms() + 3_600_000
        for _ in range(7):
            await house.send("bob@example.net", priority=5, hold_until_ms=until_ms)
        await house.send("carol@example.net")
        found = await waiting.answer({"limit": 3})
        assert (found["messages"], found["urgent"]) == (1, 0)
        assert [row["to"] for row in found["listed"]] == [["carol@example.net"]]
        house.clock.advance(3600)
        found = await waiting.answer({"limit": 3})
        assert (found["messages"], found["urgent"], found["oldest_ms"]) == (8, 7, until_ms - 3_600_000)
        assert [row["priority"] for row in found["listed"]] == [5, 5, 5]

    run(test)


def test_what_is_batched_waits_through_a_server_on_loopback_too() -> None:
    """queue.batch holds it whatever its next hop is: the plan must not say that nothing waits."""

    async def test(house: House) -> None:
        waiting = WorkerWaiting(lambda: [house.scheduler])
        await house.send("bob@example.net")
        await house.send("you@example.org")
        await house.settle_down()
        found = await waiting.answer({"limit": 3})
        assert (found["messages"], len(found["listed"])) == (1, 1)

    run(test, settings=QueueSettings(batch=True), host="127.0.0.1")


def test_off_line_the_plan_says_what_will_go() -> None:
    """In its order: that is when people look."""

    async def test(house: House) -> None:
        house.order(Orders(size_max=-1, urgent_size_max=-1))
        house.link(is_up=False)
        waiting = WorkerWaiting(lambda: [house.scheduler])
        await house.send("bob@example.net")
        await house.send("bob@example.net", priority=4)
        found = await waiting.answer({"limit": 3})
        assert (found["messages"], found["admitted_messages"]) == (2, 2)
        assert [row["priority"] for row in found["listed"]] == [4, 0]

    run(test)
