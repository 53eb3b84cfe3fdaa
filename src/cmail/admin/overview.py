"""Overview: what must be seen at a glance: on line or not, the way out, what waits, what needs attention."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    routes: Sequence[Fields] = ()  # next hops that are in use: {route, ready, connections, rests_s, reason}
    silent: Mapping[str, str] = field(default_factory=dict)
    troubles: Sequence[str] = ()  # what is wrong with our own disk or files now, in words
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

    @property
    def since_wall_ms(self) -> int:
        """Since when the line is as it is: its last change, or the start of the server. 0: nobody knows."""
        changed = (self.link or {}).get("changed_wall_ms")
        return int(changed or self.status.get("started_ms") or 0)


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
        status, link, queue, (sessions, routes, silent), troubles = await asyncio.gather(
            _try(self._processes.ask("supervisor", "status")),
            _try(self._processes.ask("link", "link.status")),
            self._ask_queue(),
            self._ask_sessions(),
            self._ask_troubles(),
        )
        now = time.time_ns() // 1_000_000
        overview = Overview(now, status or {}, link, queue, sessions, routes, silent, troubles)
        found = await asyncio.gather(*(find(overview) for find in self.finders))
        attention = [*_of_processes(overview), *(each for some in found for each in some)]
        return replace(overview, attention=attention)

    async def _ask_queue(self) -> Fields | None:
        try:
            return await self._processes.figures()
        except ControlError:
            return None

    async def _ask_sessions(self) -> tuple[int, Sequence[Fields], Mapping[str, str]]:
        try:
            heard = await self._processes.ask_workers("status")
        except ControlError as error:
            return 0, (), {"workers": error.words}
        routes = [route for answer in heard.answers for route in answer.ok.get("routes", ())]
        return sum(int(answer.ok.get("sessions", 0)) for answer in heard.answers), routes, heard.silent

    async def _ask_troubles(self) -> list[str]:
        """Of all workers. One that does not answer is told of by itself."""
        try:
            heard = await self._processes.ask_workers("troubles")
        except ControlError:
            return []
        found = [str(words) for answer in heard.answers for words in answer.ok.get("troubles", ())]
        return list(dict.fromkeys(found))


async def _try(asked: Awaitable[Any]) -> Fields | None:
    try:
        return dict((await asked).ok)
    except ControlError:
        return None


def _of_processes(overview: Overview) -> list[Attention]:
    found = [
        Attention(f"{name} does not answer ({words}).", "It is started again by itself; see the log.", "/log")
        for name, words in overview.silent.items()
    ]
    advice = "It goes on by itself when that is over; what was accepted stays."
    return found + [Attention(f"{words[:1].upper()}{words[1:]}", advice) for words in overview.troubles]
