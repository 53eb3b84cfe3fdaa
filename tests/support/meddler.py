"""Meddler: stands between a client and a good server of lines, and takes over at the command that a test names."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Meddler:
    """`async with Meddler(port, at=b"RETR", head=b"+OK\\r\\n", piece=b"x") as meddler:`: the first client line with
    `at` in it ("": the greeting) is answered by `head`, then by `piece` over and over, each `every_s` later, until
    the client goes; with no piece there is silence, or the end where `ends`. TAG in both is the tag of that line."""

    to_port: int
    at: bytes = b""
    head: bytes = b""
    piece: bytes = b""
    every_s: float = 0.0
    ends: bool = False
    is_on: bool = True
    octets: int = 0  # of its own
    sessions: int = 0
    port: int = 0
    heard: list[bytes] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        try:
            if self.is_on and not self.at:
                await self._take_over(b"", writer)
                return
            there, behind = await asyncio.open_connection("127.0.0.1", self.to_port)
            back = asyncio.create_task(self._carry(there, writer))
            try:
                while line := await reader.readline():
                    self.heard.append(line)
                    if self.is_on and self.at in line:
                        back.cancel()
                        await self._take_over(line, writer)
                        return
                    behind.write(line)
            finally:
                back.cancel()
                behind.close()
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _carry(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await there.read(65536):
                writer.write(octets)
                await writer.drain()
            writer.close()

    async def _take_over(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        tag = line.partition(b" ")[0]
        piece = self.piece.replace(b"TAG", tag)
        writer.write(self.head.replace(b"TAG", tag))
        while piece:
            writer.write(piece)
            self.octets += len(piece)
            await writer.drain()
            await asyncio.sleep(self.every_s)
            if writer.transport.is_closing():
                return
        await writer.drain()
        if not self.ends:
            await asyncio.sleep(3600)
