"""How workers tell each other, through the link process, what they have on a thin line."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cmail.app import link_line
from cmail.app.link_line import SharedLine
from cmail.app.worker_line import WorkerLine
from cmail.net.control import ControlError, Fields
from cmail.policy.line_use import UNUSED, LineUse, parse_line_use
from tests.support.link_process import LinkProcess


class Line:
    """A ThinLine as its worker sees it."""

    def __init__(self) -> None:
        self.tell: Callable[[], None] = lambda: None
        self.has = UNUSED
        self.heard: list[LineUse] = []

    def share(self, tell: Callable[[], None]) -> None:
        self.tell = tell

    def use(self) -> LineUse:
        return self.has

    def hear(self, others: LineUse) -> None:
        self.heard.append(others)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - beside a task of the product
            await asyncio.sleep(0.01)


def with_line(link: LinkProcess, test: Callable[[Line], Any]) -> None:
    """Run a test beside a worker of one shard."""

    async def whole() -> None:
        line = Line()
        scheduler: Any = SimpleNamespace(thin_line=line)
        worker = WorkerLine("worker-0", link, lambda: [scheduler])
        worker.share(scheduler)
        task = asyncio.create_task(worker.run())
        await test(line)
        task.cancel()

    asyncio.run(whole())


def test_what_is_on_the_line_is_told_and_what_the_others_have_is_heard() -> None:
    """At the first word, again while there is anything, and that there is nothing any more; then it is quiet."""
    others = LineUse(large=(1, 7))
    link = LinkProcess(lambda _: others.fields())

    async def test(line: Line) -> None:
        await asyncio.sleep(0.05)
        assert not link.asked
        line.has = LineUse(has_small=True, waits=(2, 9))
        line.tell()
        await until(lambda: len(link.asked) >= 3)
        assert link.asked[0] == (
            "line.use",
            {"worker": "worker-0", "has_small": True, "large": None, "waits": (2, 9)},
        )
        assert line.heard[0] == others
        line.has = UNUSED
        line.tell()
        await until(lambda: not link.asked[-1][1]["has_small"])
        await until(lambda: len(line.heard) == len(link.asked))
        count = len(link.asked)
        await asyncio.sleep(1)
        assert len(link.asked) == count

    with_line(link, test)


@pytest.mark.parametrize("answer", [{"large": "no place"}, {"waits": [1]}, None])
def test_without_the_link_process_nobody_waits_for_anybody(answer: Fields | None) -> None:
    """It is away, or makes no sense."""

    def says(_: Fields) -> Fields:
        if answer is None:
            raise ControlError("nobody is there")
        return answer

    async def test(line: Line) -> None:
        line.has = LineUse(waits=(1, 1))
        line.tell()
        await until(lambda: line.heard)
        assert line.heard[0] == UNUSED

    with_line(LinkProcess(says), test)


def use(line: SharedLine, worker: str, what: LineUse) -> LineUse:
    return parse_line_use(asyncio.run(line.use({"worker": worker, **what.fields()})))


def test_each_worker_hears_what_the_others_have() -> None:
    """The first in order of sending, and whether anybody has small mail; never its own."""
    line = SharedLine(["worker-0", "worker-1", "worker-2"])
    assert use(line, "worker-0", LineUse(large=(1, 5))) == UNUSED
    assert use(line, "worker-1", LineUse(has_small=True, waits=(0, 9))) == LineUse(large=(1, 5))
    assert use(line, "worker-2", LineUse(large=(1, 3))) == LineUse(True, (1, 5), (0, 9))
    assert use(line, "worker-0", UNUSED) == LineUse(True, (1, 3), (0, 9))
    assert use(line, "worker-1", UNUSED) == LineUse(large=(1, 3))


def test_who_has_died_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not told again is not believed for long."""
    monkeypatch.setattr(link_line, "BELIEVED_S", 0)
    line = SharedLine(["worker-0", "worker-1"])
    use(line, "worker-0", LineUse(True, (1, 5), (1, 5)))
    assert use(line, "worker-1", UNUSED) == UNUSED


@pytest.mark.parametrize(
    "fields",
    [
        {"worker": "worker-9"},
        {},
        {"worker": "worker-0", "large": [1, "2"]},
        {"worker": "worker-0", "waits": 3},
    ],
)
def test_what_makes_no_sense_is_refused(fields: Fields) -> None:
    """Nothing of it is kept."""
    line = SharedLine(["worker-0", "worker-1"])
    with pytest.raises(ControlError):
        asyncio.run(line.use(fields))
    assert use(line, "worker-1", UNUSED) == UNUSED
