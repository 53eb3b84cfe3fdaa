"""SiteAgent: to a site that is there now: over a connection that it has turned round, or by one of ours."""

import asyncio
from collections.abc import Callable
from typing import cast

from cmail.delivery.agent import Ending, Finished, Work
from cmail.delivery.connections import Tls
from cmail.delivery.site_book import SiteBook
from cmail.delivery.smtp import SmtpAgent
from cmail.delivery.turned import Turn, run_turned
from cmail.policy.routing import SITE_PREFIX


class SiteAgent:
    """DeliveryAgent for site:NAME; one for each shard: a turned connection is one shard's at a time."""

    def __init__(self, book: SiteBook, smtp: SmtpAgent, monotonic: Callable[[], float]) -> None:
        self._book = book
        self._smtp = smtp
        self._monotonic = monotonic
        self._turns: dict[str, Turn] = {}

    def is_open(self, route: str) -> bool:
        """Whether something of this shard may go on a route now."""
        return route in self._turns or self._book.is_open(route)

    def is_turned(self, route: str) -> bool:
        """Whether there is a connection that the site has turned round, and no way to open another."""
        return self._book.way(route) is None

    def largest(self, route: str) -> int:
        """How large a message may be that the site takes unasked; 0: as large as it is."""
        site = self._book.named(route.removeprefix(SITE_PREFIX))
        return site.largest if site is not None else 0

    def connections_max(self, route: str, usual: int) -> int:
        """Connections at once."""
        return 1 if route.startswith(SITE_PREFIX) and self.is_turned(route) else usual

    def begin(self, route: str, turn: Turn) -> bool:
        """A connection that the site has turned round is this shard's now; False: it has one already."""
        if route in self._turns:
            return False
        self._turns[route] = turn
        return True

    def end(self, route: str) -> None:
        """Not any more."""
        self._turns.pop(route, None)

    async def run(self, route: str, work: Work) -> Ending:
        """One connection."""
        turn = self._turns.get(route)
        if turn is not None and not turn.is_taken:
            turn.is_taken = True
            try:
                return await run_turned(turn, work, self._monotonic)
            except asyncio.CancelledError:
                raise
            finally:
                turn.finish()
        way = self._book.way(route)
        if way is None:
            return Finished(0)
        return await self._smtp.run_host(way.host, way.port, cast(Tls, way.tls), work, "a [[site]]")
