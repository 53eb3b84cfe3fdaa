"""A worker asks the link process whether the Internet is there, and whether a domain is gone."""

import asyncio
from collections.abc import Callable
from typing import Final

from cmail.app.worker_reached import WorkerReached
from cmail.link.clock import LinkView
from cmail.net.control import ControlClient, ControlError
from cmail.policy.routing import MX_PREFIX

CONFIRM_S: Final = 45.0  # a probe of some addresses, names and a handshake
ASKING_MAX: Final = 8  # domains that are asked about at once
BELIEVED_S: Final = 10.0  # so long what a probe saw is not asked for again


class WorkerConfirm:
    """One a worker. That we are on line is believed for a moment; that we are not, and what is said of a
    domain, never longer than it takes to say it."""

    def __init__(
        self, link: Callable[[float], ControlClient], link_clock: LinkView, reached: WorkerReached
    ) -> None:
        self._link, self._link_clock, self._reached = link, link_clock, reached
        self._asking = asyncio.Semaphore(ASKING_MAX)
        self._looking = asyncio.Lock()
        self._on_line_until = float("-inf")  # so long nobody is asked whether the Internet is there
        self._has_looked = True  # somebody, since the link came up

    def link_is_down(self) -> None:
        """What was seen before is over."""
        self._on_line_until = float("-inf")
        self._has_looked = False

    async def word_on(self, domain: str) -> str:
        """See link_confirm. Asked each time: what the DNS said of a domain may have been kept from when it
        knew nothing."""
        async with self._asking:
            if self._link_clock.is_down:
                return "no"
            self._reached.look()
            await self._reached.tell()
            return await self._ask(domain)

    async def is_on_line(self) -> bool:
        """Whether the Internet is there, as far as anybody can say. What was seen before the link went down,
        and is said when it is up again, says nothing."""
        async with self._looking:
            now, clock = asyncio.get_running_loop().time, self._link_clock
            while not clock.is_down and now() >= self._on_line_until:
                periods = clock.periods
                if await self._ask() == "no":
                    return False
                if clock.periods == periods:
                    self._on_line_until = now() + BELIEVED_S
            return not clock.is_down

    async def must_wait(self, route: str) -> bool:
        """Whether a log-in page would get this mail: at link-up nobody has looked yet, and its DNS leads to
        itself. Where the upstream server is was known before."""
        if self._has_looked or not route.startswith(MX_PREFIX):
            return False
        is_good = await self.is_on_line()
        self._has_looked = not self._link_clock.is_down
        return not is_good

    async def _ask(self, domain: str = "") -> str:
        try:
            answer = await self._link(CONFIRM_S).ask("link.confirm", {"domain": domain})
        except ControlError:
            return "unsure"  # it is away, and comes back
        return str(answer.ok.get("says"))
