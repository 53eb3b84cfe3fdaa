"""Deadlines: what is to happen when the time of a message is over that its sender set (RFC 2852).

Late mail rests on the disk as often as not, where no attempt comes across it: it is looked for. The time is
link-up time, so nothing becomes late while we are off line."""

import heapq
from typing import TYPE_CHECKING, Final

from cmail.mail.queue_id import QueueId
from cmail.queue.sweep import Sweep
from cmail.storage.spool import NewMessage, QueuedMessage

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

PAGE: Final = 100  # messages read at once
TIMES_MAX: Final = 10_000  # remembered; the others are found when these are over


class Deadlines:
    """When the next message is late, and what becomes of those that are."""

    def __init__(self, scheduler: "Scheduler", sweep: Sweep) -> None:
        self._scheduler = scheduler
        self._sweep = sweep
        self._times: list[int] = []  # link-up time, a heap
        self._is_running = False
        self._is_asked_again = False

    def add(self, message: NewMessage) -> bool:
        """A fresh message; True when the timer may have to be set anew."""
        deadline_ms = message.envelope.deliver_by_ms
        if not deadline_ms or len(self._times) >= TIMES_MAX:
            return False
        heapq.heappush(self._times, deadline_ms)
        return self._times[0] == deadline_ms

    @property
    def first(self) -> float | None:
        """When look() has something to do (monotonic), unless the link goes down."""
        clock = self._scheduler.link_clock
        if not self._times or clock.is_down:
            return None
        return self._scheduler.clock.monotonic() + max(0, self._times[0] - clock.link_ms()) / 1000

    def look(self) -> None:
        """See to what has become late."""
        now_ms = self._scheduler.link_clock.link_ms()
        if not self._times or self._times[0] > now_ms:
            return
        while self._times and self._times[0] <= now_ms:
            heapq.heappop(self._times)
        self._scheduler.spawn(self.run(), "deadlines")

    async def run(self) -> None:
        """See to all that is late; a run that is under way does it, once more for what it has passed."""
        self._is_asked_again = True
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._is_asked_again:
                self._is_asked_again = False
                await self._walk()
                await self._look_ahead()
        finally:
            self._is_running = False

    async def _look_ahead(self) -> None:
        """What came before we started, or was too much to remember, is seen to at its time, too."""
        link_ms = self._scheduler.link_clock.link_ms()
        deadline_ms = await self._scheduler.spool.next_deadline(link_ms)
        if deadline_ms and (not self._times or deadline_ms < self._times[0]):
            heapq.heappush(self._times, deadline_ms)
            self._scheduler.lookout.has_other_deadline()

    async def _walk(self) -> None:
        scheduler = self._scheduler
        after = QueueId(0)
        while not scheduler.is_stopping and not scheduler.spool.is_blocked:
            messages = await scheduler.spool.late(scheduler.link_clock.link_ms(), PAGE, after)
            if not messages:
                return
            for message in messages:
                await self._see_to(message)
            after = messages[-1].queue_id

    async def _see_to(self, message: QueuedMessage) -> None:
        """What is in memory and waits for its turn is left to the disk first; what is being sent is not
        touched: how that ends is soon known."""
        scheduler = self._scheduler
        ids = frozenset((int(message.queue_id),))
        names = {queued.route for queued in message.recipients}
        routes = [route for name in names if (route := scheduler.routes.get(name)) is not None]
        for route in routes:
            route.drop(ids)
        await self._sweep.see_to(message)
        for route in routes:
            if route.has_more:
                route.refill()
