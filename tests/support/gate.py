"""Gate: a relay in front of a server that stops at an octet or a word, so that a test cuts the line just there."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from typing import Final, Self

from tests.support.netns import FAR

_PIECE: Final = 16 * 1024
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: the end is said once, and not again when that is lost


@dataclass
class Gate:
    """`There(net, Gate(server.port, octets=50_000))`: what a client of gate.port and the server behind it say
    passes, until one of these is there. `held` says so; lose() is what follows a cut."""

    behind: int  # a port of loopback
    octets: int = -1  # so many of the server pass, on a connection
    word: bytes = b""  # of the client: it does not pass, nor what is behind it
    after: bytes = b""  # of the client: it passes, and nothing that the server says then
    host: str = FAR
    port: int = 0
    tls: ssl.SSLContext | None = None  # towards the client, from the first octet; to the server it is clear
    held: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._end_all()

    def lose(self) -> None:
        """The line was cut: what is held is lost, the server hears of the end, the client cannot. From now on
        all passes."""
        self.octets, self.word, self.after = -1, b"", b""
        for writer in self._writers:
            found: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    async def _end_all(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._relay(reader, writer)
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            pass  # cancelled by lose() or at the end, and it is the end of this task anyway
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.behind)
        passage = _Passage(self)
        ways = [
            asyncio.create_task(passage.up(reader, far_writer)),
            asyncio.create_task(passage.down(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.close()


class _Passage:
    """One connection."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._left = gate.octets
        self._is_after = False

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the client says."""
        gate = self._gate
        while data := await reader.read(_PIECE):
            if gate.word and gate.word in data:
                writer.write(data.partition(gate.word)[0])
                await self._hold()
            self._is_after = self._is_after or bool(gate.after and gate.after in data)
            writer.write(data)
            await writer.drain()

    async def down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the server says."""
        while data := await reader.read(_PIECE):
            if self._is_after:
                await self._hold()
            if 0 <= self._left < len(data):
                writer.write(data[: self._left])
                await self._hold()
            self._left -= len(data) if self._left >= 0 else 0
            writer.write(data)
            await writer.drain()

    async def _hold(self) -> None:
        self._gate.held.set()
        await asyncio.Event().wait()
