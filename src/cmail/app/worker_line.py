"""A worker shares a thin line with the others: it tells what it has on it, and hears what they have."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from cmail.net.control import ControlClient, ControlError
from cmail.policy.line_use import UNUSED, LineUse, parse_line_use, together
from cmail.queue.scheduler import Scheduler

ASK_S: Final = 2.0  # the link process answers from memory; while it hangs nobody waits for anybody
TELL_EVERY_S: Final = 0.1
LOOK_EVERY_S: Final = 0.4  # beyond that, while the line is in use


class WorkerLine:
    """One a worker. Nothing is asked while the line is fast, or nothing goes by it."""

    def __init__(
        self, name: str, link: Callable[[float], ControlClient], schedulers: Callable[[], Sequence[Scheduler]]
    ) -> None:
        self._name, self._link, self._schedulers = name, link, schedulers
        self._is_changed = asyncio.Event()

    def share(self, scheduler: Scheduler) -> None:
        """What goes by the thin line of this shard is told."""
        scheduler.thin_line.share(self._is_changed.set)

    async def run(self) -> None:
        """Tell at once what is new, and look twice a second while there is anything."""
        while True:
            await self._is_changed.wait()
            self._is_changed.clear()
            is_any = await self._tell()
            await asyncio.sleep(TELL_EVERY_S)
            if is_any:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._is_changed.wait()
                self._is_changed.set()

    async def _tell(self) -> bool:
        use = together(scheduler.thin_line.use() for scheduler in self._schedulers())
        others = await self._ask(use)
        for scheduler in self._schedulers():
            scheduler.thin_line.hear(others)
        return use.is_any

    async def _ask(self, use: LineUse) -> LineUse:
        fields = {"worker": self._name, **use.fields()}
        try:
            return parse_line_use((await self._link(ASK_S).ask("line.use", fields)).ok)
        except (ControlError, ValueError):
            return UNUSED  # the link process is away: nobody waits for what it would know
