"""What a worker's connections show of the line: that mail moves, that nothing does, how they end; told to the
link process."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cmail.app.worker_reached import WorkerReached
from cmail.delivery.agent import Ending, HostTrouble
from cmail.link.clock import LinkView
from cmail.mail.outcome import NotNow
from cmail.mail.status import DIRECTORY_FAILURE, NO_ANSWER_FROM_HOST, UNABLE_TO_ROUTE
from cmail.net.control import ControlClient, ControlError
from cmail.policy.routing import RELAY
from cmail.queue.lane import Lane
from cmail.queue.scheduler import Scheduler

TELL_S: Final = 5.0
TELL_EVERY_S: Final = 1.0
WELL_EVERY_S: Final = 10.0  # that all is still well is told so often
STUCK_S: Final = 30.0  # nothing is settled: a look costs a probe, to wait for the time-out costs minutes


@dataclass(frozen=True, slots=True)
class _Look:
    """At one connection."""

    settled_count: int = 0  # messages
    octets: int = 0  # that the other end has
    well_at: float = 0.0  # when either was seen to grow, or there was nothing to send


class WorkerSight:
    """One a worker. What it tells is of the link process's words: ok, offline, silent or timeout."""

    def __init__(
        self,
        link: Callable[[float], ControlClient],
        schedulers: Callable[[], Sequence[Scheduler]],
        link_clock: LinkView,
        reached: WorkerReached,
        is_news: asyncio.Event,
    ) -> None:
        self._link, self._schedulers, self._link_clock = link, schedulers, link_clock
        self._reached, self._is_news = reached, is_news
        self._looks: dict[Lane, _Look] = {}
        self._ended = ""  # what the end of a connection says, and is to be told
        self._told, self._told_at = "", 0.0  # what was told last, and when

    def ended(self, route: str, ending: Ending) -> None:
        """A connection came to nothing, or to its end."""
        if kind := _kind_of(route, ending):
            self._ended = kind
            self._is_news.set()

    async def run(self) -> None:
        """Tell what is seen, at most once a second."""
        while True:
            try:
                await asyncio.wait_for(self._is_news.wait(), TELL_EVERY_S)
            except TimeoutError:
                pass
            self._is_news.clear()
            kind, self._ended = self.look() or self._ended, ""
            await self._reached.tell()
            if kind and (kind != "ok" or self._is_worth_a_word()):
                self._told, self._told_at = kind, asyncio.get_running_loop().time()
                await self._tell(kind)
                await asyncio.sleep(TELL_EVERY_S)

    def look(self) -> str:
        """What the connections that need the link say now: that something was delivered or moves since the
        last look (ok), or that for long nothing was settled nor moved on one that has something to send
        (silent)."""
        before, self._looks = self._looks, {}
        said = {self._look_at(name, lane, before) for name, lane in self._far_lanes()}
        return "ok" if "ok" in said else "silent" if "silent" in said else ""

    def _far_lanes(self) -> Iterator[tuple[str, Lane]]:
        """With the names of their routes."""
        for scheduler in self._schedulers():
            for name, route in scheduler.routes.items():
                if route.needs_link:
                    yield from ((name, lane) for lane in route.lanes)

    def _look_at(self, name: str, lane: Lane, before: Mapping[Lane, _Look]) -> str:
        now = asyncio.get_running_loop().time()
        last, octets = before.get(lane, _Look(well_at=now)), lane.acknowledged()
        is_delivered = lane.has_delivered and lane.settled_count > last.settled_count
        is_moving = octets > last.octets > 0
        is_well = is_moving or lane.settled_count != last.settled_count or not lane.taken
        is_stuck = not is_well and now - last.well_at >= STUCK_S
        well_at = (
            now if is_well else now + STUCK_S if is_stuck else last.well_at
        )  # again after twice the time
        if is_delivered:
            self._reached.delivered(name)
        self._looks[lane] = _Look(lane.settled_count, octets, well_at)
        return "ok" if is_delivered or is_moving else "silent" if is_stuck else ""

    def _is_worth_a_word(self) -> bool:
        """That all is well."""
        now = asyncio.get_running_loop().time()
        return self._told != "ok" or self._link_clock.is_down or now >= self._told_at + WELL_EVERY_S

    async def _tell(self, kind: str) -> None:
        try:
            await self._link(TELL_S).ask("link.seen", {"is_ok": kind == "ok", "kind": kind})
        except ControlError:
            return  # it is away: workers go on


def is_silent(ending: Ending) -> bool:
    """Whether nobody answered, within the time that they had."""
    if not isinstance(ending, HostTrouble) or ending.transactions_count:
        return False
    return ending.failure.detail == NO_ANSWER_FROM_HOST and "timed out" in ending.failure.reason


def _kind_of(route: str, ending: Ending) -> str:
    """Of the upstream server one silence is enough to look, of others it takes two in a row."""
    if not isinstance(ending, HostTrouble) or ending.transactions_count:
        return ""
    failure = ending.failure
    if failure.kind is NotNow.OFFLINE:
        return "offline"
    if is_silent(ending):
        return "silent" if route == RELAY else "timeout"
    if failure.detail == DIRECTORY_FAILURE:
        return "timeout"
    if failure.detail == UNABLE_TO_ROUTE and route == RELAY:
        return "silent"  # its name is gone: that is seldom, and often means an uplink that is
    return ""
