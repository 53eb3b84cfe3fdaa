"""Latest: an answer that may take its time: who asks has it at once, or the one of before, with its age."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

PATIENCE_S: Final = 0.5  # where it is quick as a rule
QUICK_S: Final = 0.025
SLOW_PATIENCE_S: Final = 0.015  # where it is not: a page answers within 50 ms, all in all

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answered(Generic[_T]):
    """What is known. None: nothing yet, it is being asked for."""

    value: _T | None = None
    at_ms: int = 0
    is_new: bool = False  # it came at once


class Latest(Generic[_T]):
    """One question at a time, however many look. With a long queue it takes workers a while to count."""

    def __init__(self, ask: Callable[[], Awaitable[_T]]) -> None:
        self._ask = ask
        self._took_s = 0.0  # the last time
        self._asking: asyncio.Task[_T] | None = None
        self._last: Answered[_T] = Answered()

    async def get(self) -> Answered[_T]:
        """The answer, as new as there is one. What was raised by a question that ended just now is raised."""
        asking = self._asking
        if asking is None or asking.done():
            asking = self._asking = asyncio.create_task(self._run(), name="ask for a page")
            asking.add_done_callback(_look)
        patience_s = PATIENCE_S if self._took_s < QUICK_S else SLOW_PATIENCE_S
        done, _ = await asyncio.wait([asking], timeout=patience_s)
        if done:
            asking.result()
        return Answered(self._last.value, self._last.at_ms, bool(done))

    async def _run(self) -> _T:
        at_ms, began = time.time_ns() // 1_000_000, time.monotonic()
        try:
            value = await self._ask()
        finally:
            self._took_s = time.monotonic() - began
        self._last = Answered(value, at_ms)
        return value


def _look(asked: "asyncio.Task[_T]") -> None:
    """Nobody waits for it any more, perhaps: what was raised is asked for again by who looks next."""
    if not asked.cancelled():
        asked.exception()
