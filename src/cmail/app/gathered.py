"""Gathered: one question at a time; what comes meanwhile is asked together in the next one.

So hundreds in the same second cost little, and nobody is answered by what was asked before he came."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class Gathered(Generic[_Q, _A]):
    """Of one event loop."""

    def __init__(self, ask: Callable[[Sequence[_Q]], Awaitable[_A]], name: str) -> None:
        """`ask` is given what all of them want; its answer is for each of them."""
        self._ask, self._name = ask, name
        self._wanted: list[_Q] = []
        self._next: asyncio.Task[_A] | None = None
        self._under_way: asyncio.Task[_A] | None = None

    async def ask(self, wanted: _Q) -> _A:
        """The answer to a question that begins from now on; who is cancelled ends it for nobody else."""
        self._wanted.append(wanted)
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._under_way), name=self._name)
        return await asyncio.shield(self._next)

    async def _run(self, before: asyncio.Task[_A] | None) -> _A:
        if before is not None:
            await asyncio.wait((before,))
        wanted, self._wanted = self._wanted, []
        self._under_way, self._next = self._next, None
        return await self._ask(wanted)
