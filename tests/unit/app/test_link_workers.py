"""How the workers hear of the link: all of them, also one that is just starting."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable

import pytest

from cmail.app import link_telling, link_workers
from cmail.app.link_workers import Workers
from cmail.link.clock import LinkReading
from cmail.net.control import ControlError, ControlServer, Fields, NotRunningError
from cmail.observe import maillog
from cmail.policy.orders import FREE, Orders, parse_orders


def test_a_worker_that_starts_meanwhile_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read how the link was and does not listen yet when that changes, twice: it hears the last."""
    monkeypatch.setattr(link_telling, "AGAIN_S", 0.01)
    folder = tempfile.mkdtemp(prefix="cmail-run-")
    heard: list[Fields] = []
    has_heard = asyncio.Event()

    async def changed(request: Fields) -> Fields:
        heard.append(request)
        has_heard.set()
        return {}

    async def test() -> None:
        workers = Workers(folder, ["worker-0"])
        down = LinkReading().down(1000)
        await workers.tell(down, FREE, is_said_again=True)
        await workers.tell(down.up(2000), Orders(size_max=7))
        worker = ControlServer({"link.changed": changed}, lambda text: None)
        await worker.start(folder, "worker-0")
        async with asyncio.timeout(5):
            await has_heard.wait()
        assert heard[0]["is_down"] is False and heard[0]["periods"] == 2
        assert parse_orders(heard[0]["orders"]).size_max == 7 and heard[0]["is_said_again"] is True
        workers.close()
        await worker.close()

    try:
        asyncio.run(test())
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("tries", [3, 0])
def test_who_is_starting_is_no_trouble_for_a_while(monkeypatch: pytest.MonkeyPatch, tries: int) -> None:
    """Each start would warn of it; who is away for long is said to be."""
    said: list[str] = []
    monkeypatch.setattr(maillog, "warned", said.append)
    monkeypatch.setattr(link_telling, "SOON_TIMES", tries)
    monkeypatch.setattr(link_telling, "SOON_S", 0.001)
    asked, has_heard = 0, asyncio.Event()

    async def ask(question: str, fields: Fields) -> None:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise NotRunningError("the server is not running (worker-0 does not answer)")
        has_heard.set()

    async def test() -> None:
        monkeypatch.setattr(link_telling, "AGAIN_S", 0.001)
        teller = link_telling.Teller("worker-0", ask)
        teller.tell({}, {})
        async with asyncio.timeout(5):
            await has_heard.wait()
        teller.close()

    asyncio.run(test())
    assert ["worker-0 was not told" in words for words in said] == ([] if tries else [True])


def test_who_has_just_started_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is told while it hears the word of before is heard when it has heard both; who hangs is not waited for."""
    monkeypatch.setattr(link_telling, "SOON_S", 0.001)
    may_hear, is_asked, asked = asyncio.Event(), asyncio.Event(), 0

    async def ask(question: str, fields: Fields) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise NotRunningError("the server is not running (worker-0 does not answer)")
        is_asked.set()
        await may_hear.wait()
        if asked == 2:
            raise ControlError("worker-0 did not answer within 5 s")

    async def test() -> None:
        teller = link_telling.Teller("worker-0", ask)
        teller.tell({}, {})
        async with asyncio.timeout(5):
            await is_asked.wait()
            assert teller.is_heard.is_set(), "it was starting"
            teller.tell({}, {})
            assert not teller.is_heard.is_set()
            is_asked.clear()
            may_hear.set()
            await teller.is_heard.wait()
            may_hear.clear()
            teller.tell({}, {})
            assert teller.is_heard.is_set(), "it hangs"
            await is_asked.wait()
            may_hear.set()
        teller.close()

    asyncio.run(test())


def test_who_does_not_answer_is_left_out() -> None:
    """What all workers are asked is answered by those that are there."""
    folder = tempfile.mkdtemp(prefix="cmail-run-")

    async def octets(_request: Fields) -> Fields:
        return {"octets_out": 5}

    async def test() -> None:
        worker = ControlServer({"link.octets": octets}, lambda text: None)
        await worker.start(folder, "worker-1")
        assert await Workers(folder, ["worker-0", "worker-1"]).ask("link.octets") == {
            "worker-1": {"octets_out": 5}
        }
        await worker.close()

    try:
        asyncio.run(test())
    finally:
        shutil.rmtree(folder)


class Worker:
    """Hears what the link process tells; while `gate` is cleared it hangs: it takes what comes and answers
    nothing."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Fields]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._news = asyncio.Condition()

    async def start(self, folder: str, name: str) -> None:
        """Under this name."""
        answers = {"link.changed": self._changed, "link.lost": self._lost, "queue.internet": self._internet}
        self._server = ControlServer(answers, lambda text: None)
        await self._server.start(folder, name)

    async def close(self) -> None:
        """No more."""
        self.gate.set()
        await self._server.close()

    async def _changed(self, request: Fields) -> Fields:
        return await self._hear("changed", request)

    async def _lost(self, request: Fields) -> Fields:
        return await self._hear("lost", request)

    async def _hear(self, what: str, request: Fields) -> Fields:
        await self.gate.wait()
        async with self._news:
            self.heard.append((what, request))
            self._news.notify_all()
        return {}

    async def _internet(self, _request: Fields) -> Fields:
        await self.gate.wait()
        return {"messages": 1}

    async def hears(self, count: int) -> None:
        """Until so much was heard."""
        async with asyncio.timeout(20):
            async with self._news:
                await self._news.wait_for(lambda: len(self.heard) >= count)


