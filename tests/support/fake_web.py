"""A web application without a server behind it: canned answers for pages under test, served on loopback."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from cmail.admin.history import Counts, History
from cmail.admin.incoming import Incoming
from cmail.admin.journal import Journal
from cmail.admin.keys import Keys
from cmail.admin.overview import Overviews
from cmail.admin.processes import Heard, Processes
from cmail.app.desk import FileDesk
from cmail.net.control import Answer, ControlError
from cmail.web.context import WebContext
from cmail.web.sessions import Sessions
from tests.support.fake_checks import fake_board

SETTINGS = """\
[host]
hostname = "mail.example.org"
domains = ["example.org"]

[[listener]]
kind = "smtp"
address = "127.0.0.1:2525"

[smtp]
host = "smtp.isp.example"
port = 587
"""

Question = Callable[
    [dict[str, Any]], Any
]  # a dict is the last word, a list are rows; it may raise ControlError


class FakeProcesses(Processes):
    """Answers from `answers`: (process or "worker", question) -> what, or a function of the arguments.
    What was asked is in `asked`."""

    def __init__(self) -> None:
        super().__init__("/nonexistent", 1)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        now = time.time_ns() // 1_000_000
        self.answers: dict[tuple[str, str], Any] = {
            ("supervisor", "status"): {
                "pid": 1,
                "version": "0",
                "started_ms": now - 3_600_000,
                "children": [],
            },
            ("supervisor", "reload"): {"number": 2},
            ("link", "link.status"): {"is_down": False, "changed_wall_ms": now - 600_000, "last_kick": ""},
            ("worker", "status"): {"sessions": 2},
            ("worker", "troubles"): {"troubles": []},
            ("worker", "queue.figures"): {"messages": 0, "recipients": {}, "oldest_ms": 0},
            ("worker", "queue.list"): [],
        }

    async def ask(self, name: str, question: str, /, *, timeout_s: float = 4.0, **arguments: Any) -> Answer:
        """From the table."""
        self.asked.append((name, question, arguments))
        found = self.answers.get((name, question), self.answers.get((name.partition("-")[0], question)))
        if callable(found):
            found = found(arguments)
        if found is None:
            raise ControlError(f"{name} does not know {question}", 64)
        return Answer({}, list(found)) if isinstance(found, list) else Answer(dict(found), [])

    async def stream(self, name: str, question: str, **arguments: Any) -> AsyncGenerator[dict[str, Any]]:
        """The rows of an answer."""
        for row in (await self.ask(name, question, **arguments)).rows:
            yield row

    async def ask_workers(self, question: str, *, timeout_s: float = 4.0, **arguments: Any) -> Heard:
        """The one worker."""
        return Heard([await self.ask("worker-0", question, **arguments)], {})


def fake_context(folder: Path, settings: str = SETTINGS) -> tuple[WebContext, FakeProcesses]:
    """A context in a temporary folder: real settings, accounts and files, processes that are told what to say."""
    config = folder / "cmail.toml"
    if not config.exists():
        config.write_text(settings + '\n[admin]\naddress = "127.0.0.1:0"\n')
    processes = FakeProcesses()

    async def apply() -> None:
        await processes.ask("supervisor", "reload")

    async def figures() -> dict[str, dict[str, int]]:
        return {}

    context = WebContext(
        version="0.1.0",
        started_wall_ms=time.time_ns() // 1_000_000,
        data_dir=str(folder / "data"),
        hostname=lambda: "mail.example.org",
        figures=figures,
        processes=processes,
        overviews=Overviews(processes),
        desk=FileDesk(str(config), str(folder / "data"), apply),
        keys=Keys(str(folder / "data")),
        sessions=Sessions(),
        journal=Journal(str(folder / "data" / "log")),
        incoming=Incoming(str(folder / "data" / "admin" / "incoming"), processes),
        checks=fake_board(data_dir=str(folder)),
        history=fake_history(folder),
    )
    return context, processes


def fake_history(folder: Path) -> History:
    """A day of an office: quiet at night, most of it at noon."""

    async def look() -> dict[str, Any]:
        return {}

    history = History(str(folder / "history.json"), look)
    now = time.time_ns() // 60_000_000_000
    for minute in range(now - 24 * 60, now + 1):
        busy = max(0, 12 - abs(minute // 60 % 24 - 12))
        history._minutes[minute] = Counts(busy, busy + minute % 3, busy // 8, minute % 97 == 0, busy // 2)
    return history


@contextmanager
def served(application: ASGIApp) -> Iterator[str]:
    """The application on a free port, in a thread; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        config = uvicorn.Config(application, log_config=None, lifespan="off", ws="none", http="h11")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


class OneSession:
    """A session that everybody is in, without a door."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self.name, self.csrf = "anna", "token"
        self._said: list[tuple[str, str]] = []

    def say(self, words: str, kind: str = "done") -> None:
        """As page.Session."""
        self._said.append((kind, words))

    def take_said(self) -> list[tuple[str, str]]:
        """As page.Session."""
        said, self._said = self._said, []
        return said

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        await self._application({**scope, "session": self}, receive, send)
