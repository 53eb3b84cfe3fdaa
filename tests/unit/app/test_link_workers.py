"""How the workers hear of the link: all of them, also one that is just starting."""

import asyncio
import shutil
import tempfile

import pytest

from cmail.app import link_workers
from cmail.app.link_workers import Workers
from cmail.link.clock import LinkReading
from cmail.net.control import ControlServer, Fields
from cmail.policy.orders import FREE, Orders, parse_orders


def test_a_worker_that_starts_meanwhile_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read how the link was and does not listen yet when that changes, twice: it hears the last."""
    monkeypatch.setattr(link_workers, "AGAIN_S", 0.01)
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
        await workers.tell(down, FREE)
        await workers.tell(down.up(2000), Orders(size_max=7))
        worker = ControlServer({"link.changed": changed}, lambda text: None)
        await worker.start(folder, "worker-0")
        async with asyncio.timeout(5):
            await has_heard.wait()
        assert heard[0]["is_down"] is False and heard[0]["periods"] == 2
        assert parse_orders(heard[0]["orders"]).size_max == 7
        workers.close()
        await worker.close()

    try:
        asyncio.run(test())
    finally:
        shutil.rmtree(folder)


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
