"""How a process begins: its parts, its control socket, and then what nobody could have told it before."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from cmail.app import worker as worker_module
from cmail.app.child import Tether
from cmail.app.process import Tasks, _run
from cmail.app.worker import Worker
from cmail.net.control import AnswerFunction
from cmail.storage.account_book import AccountError
from tests.support.intake import ListLog


class Part:
    """Notes what is done with it, and whether it could be asked then; ends as soon as it can."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen: list[tuple[str, bool]] = []
        self._tasks: Tasks

    def _note(self, what: str) -> None:
        self.seen.append((what, os.path.exists(self.path)))

    def answers(self) -> Mapping[str, AnswerFunction]:
        return {}

    async def start(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._note("start")

    async def reachable(self) -> None:
        self._note("reachable")
        self._tasks.end()

    async def apply(self, *_: Any) -> None:
        self._note("apply")

    async def stop(self) -> None:
        self._note("stop")


def test_what_it_missed_is_looked_up_once_it_can_be_told() -> None:
    """A change of accounts tells the processes that have a socket: one that has none yet, and has read the
    accounts already, would never know of it. So it reads them again behind its socket."""
    with tempfile.TemporaryDirectory(prefix="cmail-run-") as folder:
        part = Part(os.path.join(folder, "worker-0.sock"))
        ours, theirs = socket.socketpair()
        hand, other = socket.socketpair()
        with ours, theirs, hand, other:
            assert asyncio.run(_run("worker-0", part, Tether(theirs, hand), folder)) == 0
        assert part.seen[:2] == [("start", False), ("reachable", True)]


@pytest.mark.parametrize("error", [None, AccountError("disk")], ids=["read", "cannot be read"])
def test_a_worker_reads_accounts_again(error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Router and agents are made of them; when they cannot be read, those of the start hold."""
    log, done = ListLog(), []
    monkeypatch.setattr(worker_module, "maillog", log)

    async def reload() -> None:
        done.append("reload")
        if error is not None:
            raise error

    worker: Any = SimpleNamespace(
        _accounts=SimpleNamespace(reload=reload), _rebuild=lambda: done.append("rebuild")
    )
    asyncio.run(Worker.reachable(worker))
    assert done == (["reload", "rebuild"] if error is None else ["reload"])
