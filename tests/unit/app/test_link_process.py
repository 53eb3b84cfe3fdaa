"""How the workers hear of the link: all of them, also one that is just starting."""

import asyncio
import shutil
import tempfile

import pytest

from cmail.app import link_process
from cmail.app.link_process import Announcer
from cmail.link.clock import LinkReading
from cmail.net.control import ControlServer, Fields


def test_a_worker_that_starts_meanwhile_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read how the link was and does not listen yet when that changes, twice: it hears the last."""
    monkeypatch.setattr(link_process, "AGAIN_S", 0.01)
    folder = tempfile.mkdtemp(prefix="cmail-run-")
    heard: list[Fields] = []
    has_heard = asyncio.Event()

    async def changed(request: Fields) -> Fields:
        heard.append(request)
        has_heard.set()
        return {}

    async def test() -> None:
        announcer = Announcer(folder, ["worker-0"])
        down = LinkReading().down(1000)
        await announcer.tell(down)
        await announcer.tell(down.up(2000))
        worker = ControlServer({"link.changed": changed}, lambda text: None)
        await worker.start(folder, "worker-0")
        async with asyncio.timeout(5):
            await has_heard.wait()
        assert heard[0]["is_down"] is False and heard[0]["periods"] == 2
        announcer.close()
        await worker.close()

    try:
        asyncio.run(test())
    finally:
        shutil.rmtree(folder)
