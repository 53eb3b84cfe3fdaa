"""Opening: which connection of a route gets what is ready, and when further ones are opened."""

from asyncio import Future
from typing import TYPE_CHECKING, Final

from cmail.queue.lane import Lane

if TYPE_CHECKING:
    from cmail.queue.route_queue import RouteQueue

AT_ONCE: Final = 5  # what a connection is thought to carry at once, when further ones are opened
JUDGE_AFTER_S: Final = 0.001  # connections that were woken have taken what they can by then


class Opening:
    """Of one route. Who idles is woken first; a moment later it is seen whether that was enough."""

    __slots__ = ("_is_judging", "_route", "_waiters", "count", "has_extra")

    def __init__(self, route: "RouteQueue") -> None:
        self._route = route
        self._waiters: list[Future[None]] = []
        self._is_judging = False
        self.count = 0  # connections that have not taken anything yet
        self.has_extra = False  # one more than the limit, for small mail beside a large message

    def wait(self, lane: Lane) -> "Future[None]":
        """A future for a connection that has nothing to do; wake() resolves it."""
        route = self._route
        future = route.scheduler.loop.create_future()
        if not lane.is_spent:
            waiters = self._waiters
            if len(waiters) > 2 * len(route.lanes) + 8:
                self._waiters = waiters = [f for f in waiters if not f.done()][-len(route.lanes) - 1 :]
            waiters.append(future)
            if self._count_free():
                self._judge_soon()
        return future

    def pump(self) -> None:
        """Give what is ready to who idles, then see whether further connections are needed."""
        route = self._route
        if not route.ready or not route.is_open or not self._count_free():
            return
        if not self._wake(1) and not route.lanes:
            self._open(1)
        else:
            self._judge_soon()

    def wake_all(self) -> None:
        """Whoever idles is to see that nothing is left."""
        self._wake(len(self._waiters))

    def _judge_soon(self) -> None:
        if not self._is_judging and self._route.is_open:
            self._is_judging = True
            self._route.scheduler.loop.call_later(JUDGE_AFTER_S, self._judge)

    def _wake(self, count: int) -> int:
        woken = 0
        waiters = self._waiters
        while waiters and woken < count:
            future = waiters.pop()  # the last one that idled: the others may end
            if not future.done():
                future.set_result(None)
                woken += 1
        return woken

    def _judge(self) -> None:
        """A moment later: is there more than the connections took at once?"""
        self._is_judging = False
        route = self._route
        count = self._count_free()
        if not count or not route.is_open:
            return
        if self._wake(count):
            self.pump()
            return
        going = [lane for lane in route.lanes if not lane.is_cut]
        lanes = sum(not lane.is_spent or bool(lane.taken) for lane in going)  # the others only end yet
        scheduler = route.scheduler
        most, window = scheduler.connections_max(route.name), route.window.size
        is_one = route.is_site and scheduler.is_site_turned(route.name)  # there can be no other
        if route.large_count and route.ready.small_count() and not is_one:  # who carries it is no use to them
            most = max(2, most)
            if route.window.may_grow(scheduler.clock.monotonic()):
                window = max(window, route.large_count + 1)
        room = min(most - lanes, window - lanes, -(-count // AT_ONCE) - self.count)
        if room > 0:
            self.has_extra |= lanes + room > scheduler.connections_max(route.name)
            self._open(room)

    def is_one_too_many(self, lane: Lane) -> bool:
        """A connection was opened beside the only one, for small mail while that had a large message in
        hand; it has none any more."""
        route = self._route
        if route.large_count:
            return False
        going_on = sum(not other.is_spent for other in route.lanes)
        if going_on <= route.scheduler.connections_max(route.name):
            self.has_extra = False
            return False
        lane.is_spent = True
        return True

    def is_large_free(self) -> bool:
        """Whether a connection may have a large message."""
        route = self._route
        return route.large_count < route.gate.large_max and route.scheduler.thin_line.is_free(route)

    def _count_free(self) -> int:
        """How much of what is ready a connection may take."""
        route, ready = self._route, self._route.ready
        is_small = not (route.large_count or ready.is_large_first)
        if not ready or is_small or self.is_large_free():
            return len(ready)
        return ready.small_count()

    def _open(self, count: int) -> None:
        for _ in range(count):
            if not self.open_one():
                return

    def open_one(self) -> bool:
        """One connection more; False: there are too many."""
        is_opened = self._route.scheduler.connections.open(self._route)
        self.count += is_opened
        return is_opened
