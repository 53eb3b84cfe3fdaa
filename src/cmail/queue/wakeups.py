"""Wakeups: when to look at which route again; one timer serves them all."""

import heapq
from typing import Final

ROUTES_MAX: Final = 20_000  # remembered; the rest is found by the slow look at the spool


class Wakeups:
    """The earliest time (monotonic seconds) at which something of a route may be due."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # may hold times that are not the route's any more

    def at(self, route: str, time: float) -> bool:
        """Look at the route then, or earlier; True when the timer may have to be set anew."""
        known = self._times.get(route)
        if (known is not None and known <= time) or (known is None and len(self._times) >= ROUTES_MAX):
            return False
        self._times[route] = time
        heapq.heappush(self._heap, (time, route))
        return self._heap[0][0] == time

    def take(self, now: float) -> list[str]:
        """The routes whose time has come; they are forgotten."""
        routes = []
        while self._heap and self._heap[0][0] <= now:
            time, route = heapq.heappop(self._heap)
            if self._times.get(route) == time:
                del self._times[route]
                routes.append(route)
        return routes

    def forget(self, route: str) -> None:
        """Nothing waits on the route, or it is looked at now."""
        self._times.pop(route, None)

    @property
    def first(self) -> float | None:
        """When take() has something, at the latest."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
