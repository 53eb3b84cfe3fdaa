"""Pausing: large content in flight stands aside for smaller mail where the line cannot carry both."""

from asyncio import Future
from typing import TYPE_CHECKING

from cmail.delivery.agent import PAUSE_MAX_S
from cmail.queue.lane import Lane

if TYPE_CHECKING:
    from cmail.queue.route_queue import RouteQueue


class Pausing:
    """Of one route. Whoever has paused for PAUSE_MAX_S goes on for as long, whatever waits: the peer must
    not lose its patience, and a large message is to arrive, too."""

    __slots__ = ("_route", "_since", "paused")

    def __init__(self, route: "RouteQueue") -> None:
        self._route = route
        self.paused: dict[Future[None], Lane] = {}
        self._since: dict[Lane, float] = {}  # when a lane has begun to stand aside

    def pause(self, lane: Lane) -> "Future[None] | None":
        """See delivery.agent.Work."""
        if not any(transaction.is_large for transaction in lane.taken) or not self._is_meant():
            return None
        scheduler = self._route.scheduler
        now = scheduler.clock.monotonic()
        since = self._since.get(lane)
        if since is None or now >= since + 2 * PAUSE_MAX_S:
            since = self._since[lane] = now
        left = since + PAUSE_MAX_S - now
        if left <= 0:
            return None
        future: Future[None] = scheduler.loop.create_future()
        self.paused[future] = lane
        scheduler.thin_line.paused[self._route] = None
        future.add_done_callback(self._ended)
        scheduler.loop.call_later(left, self._resolve, future)
        return future

    def _is_meant(self) -> bool:
        """Whether smaller mail is under way, or about to be, on a connection that carries none but it."""
        route = self._route
        if not route.gate.is_narrow or not route.is_open:
            return False
        if route.gate.is_thin and route.scheduler.thin_line.stands_aside(but=route):
            return True
        others = [lane for lane in route.lanes if not any(each.is_large for each in lane.taken)]
        return bool(others) and (bool(route.ready.small_count()) or any(lane.taken for lane in others))

    def look(self) -> None:
        """Smaller mail has ended, or a connection: perhaps all of it."""
        if self.paused and not self._is_meant():
            for future in list(self.paused):
                self._resolve(future)

    def _resolve(self, future: "Future[None]") -> None:
        if not future.done():
            future.set_result(None)

    def _ended(self, future: "Future[None]") -> None:
        self.paused.pop(future, None)
        if not self.paused:
            self._route.scheduler.thin_line.paused.pop(self._route, None)

    def forget(self, lane: Lane) -> None:
        """Its connection is gone."""
        self._since.pop(lane, None)
