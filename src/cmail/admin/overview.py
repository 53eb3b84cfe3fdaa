"""Overview: what must be seen at a glance: on line or not, the way out, what waits, what needs attention."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cmail.admin.processes import Processes
from cmail.net.control import ControlError

Fields = dict[str, Any]
FRESH_S: Final = 1.0  # so old it is shown again without asking anew: many pages, one question


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that a person should see to."""

    words: str  # what is wrong
    advice: str  # what to do
    path: str = ""  # the page where it can be done


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it as of one moment. None: the process that knows did not answer."""

    asked_wall_ms: int
    status: Fields = field(default_factory=dict)  # of the supervisor
    link: Fields | None = None
    queue: Fields | None = None
    sessions: int = 0
    silent: Mapping[str, str] = field(default_factory=dict)
    attention: Sequence[Attention] = ()

    @property
    def waiting(self) -> int:
        """Recipients that wait, those on hold included."""
        counts = self.queue["recipients"] if self.queue else {}
        return int(counts.get("queued", 0) + counts.get("held", 0))

    @property
    def is_online(self) -> bool | None:
        """None: nobody knows."""
        return None if self.link is None else not self.link.get("is_down", False)


Finder = Callable[["Overview"], Awaitable[Sequence[Attention]]]  # what one part has to say


class Overviews:
    """Asks for it, at most once a second however many look. Parts add finders of what needs attention."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._asking = asyncio.Lock()
        self._last: Overview | None = None
        self._last_at = 0.0
        self.finders: list[Finder] = []

    async def get(self) -> Overview:
        """As of now, or a second ago."""
        async with self._asking:
            if self._last is None or time.monotonic() - self._last_at > FRESH_S:
                self._last = await self._ask()
                self._last_at = time.monotonic()
            return self._last

    def forget(self) -> None:
        """Somebody has changed something: ask anew."""
        self._last = None

    async def _ask(self) -> Overview:
        asked = (self._ask_supervisor(), self._ask_link(), self._ask_queue(), self._ask_sessions())
        (status, why), (link, _), (queue, _), (sessions, silent) = await asyncio.gather(*asked)
        overview = Overview(
            time.time_ns() // 1_000_000, status or {}, link, queue, sessions or 0, silent if not why else {}
        )
        found = await asyncio.gather(*(find(overview) for find in self.finders))
        attention = [*_of_processes(overview), *(each for some in found for each in some)]
        return Overview(
            overview.asked_wall_ms, overview.status, link, queue, overview.sessions, silent, attention
        )

    async def _ask_supervisor(self) -> tuple[Fields | None, Any]:
        return await _try(self._processes.ask("supervisor", "status"))

    async def _ask_link(self) -> tuple[Fields | None, Any]:
        return await _try(self._processes.ask("link", "link.status"))

    async def _ask_queue(self) -> tuple[Fields | None, Any]:
        try:
            return await self._processes.figures(), {}
        except ControlError as error:
            return None, {"workers": error.words}

    async def _ask_sessions(self) -> tuple[int | None, Any]:
        try:
            heard = await self._processes.ask_workers("status")
        except ControlError as error:
            return None, {"workers": error.words}
        return sum(int(answer.ok.get("sessions", 0)) for answer in heard.answers), heard.silent


async def _try(asked: Awaitable[Any]) -> tuple[Fields | None, str]:
    try:
        return (await asked).ok, ""
    except ControlError as error:
        return None, error.words


def _of_processes(overview: Overview) -> list[Attention]:
    found = []
    for name, words in overview.silent.items():
        found.append(
            Attention(
                f"{name} does not answer ({words}).", "It is started again by itself; see the log.", "/log"
            )
        )
    return found
