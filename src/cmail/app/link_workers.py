"""The workers as the link process sees them: told how the link is, asked what waits and what went."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from cmail.link.clock import LinkReading
from cmail.net.control import ControlClient, ControlError, Fields
from cmail.observe import maillog
from cmail.policy.orders import FREE, Orders

AGAIN_S: Final = 0.5
AGAIN_TIMES: Final = 120  # who does not hear for a minute is ended by the supervisor, and reads the file
ASK_S: Final = 5.0


class Workers:
    """All of them. One that cannot hear it now how the link is (it starts, and has perhaps read the file
    of before already) is told a moment later."""

    def __init__(self, run_folder: str, names: Sequence[str]) -> None:
        self._run_folder = run_folder
        self._names = names
        self._latest: tuple[LinkReading, Orders] = (LinkReading(), FREE)
        self._behind: dict[str, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._names)

    async def tell(self, reading: LinkReading, orders: Orders, is_said_again: bool = False) -> None:
        """Tell all how it is; when it returns, whoever could hear it has heard it."""
        self._latest = reading, orders
        more = {"is_said_again": True} if is_said_again else {}
        await asyncio.gather(*(self._tell(name, more) for name in self._names))

    async def begin_exchange(self) -> None:
        """What is batched goes now, as far as it is there."""
        reading, orders = self._latest
        fields = {**_fields(reading, orders), "begins_exchange": True}
        await self._ask_all("link.changed", fields)

    async def lost(self, addresses: Collection[str], gone: Collection[str]) -> None:
        """End the connections from these addresses of ours; some of them are not there any more."""
        await self._ask_all("link.lost", {"addresses": sorted(addresses), "gone": sorted(gone)})

    async def ask(self, question: str, **arguments: Any) -> dict[str, Fields]:
        """The answers of those that answer, by their names."""
        return await self._ask_all(question, arguments)

    def close(self) -> None:
        """Tell nobody any more."""
        for task in list(self._behind.values()):
            task.cancel()

    async def _ask_all(self, question: str, arguments: Mapping[str, Any]) -> dict[str, Fields]:
        async def ask(name: str) -> Fields | None:
            try:
                return (await ControlClient(self._run_folder, name, ASK_S).ask(question, arguments)).ok
            except ControlError:
                return None  # it starts, or is old: it is asked again, or told the next time

        answers = await asyncio.gather(*(ask(name) for name in self._names))
        found = zip(self._names, answers, strict=True)
        return {name: answer for name, answer in found if answer is not None}

    async def _tell(self, name: str, more: Fields) -> None:
        try:
            await self._say(name, more)
        except ControlError as error:
            maillog.warned(f"{name} was not told of the link, it is told again: {error}")
            if name not in self._behind:
                self._behind[name] = asyncio.create_task(self._tell_again(name), name=f"tell {name}")

    async def _tell_again(self, name: str) -> None:
        try:
            for _ in range(AGAIN_TIMES):
                await asyncio.sleep(AGAIN_S)
                try:
                    await self._say(name, {})
                    return
                except ControlError:
                    continue
        finally:
            del self._behind[name]

    async def _say(self, name: str, more: Fields) -> None:
        fields = {**_fields(*self._latest), **more}
        await ControlClient(self._run_folder, name, ASK_S).ask("link.changed", fields)


def _fields(reading: LinkReading, orders: Orders) -> Fields:
    return {**reading.fields(), "orders": orders.fields()}
