"""Every implementation of Spool, opened, restarted and broken the same way by the contract suite."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.mail.address import parse_address
from cmail.mail.content import Content, from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.storage.spool import FIRST, NewMessage, Spool
from cmail.storage.spool_sqlite import SqliteSpool
from tests.support.clock import FakeClock
from tests.support.memory_spool import MemorySpool

KINDS: Final = ("memory", "sqlite")


class SpoolPlace:
    """Where a spool of one kind lives: it can be closed and opened again."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.clock = FakeClock()
        self.heard: list[NewMessage] = []
        self._folder = folder
        self._spool: Any = None

    @property
    def spool(self) -> Any:
        """The spool, open."""
        if self._spool is None:
            self._spool = self._opened()
            self._spool.listen(self.heard.append)
        return self._spool

    async def restart(self) -> Spool:
        """Close it and open it again."""
        before = self.spool
        await before.close()
        self._spool = before.reopened() if self.kind == "memory" else None
        spool: Spool = self.spool
        return spool

    async def close(self) -> None:
        """End it."""
        if self._spool is not None:
            await self._spool.close()

    def _opened(self) -> Spool:
        if self.kind == "memory":
            return MemorySpool(0, self.clock, str(self._folder))
        return SqliteSpool.open(str(self._folder), 0, self.clock)

    def message(self, *to: str, route: str = "relay", **more: Any) -> NewMessage:
        """A message from anna@example.org to these (bob@example.net when none is named)."""
        envelope_words = {k: more.pop(k) for k in list(more) if k in Envelope.__slots__}
        reverse_path = envelope_words.pop("reverse_path", "anna@example.org")
        envelope = Envelope(
            parse_address(reverse_path.encode()) if reverse_path else None,
            tuple(Recipient(parse_address(t.encode())) for t in to or ("bob@example.net",)),
            **envelope_words,
        )
        content = more.pop("content", None) or from_plain(b"Subject: hello\n\n.dot\n", b"X: y\r\n")
        routes = (route,) * len(envelope.recipients)
        more.setdefault("arrived_wall_ms", self.clock.wall_ms())
        more.setdefault("arrived_link_ms", self.clock.link_ms())
        return NewMessage(self.spool.new_queue_id(), envelope, content, routes, **more)

    def message_in_file(self, size: int = 100_000) -> NewMessage:
        """A message whose content was written to a file while it came in."""
        queue_id = self.spool.new_queue_id()
        wire = b"Subject: large\r\n\r\n" + b"x" * size + b"\r\n"
        path = self.spool.content_path(queue_id)
        Path(path).write_bytes(wire)
        content = Content(b"X: y\r\n", b"", len(wire) + 6, path, len(wire))
        now, link = self.clock.wall_ms(), self.clock.link_ms()
        envelope = Envelope(None, (Recipient(parse_address(b"bob@example.net")),))
        return NewMessage(queue_id, envelope, content, ("relay",), now, link)

    def has_file(self, message: NewMessage) -> bool:
        """Whether the content file of a message is there, all of it."""
        path = Path(message.content.path)
        return path.exists() and path.stat().st_size == message.content.wire_bytes

    async def all_due(self, route: str = "relay", now_ms: int = 1 << 62) -> list[Any]:
        """What waits on a route, whenever it is due."""
        due: list[Any] = await self.spool.due(route, now_ms, FIRST, 1000, 1 << 30)
        return due


def on_every_spool(test: Callable[[SpoolPlace], Awaitable[None]]) -> Callable[[str, Path], None]:
    """Run a test on each implementation, with its loop; nothing of a test is left running."""

    @pytest.mark.parametrize("kind", KINDS)
    def run(kind: str, tmp_path: Path) -> None:
        async def whole() -> None:
            place = SpoolPlace(kind, tmp_path)
            try:
                await asyncio.wait_for(test(place), 60)
            finally:
                await place.close()

        asyncio.run(whole())

    run.__name__, run.__doc__ = test.__name__, test.__doc__  # type: ignore[attr-defined]
    return run
