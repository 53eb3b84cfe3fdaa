"""Trigger: takes kicks in plain text on the far host; answers, says nothing, or never stops talking."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from tests.support.netns import FAR

HANG: Final = "hang"
FLOOD: Final = "flood"


@dataclass
class Trigger:
    """`There(net, Trigger())`: the lines that were said are in `heard`."""

    answer: bytes | str = b"yes\r\n"  # or one of the words above
    port: int = 79
    host: str = FAR
    on_line: Callable[[], None] | None = None
    heard: list[bytes] = field(default_factory=list)
    flooded: int = 0  # octets that were taken

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            self.heard.append(await reader.readline())
            await self._react(writer)
        writer.close()
        self._tasks.discard(task)

    async def _react(self, writer: asyncio.StreamWriter) -> None:
        if self.answer == HANG:
            await asyncio.Event().wait()
        while self.answer == FLOOD:
            writer.write(b"and so on \x1b[31m\r\n" * 100)
            await writer.drain()
            self.flooded += 1700
        assert isinstance(self.answer, bytes)
        writer.write(self.answer)
        if self.on_line is not None:
            self.on_line()
