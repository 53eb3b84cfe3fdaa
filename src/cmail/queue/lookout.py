"""Lookout: when to look at the disk for which route; clocks that were set, disks that are full."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cmail.mail.outcome import NotNow
from cmail.policy import retry
from cmail.queue.deadlines import Deadlines
from cmail.queue.route_queue import RouteQueue
from cmail.queue.sweep import Sweep
from cmail.queue.wakeups import Wakeups
from cmail.queue.words import duration
from cmail.storage.spool import NewMessage, RouteSummary, SpoolError

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

ROUTES_LOOKED_AT_MAX: Final = 10_000  # at once, of those that wait; the others come up later
LOOK_EVERY_S: Final = 60.0  # the slow look at all routes, should a timer have been missed
SWEEP_EVERY_S: Final = 900.0  # nobody minds a notice a quarter of an hour later
AGAIN_AFTER_S: Final = 1.0  # when the disk could not be read, or is full
TIMER_MIN_S: Final = 0.001
TIMER_MAX_S: Final = 3600.0
MARGIN_MS: Final = 300_000  # a due time so far beyond the longest wait was written by a wrong clock
CLOCK_STEP_MS: Final = 30_000  # off by more than this: somebody has set the clock, or the machine slept
CLOCK_LOOK_S: Final = 5.0  # to see that; it costs a microsecond


class Lookout:
    """One timer for the earliest due time of all routes, and a slow look should one be missed."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._wakeups = Wakeups()
        self._timer: asyncio.TimerHandle | None = None
        self._slow_timer: asyncio.TimerHandle | None = None
        self._unblock_timer: asyncio.TimerHandle | None = None
        self._clock_timer: asyncio.TimerHandle | None = None
        self._drift_ms = 0
        self._sweep = Sweep(scheduler)
        self.deadlines = Deadlines(scheduler, self._sweep)
        self._swept_at = 0.0

    def start(self) -> None:
        """Look at what is there, then every minute."""
        self._drift_ms = self._drift()
        self._slow_timer = self._scheduler.loop.call_later(LOOK_EVERY_S, self._look_slowly)
        self._look_at_clock()
        self._scheduler.spawn(self._begin(), "scheduler begin")

    def stop(self) -> None:
        """Look no more."""
        for timer in (self._timer, self._slow_timer, self._unblock_timer, self._clock_timer):
            if timer is not None:
                timer.cancel()

    async def _begin(self) -> None:
        found = await self.summaries()
        self._scheduler.connections.doubt([summary.route for summary in found])
        self._look_at(found, is_clock_doubted=True)
        await self.deadlines.run()

    def wake_at(self, route: RouteQueue, due_ms: int) -> None:
        """Something of a route is due at a time of its clock."""
        if route.needs_link and self._scheduler.link_clock.is_down:
            return  # its clock stands still; at link-up everything is looked at
        wait_s = (due_ms - self._scheduler.attempts.now_ms(route.name)) / 1000
        self.arm(route.name, self._scheduler.clock.monotonic() + max(0.0, wait_s))

    def has_deadline(self, message: NewMessage) -> None:
        """A fresh message is to be delivered by a certain time."""
        if self.deadlines.add(message) and not self._scheduler.is_stopping:
            self._set_timer()

    def has_other_deadline(self) -> None:
        """An earlier one than was known."""
        if not self._scheduler.is_stopping:
            self._set_timer()

    def look_later(self, route: RouteQueue, why: str) -> None:
        """The disk could not be read: try again in a moment."""
        self._scheduler.log.warned(why)
        self.arm(route.name, self._scheduler.clock.monotonic() + AGAIN_AFTER_S)

    def arm(self, name: str, time: float) -> None:
        """Look at a route at this time (monotonic)."""
        if self._wakeups.at(name, time) and not self._scheduler.is_stopping:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        firsts = [at for at in (self._wakeups.first, self.deadlines.first) if at is not None]
        if not firsts:
            self._timer = None
            return
        first = min(firsts)
        wait_s = min(TIMER_MAX_S, max(TIMER_MIN_S, first - self._scheduler.clock.monotonic()))
        self._timer = self._scheduler.loop.call_later(wait_s, self.look)

    def look(self) -> None:
        """Look at the routes whose time has come, and at what is late. The timer calls it; a test may."""
        self.deadlines.look()
        now = self._scheduler.clock.monotonic()
        for name in self._wakeups.take(now):
            route = self._scheduler.route(name)
            if not route.rest_until:
                route.look_anew()
                route.refill()
            elif route.rest_until <= now:
                self._scheduler.connections.end_rest(route)
            else:
                self._wakeups.at(name, route.rest_until)
        self._set_timer()

    def came_to_end(self, route: RouteQueue) -> None:
        """All that is due on a route is in memory: when is the next?"""
        self._scheduler.spawn(self._peek(route), f"peek {route.name}")

    async def _peek(self, route: RouteQueue) -> None:
        # From where the read ended: what has become due since is not in memory.
        after_ms = min(route.reading.until_ms, self._scheduler.attempts.now_ms(route.name))
        try:
            found = await self._scheduler.spool.next_due(route.name, after_ms, route.reading.wanted())
        except SpoolError as error:
            self.look_later(route, f"when {route.name} is due next: {error}")
            return
        if found is not None:
            is_ours = found.hold_until_ms <= self._scheduler.clock.wall_ms()
            if is_ours and found.due_ms > self._horizon_ms(route):
                route.reading.look_beyond(self._horizon_ms(route))
                route.refill()
            else:
                self.wake_at(route, found.due_ms)
        self._scheduler.forget_if_idle(route)

    def _horizon_ms(self, route: RouteQueue) -> int:
        """A due time beyond it was written by a clock that was ahead: it counts as due now."""
        now_ms = self._scheduler.attempts.now_ms(route.name)
        return now_ms + retry.wait_max_ms(self._scheduler.settings) + MARGIN_MS

    def _look_at_clock(self) -> None:
        self._clock_timer = self._scheduler.loop.call_later(CLOCK_LOOK_S, self._look_at_clock)
        if abs(self._drift() - self._drift_ms) > CLOCK_STEP_MS:
            self._scheduler.spawn(self.look_at_all(), "the clock was set")

    def _drift(self) -> int:
        return self._scheduler.clock.wall_ms() - int(self._scheduler.clock.monotonic() * 1000)

    def _look_slowly(self) -> None:
        self._slow_timer = self._scheduler.loop.call_later(LOOK_EVERY_S, self._look_slowly)
        self._scheduler.spawn(self.look_at_all(), "slow look")
        self._scheduler.spawn(self.deadlines.run(), "deadlines")
        self._scheduler.admission.look_for_too_large()
        if self._scheduler.clock.monotonic() >= self._swept_at + SWEEP_EVERY_S:
            self._swept_at = self._scheduler.clock.monotonic()
            self._scheduler.spawn(self._sweep.run(), "sweep")

    async def sweep(self) -> None:
        """Expire and tell what rests on the disk. Done by itself every quarter of an hour."""
        await self._sweep.run()

    async def look_at_all(self) -> None:
        """See whether a route was missed, and whether somebody has set the clock. Then waits mean
        little, as when a laptop wakes up: all that may go now is tried, as at link-up."""
        step_ms, self._drift_ms = self._drift() - self._drift_ms, self._drift()
        is_set = abs(step_ms) > CLOCK_STEP_MS
        summaries = await self.summaries()
        self._look_at(summaries, is_clock_doubted=step_ms < -CLOCK_STEP_MS)
        if is_set:
            await self._end_waits(summaries, step_ms)
        waiting = {summary.route for summary in summaries}
        for route in list(self._scheduler.routes.values()):
            if not route.rest_until and route.name not in waiting:
                route.forgiven()  # nothing waits for it any more: its troubles are forgotten
                self._scheduler.forget_if_idle(route)

    async def _end_waits(self, summaries: Sequence[RouteSummary], step_ms: int) -> None:
        scheduler = self._scheduler
        how = "was set back" if step_ms < 0 else "was set forward, or we slept,"
        scheduler.log.noted(f"the clock {how} by {duration(abs(step_ms) / 1000)}: what waits is tried now")
        for summary in summaries:
            route = scheduler.route(summary.route)
            if route.needs_link and scheduler.link_clock.is_down:
                continue
            if route.rest_until:
                scheduler.connections.end_rest(route)
            await scheduler.connections.wake(summary.route, (NotNow.HOST, NotNow.MESSAGE))

    async def summaries(self) -> list[RouteSummary]:
        """The routes on which somebody waits, the earliest due first."""
        found = list(await self._scheduler.spool.routes())
        found.sort(key=lambda summary: summary.first_due_ms)
        return found[:ROUTES_LOOKED_AT_MAX]

    def _look_at(self, summaries: Sequence[RouteSummary], is_clock_doubted: bool) -> None:
        for summary in summaries:
            route = self._scheduler.route(summary.route)
            if route.rest_until or route.ready or route.reading.under_way is not None:
                continue  # it is at it, or will be
            if is_clock_doubted:
                route.reading.look_beyond(self._horizon_ms(route))
                route.refill()
            elif summary.first_due_ms <= self._scheduler.attempts.now_ms(route.name):
                route.look_anew()
                route.refill()
            else:
                self.wake_at(route, summary.first_due_ms)

    # The spool is full.

    def await_unblocking(self) -> None:
        """An outcome could not be recorded: start nothing until it is."""
        if self._unblock_timer is None and not self._scheduler.is_stopping:
            self._unblock_timer = self._scheduler.loop.call_later(AGAIN_AFTER_S, self._look_whether_unblocked)

    def _look_whether_unblocked(self) -> None:
        self._unblock_timer = None
        if self._scheduler.spool.is_blocked:
            self.await_unblocking()
            return
        for route in list(self._scheduler.routes.values()):
            route.pump()
