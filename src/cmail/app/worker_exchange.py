"""A worker asks for an exchange: for urgent mail that comes, and when somebody wants all that waits to go."""

import asyncio
from collections.abc import Callable
from typing import Final

from cmail.net.control import ControlClient, ControlError

TELL_S: Final = 5.0
BEGIN_S: Final = 30.0  # the link process asks all workers before one begins
URGENT_EVERY_S: Final = 0.1  # so many that come together are one word


class WorkerExchange:
    """One a worker. `link`: asks the link process, within so many seconds."""

    def __init__(self, link: Callable[[float], ControlClient]) -> None:
        self._link = link
        self._urgent_count = 0  # messages of which the link process was not told yet
        self._has_come = asyncio.Event()

    async def begin(self) -> str:
        """Somebody wants all that waits to go now: "", or why no exchange can begin."""
        try:
            await self._link(BEGIN_S).ask("link.send", {})
        except ControlError as error:
            return error.words
        return ""

    def urgent_waits(self) -> None:
        """An urgent message came, and no exchange is open."""
        self._urgent_count += 1
        self._has_come.set()

    async def run(self) -> None:
        """Tell of urgent messages at once, a few times a second at most."""
        while True:
            await self._has_come.wait()
            self._has_come.clear()
            count, self._urgent_count = self._urgent_count, 0
            try:
                await self._link(TELL_S).ask("link.wants", {"urgent": count})
            except ControlError:
                pass  # it is away, and asks what waits when it comes
            await asyncio.sleep(URGENT_EVERY_S)