def run(test: Callable[[Workers, Worker, Worker], Awaitable[None]]) -> None:
    """With two workers, of which the second one hangs."""
    folder = tempfile.mkdtemp(prefix="cmail-run-")

    async def whole() -> None:
        one, hung = Worker(), Worker()
        await one.start(folder, "worker-0")
        await hung.start(folder, "worker-1")
        hung.gate.clear()
        workers = Workers(folder, ["worker-0", "worker-1"])
        await test(workers, one, hung)
        workers.close()
        await one.close()
        await hung.close()

    try:
        asyncio.run(whole())
    finally:
        shutil.rmtree(folder)


def test_a_worker_that_hangs_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others hear each word at once, one after the other; it hears the last of them when it is back,
    with all addresses that were lost meanwhile and what was said again, and nothing out of order."""
    monkeypatch.setattr(link_workers, "ASK_S", 60.0)

    async def test(workers: Workers, one: Worker, hung: Worker) -> None:
        reading = LinkReading()
        for n in range(1, 5):
            reading = reading.down(n * 1000) if n % 2 else reading.up(n * 1000)
            await asyncio.wait_for(workers.tell(reading, Orders(size_max=n), n == 2), 20)
            await asyncio.wait_for(workers.lost([f"192.0.2.{n}"], []), 20)
        await one.hears(8)
        assert [what for what, _ in one.heard] == ["changed", "lost"] * 4
        assert [each["orders"]["size_max"] for what, each in one.heard if what == "changed"] == [1, 2, 3, 4]
        assert not hung.heard
        hung.gate.set()
        await hung.hears(3)
        assert hung.heard[0][1]["orders"]["size_max"] == 1  # it had that one in hand
        assert hung.heard[1][0] == "changed" and hung.heard[1][1]["orders"]["size_max"] == 4
        assert hung.heard[1][1]["is_said_again"] is True
        assert hung.heard[2][1]["addresses"] == [f"192.0.2.{n}" for n in range(1, 5)]
        await asyncio.sleep(0.05)
        assert len(hung.heard) == 3

    run(test)


def test_who_must_know_waits_for_who_can_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    """heard(): a worker that is slow has heard it then; one that hangs is waited for no longer than that."""
    monkeypatch.setattr(link_workers, "HEARD_S", 1.5)

    async def test(workers: Workers, one: Worker, hung: Worker) -> None:
        one.gate.clear()
        await workers.tell(LinkReading().down(1000), FREE)
        asyncio.get_running_loop().call_later(0.3, one.gate.set)
        assert not one.heard
        await asyncio.wait_for(workers.heard(), 20)
        assert len(one.heard) == 1 and not hung.heard

    run(test)


def test_a_worker_that_hangs_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is asked for every few seconds: one that did not answer costs that time once."""
    monkeypatch.setattr(link_workers, "ASK_S", 0.2)

    async def test(workers: Workers, one: Worker, hung: Worker) -> None:
        assert await workers.ask("queue.internet") == {"worker-0": {"messages": 1}}
        started = asyncio.get_running_loop().time()
        monkeypatch.setattr(link_workers, "ASK_S", 60.0)
        assert await workers.ask("queue.internet") == {"worker-0": {"messages": 1}}
        assert asyncio.get_running_loop().time() - started < 30

    run(test)
