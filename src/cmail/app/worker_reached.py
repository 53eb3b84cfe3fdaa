"""Where a worker's mail went: told to the link process, which asks there when the line is in doubt."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from cmail.delivery.hosts import Host
from cmail.net.control import ControlClient, ControlError
from cmail.policy.routing import MX_PREFIX
from cmail.queue.scheduler import Scheduler

TELL_S: Final = 5.0
TELL_EVERY_S: Final = 60.0
UNTOLD_MAX: Final = 8  # the link process keeps four domains and four hosts
TOOK_MAX: Final = 1000  # hosts

Place = tuple[str, int]  # a host's address and port; a domain has no port: 0


class WorkerReached:
    """One a worker. `is_news` is set when there is something to be told at once."""

    def __init__(
        self,
        link: Callable[[float], ControlClient],
        schedulers: Callable[[], Sequence[Scheduler]],
        is_news: asyncio.Event,
    ) -> None:
        self._link, self._schedulers, self._is_news = link, schedulers, is_news
        self._untold: dict[Place, None] = {}  # the latest last
        self._told_at: dict[bool, float] = {}  # of domains (True) and of hosts
        self._took: dict[str, None] = {}  # hosts that have taken mail, as the log calls them

    def delivered(self, route: str) -> None:
        """Something was taken at a next hop: its domain is one that exists."""
        if route.startswith(MX_PREFIX) and not route.startswith(MX_PREFIX + "["):
            self._note(route.removeprefix(MX_PREFIX), 0)

    def took(self, host: Host) -> None:
        """A host has taken mail."""
        self._note(str(host.address), host.port)
        relay = str(host)
        if relay in self._took:
            del self._took[relay]
        else:
            self._is_news.set()
        self._took[relay] = None
        if len(self._took) > TOOK_MAX:
            del self._took[next(iter(self._took))]

    def is_stranger(self, relay: str) -> bool:
        """Whether a host, as the log calls it, has taken no mail since we started, as far as we know."""
        return relay not in self._took and relay != "none"

    def link_is_down(self) -> None:
        """What was not told yet may have been taken by a log-in page."""
        self._untold.clear()

    def forget_hosts(self) -> None:
        """Behind a log-in page each of them may have been the page."""
        self._took.clear()

    def look(self) -> None:
        """Where mail goes now, on connections that have not ended yet."""
        for scheduler in self._schedulers():
            for name, route in scheduler.routes.items():
                if route.needs_link and any(lane.has_delivered for lane in route.lanes):
                    self.delivered(name)

    async def tell(self) -> None:
        """Now and then, and the first time at once; what was not noted is told again in a moment."""
        told = self._due()
        if not told:
            return
        if await self._is_noted(told):
            self._untold = {each: None for each in self._untold if each not in told}
        else:
            self._told_at.clear()

    def _note(self, name: str, port: int) -> None:
        self._untold.pop((name, port), None)
        self._untold[name, port] = None
        if len(self._untold) > UNTOLD_MAX:
            del self._untold[next(iter(self._untold))]

    def _due(self) -> list[Place]:
        """Domains and hosts, each so often."""
        now, due = asyncio.get_running_loop().time(), list[Place]()
        for is_domain in {not port for _, port in self._untold}:
            if now >= self._told_at.get(is_domain, float("-inf")) + TELL_EVERY_S:
                self._told_at[is_domain] = now
                due += [place for place in self._untold if is_domain is not bool(place[1])]
        return due

    async def _is_noted(self, places: Sequence[Place]) -> bool:
        """While the line is in doubt, nobody knows who took it, and the link process notes nothing."""
        names = [name for name, port in places if not port]
        hosts = [[name, port] for name, port in places if port]
        try:
            answer = await self._link(TELL_S).ask("link.seen", {"names": names, "hosts": hosts})
        except ControlError:
            return False
        return answer.ok.get("is_noted") is not False
