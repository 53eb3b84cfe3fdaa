"""Connections that sites have turned round, in this worker: a dead one makes room when its site comes again.

A line that is cut in silence, or dialled anew with another address, leaves a connection of which nobody says
that it is over. It has its shard until the kernel gives it up, minutes later, and the site is there now."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cmail.delivery.turned import TurnedPipe
from cmail.net.control import ControlClient, ControlError, Fields
from cmail.observe import maillog

END_S: Final = 10.0  # until those who had it have heard of its end
ASK_S: Final = 20.0


@dataclass(slots=True, eq=False)
class _Held:
    """One of them."""

    names: frozenset[str]
    pipe: TurnedPipe
    over: asyncio.Event = field(default_factory=asyncio.Event)


class TurnedHere:
    """Of one worker. `place` is app.sites.Place."""

    def __init__(self, place: Any) -> None:
        self._place = place
        self._held: set[_Held] = set()

    @contextlib.contextmanager
    def hold(self, names: Sequence[str], pipe: TurnedPipe) -> Iterator[None]:
        """As long as it is lent to shards."""
        held = _Held(frozenset(names), pipe)
        self._held.add(held)
        try:
            yield
        finally:
            self._held.discard(held)
            held.over.set()

    async def make_room(self, names: Sequence[str]) -> None:
        """One of these sites has come: whatever is left of its last visit ends, in all workers. A connection
        that lives stays."""
        others = (self._ask(name, names) for name in self._place.others)
        await asyncio.gather(self.end_dead(names), *others)

    async def end_dead(self, names: Sequence[str]) -> None:
        """In this worker."""
        theirs = [held for held in self._held if held.names & set(names)]
        await asyncio.gather(*(self._end_when_dead(held) for held in theirs))

    async def _end_when_dead(self, held: _Held) -> None:
        if await held.pipe.is_there():
            return
        names = ", ".join(sorted(held.names))
        maillog.noted(f"site {names}: it has come again, and the connection of before is dead: it ends")
        held.pipe.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(held.over.wait(), END_S)

    async def _ask(self, name: str, names: Sequence[str]) -> None:
        request: Fields = {"names": list(names)}
        with contextlib.suppress(ControlError):  # who is away has none
            await ControlClient(self._place.run_folder, name, ASK_S).ask("site.turned", request)
