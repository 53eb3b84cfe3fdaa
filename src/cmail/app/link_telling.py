"""Telling: what one worker is to hear of the link, in order; one that hangs delays nobody else."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from cmail.net.control import ControlError, Fields, NotRunningError
from cmail.observe import maillog

# Who starts goes by the file of before, which knows neither other settings nor the rate of a first start.
SOON_S: Final = 0.02
SOON_TIMES: Final = 100
AGAIN_S: Final = 0.5
AGAIN_TIMES: Final = 220  # who does not hear for a minute is ended by the supervisor, and reads the file

Ask = Callable[[str, Fields], Awaitable[Any]]  # one question; ControlError: it did not hear it


class Teller:
    """Of one worker. It is told one thing at a time, always the latest; what was lost meanwhile, and that
    something was said again or begins, is gathered."""

    def __init__(self, name: str, ask: Ask) -> None:
        self._name, self._ask = name, ask
        self._latest: Fields = {}
        self._marks: Fields = {}  # is_said_again, begins_exchange
        self._is_stale = False  # it has not heard the latest
        self._lost: set[str] = set()
        self._gone: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._tries = 0
        self._hangs = False
        self.is_heard = asyncio.Event()  # all of it, or that it cannot be heard now
        self.is_heard.set()

    def tell(self, latest: Fields, marks: Fields) -> None:
        """How it is now. What it has in hand comes to its end first."""
        self._latest, self._is_stale = latest, True
        self._marks.update(marks)
        self._begin()

    def lose(self, addresses: Collection[str], gone: Collection[str]) -> None:
        """Connections from these addresses are to end; it hears first how the link is."""
        self._lost.update(addresses)
        self._gone.update(gone)
        self._begin()

    def close(self) -> None:
        """Tell it nothing more."""
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._tries = 0
        if self._task is None or self._task.done():
            self._hangs = False
            self.is_heard.clear()
            self._task = asyncio.create_task(self._run(), name=f"tell {self._name}")
        elif not self._hangs:
            self.is_heard.clear()  # it was starting, and may hear this one

    async def _run(self) -> None:
        try:
            while (self._is_stale or self._lost) and self._tries <= AGAIN_TIMES:
                try:
                    await (self._say() if self._is_stale else self._say_lost())
                except ControlError as error:
                    is_starting = isinstance(error, NotRunningError)
                    if self._tries == (SOON_TIMES if is_starting else 0):
                        maillog.warned(f"{self._name} was not told of the link, it is told again: {error}")
                    self._hangs = not is_starting
                    self.is_heard.set()  # it starts, or hangs: nobody waits for it
                    self._tries += 1
                    await asyncio.sleep(SOON_S if self._tries <= SOON_TIMES else AGAIN_S)
        finally:
            self.is_heard.set()

    async def _say(self) -> None:
        marks, self._marks, self._is_stale = self._marks, {}, False
        try:
            await self._ask("link.changed", {**self._latest, **marks})
        except ControlError:
            self._marks, self._is_stale = {**marks, **self._marks}, True
            raise

    async def _say_lost(self) -> None:
        """Once: whoever does not hear it has its connections from there end by themselves."""
        lost, gone = sorted(self._lost), sorted(self._gone)
        self._lost, self._gone = set(), set()
        await self._ask("link.lost", {"addresses": lost, "gone": gone})
