"""A Collector with its ledger in a folder, a worker that keeps what it is given, and no other process."""

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from cmail.link.collect.collector import Collector
from cmail.link.collect.parts import Terms
from cmail.link.collect.result import Result
from cmail.link.settings import CollectSettings
from cmail.net.control import ControlError
from tests.support.clock import FakeClock
from tests.support.fake_dns import FakeResolver
from tests.support.intake import ListLog


class Office:
    """`taken`: what the worker has: (recipients, content)."""

    def __init__(self, folder: Path, *, size_max: int = 50 * 2**20) -> None:
        self.folder = folder
        self.incoming = folder / "collect" / "incoming"
        self.clock = FakeClock()
        self.log = ListLog()
        self.taken: list[tuple[tuple[str, ...], bytes]] = []
        self.asked: list[dict[str, Any]] = []
        self.came: list[tuple[int, int]] = []  # messages and octets, each time
        self.refusal: ControlError | None = None
        self.refused_file = ""  # this one cannot be taken now
        self.nobody = ""  # has this address here
        self.terms = Terms("mail.example.org", size_max, "", {"/password": "secret"})
        self.collector: Collector

    def new_collector(self, silent: Callable[[], None] = lambda: None) -> Collector:
        """As after a restart."""
        resolver = FakeResolver(hosts={"pop.isp.example": ["127.0.0.1"]})
        return Collector(str(self.folder), self._ask, resolver, self.clock, self.log, self._came, silent)

    def _came(self, messages: int, octets: int) -> None:
        self.came.append((messages, octets))

    async def _ask(self, question: str, fields: dict[str, Any]) -> dict[str, Any]:
        assert question == "messages.collect"
        self.asked.append(fields)
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        if fields["is_for_one"] and fields["recipients"] == [self.nobody]:
            raise ControlError(f"nobody here is {self.nobody}", 67)
        if fields["file"] == self.refused_file:
            raise ControlError("its file cannot be read", 75)
        content = await asyncio.to_thread((self.incoming / fields["file"]).read_bytes)
        self.taken.append((tuple(fields["recipients"]), content))
        return {"id": f"Q{len(self.taken)}", "is_quarantined": False}

    @property
    def contents(self) -> list[bytes]:
        """What the worker has, in the order in which it came."""
        return [content for _, content in self.taken]

    async def collect(self, *accounts: CollectSettings) -> list[Result]:
        """One collection by a collector that was just started, which ends."""
        await self.begin(*accounts)
        try:
            return await self.collector.run_all("demand")
        finally:
            await self.collector.stop()

    async def begin(self, *accounts: CollectSettings) -> None:
        """Start it; nothing is due by itself but the first collection."""
        self.collector = self.new_collector()
        self.collector.apply(accounts, self.terms, is_planned=True)
        await self.collector.start(is_online=True)
        await self.collector.ready.wait()

    def left_over(self) -> list[str]:
        """Files that nobody needs any more."""
        return os.listdir(self.incoming) if self.incoming.exists() else []


def pop3(port: int, **changes: Any) -> CollectSettings:
    """An account at a scripted server."""
    given: dict[str, Any] = {
        "name": "isp",
        "protocol": "pop3",
        "host": "127.0.0.1",
        "port": port,
        "tls": "none",
        "username": "anna",
        "password_file": "/password",
        "to": "anna@example.org",
        "every": timedelta(0),
        "idle": False,
        **changes,
    }
    return CollectSettings(**given)
