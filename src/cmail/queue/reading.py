"""Reading: what waits for one next hop comes from the disk to memory, in order, a piece at a time."""

from asyncio import Future
from typing import TYPE_CHECKING, Final

from cmail.storage.spool import FIRST, Place, QueuedMessage, Wanted, place_of

if TYPE_CHECKING:
    from cmail.queue.route_queue import RouteQueue

OCTETS_LEAST: Final = 64 * 1024  # too little room to read for, unless the route has nothing at all
FAR_MS: Final = 1 << 61  # later than every due time


class Reading:
    """The passes over the disk of one route. `has_more` of the route is True until a whole pass has found
    nothing that is not in memory."""

    __slots__ = (
        "_has_new",
        "_is_moved",
        "_limit",
        "_reserved",
        "_route",
        "cursor",
        "ghosts",
        "horizon_ms",
        "is_near_end",
        "under_way",
        "until_ms",
    )

    def __init__(self, route: "RouteQueue") -> None:
        self._route = route
        self.cursor: Place = FIRST
        self.is_near_end = False  # the last read came to the end: fresh messages may come to memory
        self.horizon_ms = 0  # not 0: this pass looks for due times that a wrong clock wrote
        self.under_way: Future[list[QueuedMessage]] | None = None
        self.until_ms = 0  # up to which due time the last read looked
        self.ghosts: set[int] = set()  # recorded while a read was under way, which may still show them
        self._has_new = False  # this pass has found something
        self._is_moved = False  # somebody else set the cursor while a read was under way
        self._limit = 0  # messages, of the last read
        self._reserved = 0  # octets, for the read that is under way

    def look_anew(self) -> None:
        """There may be something on the disk, anywhere."""
        self._route.has_more = True
        self.is_near_end = False
        self.horizon_ms = 0
        self._rewind()

    def look_beyond(self, horizon_ms: int) -> None:
        """There may be recipients whose due time was written by a clock that was ahead."""
        self.look_anew()
        self.horizon_ms = horizon_ms
        self._rewind()

    def _rewind(self) -> None:
        self.cursor = FIRST
        self._has_new = False
        self._is_moved = True

    def left_behind(self, place: Place) -> None:
        """Something of this place is on the disk and not in memory."""
        # A read that is under way may have begun before it: the pass has found something.
        self._route.has_more = self._has_new = True
        self.is_near_end = False
        if place <= self.cursor:
            self.cursor = (*place[:2], place[2] - 1)
            self._is_moved = True

    def found_new(self) -> None:
        """What was read was not in memory: one pass more."""
        self._has_new = True

    def is_behind(self) -> bool:
        """Whether there may be mail on the disk that goes before some that is in memory."""
        return self._route.has_more and self.cursor[0] < self._route.ready.last_rank

    def wanted(self, from_ms: int = 0) -> Wanted:
        """What may go now. What is held in a batch has the due time 0."""
        from_ms = max(from_ms, int(self._route.is_held))
        sizes = self._route.gate.sizes
        return Wanted(from_ms, sizes.size_max, sizes.urgent_size_max) if from_ms else sizes

    def refill(self) -> None:
        """Read what comes next, while what is in memory is being sent."""
        route = self._route
        if self.under_way is not None or not route.is_open:
            return
        scheduler = route.scheduler
        if route.gate.is_alone:
            self._begin(scheduler.loop.create_task(scheduler.alone.read(route)), 0, 0)
            return
        has_something = bool(route.ready) or any(lane.taken for lane in route.lanes)
        room = route.octets_left()
        if room < OCTETS_LEAST:
            if has_something and not (self.is_behind() and scheduler.has_reserve()):
                return  # what is settled makes room; then somebody comes here again
            if not scheduler.has_reserve():
                scheduler.wait_for_room(route)
                return
            room = OCTETS_LEAST
        now_ms = FAR_MS if self.horizon_ms else scheduler.attempts.now_ms(route.name)
        wanted = self.wanted(self.horizon_ms)
        self._limit = route.read_max
        read = scheduler.spool.due(route.name, now_ms, self.cursor, self._limit, room, wanted)
        self._begin(read, now_ms, room)

    def _begin(self, read: "Future[list[QueuedMessage]]", until_ms: int, room: int) -> None:
        scheduler = self._route.scheduler
        self._reserved = room
        scheduler.octets += room
        self._is_moved = False
        self.until_ms = until_ms
        self.under_way = read
        scheduler.reading.add(self._route)
        read.add_done_callback(self._filled)

    def _filled(self, read: "Future[list[QueuedMessage]]") -> None:
        route, scheduler = self._route, self._route.scheduler
        self.under_way = None
        scheduler.reading.discard(route)
        scheduler.octets -= self._reserved
        ghosts, self.ghosts = self.ghosts, set()
        if read.cancelled() or scheduler.is_stopping:
            return
        error = read.exception()
        if error is not None:
            scheduler.lookout.look_later(route, f"reading what waits for {route.name}: {error}")
            return
        messages = read.result()
        if not route.is_open:
            self.look_anew()  # when it opens again
            return
        if not messages and not self._is_moved:
            self._came_to_end()
            return
        if messages and not self._is_moved:
            self.cursor = place_of(messages[-1])
            self.is_near_end = len(messages) <= self._limit // 2
        for message in messages:
            route.admit(message, ghosts)
        route.pump()
        if len(route.ready) < route.refill_below or self.is_behind():
            self.refill()

    def _came_to_end(self) -> None:
        """The cursor has seen all. When it found something, look once more from the start: what was
        put off for a moment, or came late with a small id, must not be forgotten."""
        route = self._route
        if route.gate.is_alone:
            route.has_more = False  # an exchange has all of it looked at
            route.scheduler.forget_if_idle(route)
            return
        if self._has_new or self.horizon_ms:
            self.horizon_ms = 0
            self._rewind()
            self.is_near_end = True
            self.refill()
            return
        route.has_more = False
        if route.is_site:
            route.opening.wake_all()  # who has borrowed a connection gives it back now
        route.scheduler.lookout.came_to_end(route)
