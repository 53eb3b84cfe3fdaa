"""Saving: a file is written beside what goes on: one write after the other, and the last is the latest."""

import asyncio
from collections.abc import Awaitable, Callable


class Saving:
    """Of one file. `write` puts it on the disk as it is to be now, and says itself what goes wrong."""

    def __init__(self, name: str, write: Callable[[], Awaitable[None]]) -> None:
        self._name, self._write = name, write
        self._task: asyncio.Task[None] | None = None
        self._is_stale = False

    def soon(self) -> None:
        """It has changed."""
        self._is_stale = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=self._name)

    async def _run(self) -> None:
        while self._is_stale:
            self._is_stale = False
            await self._write()

    async def close(self) -> None:
        """Until what has changed is written."""
        if self._task is not None:
            await asyncio.wait([self._task])
