"""Peers: servers of a test's own on an event loop in a thread, for tests that do not await."""

import asyncio
import threading
from types import MappingProxyType, TracebackType
from typing import Protocol, Self, TypeVar

from tests.support.sink_mx import Script, SinkMx


class Peer(Protocol):
    """What serves as long as an `async with` block."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *exc: object) -> None: ...


P = TypeVar("P", bound=Peer)


class Peers:
    """`with Peers() as peers: sink = peers.start(SinkMx())`; all of them end with the block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="peers", daemon=True)
        self._started: list[Peer] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for peer in reversed(self._started):
            asyncio.run_coroutine_threadsafe(peer.__aexit__(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def start(self, peer: P) -> P:
        """Serve from now on."""
        asyncio.run_coroutine_threadsafe(peer.__aenter__(), self._loop).result(60)
        self._started.append(peer)
        return peer

    def heal(self, sink: SinkMx, script: Script = MappingProxyType({})) -> None:
        """From now on it does as it should, or as this says; whoever it keeps waiting loses the connection."""
        sink.script = script
        self._loop.call_soon_threadsafe(sink.drop_all)
