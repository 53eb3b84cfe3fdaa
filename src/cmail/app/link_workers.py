"""The workers as the link process sees them: told how the link is, asked what waits and what went."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from cmail.app.link_telling import Ask, Teller
from cmail.link.clock import LinkReading
from cmail.net.control import ControlClient, ControlError, Fields
from cmail.policy.orders import FREE, Orders

ASK_S: Final = 5.0
TELL_S: Final = 0.1  # so long the next word waits for those that are slow with this one
HEARD_S: Final = 5.0
SILENT_S: Final = 15.0  # who let us wait for an answer is not waited for again before


class Workers:
    """All of them. One that cannot hear it now how the link is (it starts, and has perhaps read the file
    of before already; or it hangs) is told a moment later, and the others do not wait for it."""

    def __init__(self, run_folder: str, names: Sequence[str]) -> None:
        self._run_folder = run_folder
        self._names = names
        self._latest: Fields = _fields(LinkReading(), FREE)
        self._tellers = [Teller(name, self._asker(name)) for name in names]
        self._silent_until: dict[str, float] = {}
        self.upstream: Callable[[], Fields] = dict  # where the upstream server was found last

    def _asker(self, name: str) -> Ask:
        async def ask(question: str, fields: Fields) -> None:
            await ControlClient(self._run_folder, name, ASK_S).ask(question, fields)

        return ask

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._names)

    async def tell(self, reading: LinkReading, orders: Orders, is_said_again: bool = False) -> None:
        """Tell all how it is, at the same time. Those that hear at once have heard it when this returns."""
        self._latest = {**_fields(reading, orders), "upstream": self.upstream()}
        await self._tell({"is_said_again": True} if is_said_again else {})

    async def begin_exchange(self) -> None:
        """What is batched goes now, as far as it is there."""
        await self._tell({"begins_exchange": True})

    async def _tell(self, marks: Fields) -> None:
        for teller in self._tellers:
            teller.tell(self._latest, marks)
        await self.heard(TELL_S)

    async def lost(self, addresses: Collection[str], gone: Collection[str]) -> None:
        """End the connections from these addresses of ours; some of them are not there any more."""
        for teller in self._tellers:
            teller.lose(addresses, gone)

    async def heard(self, within_s: float | None = None) -> None:
        """Until whoever can hear has heard all that was told."""
        waits = [asyncio.create_task(each.is_heard.wait()) for each in self._tellers]
        _, late = await asyncio.wait(waits, timeout=HEARD_S if within_s is None else within_s)
        for task in late:
            task.cancel()

    async def ask(self, question: str, **arguments: Any) -> dict[str, Fields]:
        """The answers of those that answer, by their names."""
        answers = await asyncio.gather(*(self._ask(name, question, arguments) for name in self._names))
        found = zip(self._names, answers, strict=True)
        return {name: answer for name, answer in found if answer is not None}

    async def _ask(self, name: str, question: str, arguments: Mapping[str, Any]) -> Fields | None:
        now = asyncio.get_running_loop().time
        begun = now()
        if begun < self._silent_until.get(name, begun):
            return None
        try:
            return (await ControlClient(self._run_folder, name, ASK_S).ask(question, arguments)).ok
        except ControlError:
            if now() - begun >= ASK_S:  # it hangs; who is only away says so at once, and is asked again
                self._silent_until[name] = now() + SILENT_S
            return None

    def close(self) -> None:
        """Tell nobody any more."""
        for teller in self._tellers:
            teller.close()


def _fields(reading: LinkReading, orders: Orders) -> Fields:
    return {**reading.fields(), "orders": orders.fields()}
