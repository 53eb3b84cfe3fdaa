"""Sweep: expiry and delay notices for messages that rest on the disk, which no attempt comes across."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import Transaction
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.queue_id import QueueId
from cmail.queue.admission import kept_words
from cmail.queue.attempt import Conclusion
from cmail.queue.route_queue import KEY_BITS, RouteQueue
from cmail.storage.spool import (
    HOLD_WORDS,
    QueuedMessage,
    QueuedRecipient,
    QueueEntry,
    QueueFilter,
    RecipientState,
)

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

PAGE: Final = 100  # messages read at once
TOLD_MAX: Final = 1000  # remembered; a look reads a page, and sees to it at once
RECIPIENTS_READ_MAX: Final = 10_000  # of one message; more than it can have


class Sweep:
    """Walks over all that is old enough to be told of or given up."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._is_running = False
        self._told: dict[int, None] = {}  # who was told of a delay lately: a look may have read it before

    async def run(self) -> None:
        """One walk; another one that is still under way does it as well."""
        if self._is_running:
            return
        self._is_running = True
        try:
            await self._walk()
        finally:
            self._is_running = False

    async def _walk(self) -> None:
        scheduler = self._scheduler
        settings = scheduler.settings
        least_s = min(
            t.total_seconds() for t in (settings.delay_notice or settings.lifetime, settings.lifetime)
        )
        before_ms = scheduler.clock.wall_ms() - int(least_s * 1000) + 1
        after = QueueId(0)
        while not scheduler.is_stopping and not scheduler.spool.is_blocked:
            messages = await scheduler.spool.old(before_ms, PAGE, after)
            if not messages:
                return
            for message in messages:
                await self.see_to(message)
            after = messages[-1].queue_id

    async def see_to(self, message: QueuedMessage) -> None:
        """Expire or tell: one commit a message and route."""
        base = message.queue_id << KEY_BITS
        meant = [
            queued
            for queued in message.recipients
            if (base | queued.position) not in self._scheduler.active and self._is_due(message, queued)
        ]
        if not meant:
            return
        what = QueueFilter(ids=(message.queue_id,), states=(RecipientState.QUEUED,))
        found = await self._scheduler.spool.select(what, RECIPIENTS_READ_MAX)
        entries = {entry.position: entry for entry in found}
        for name in {queued.route for queued in meant}:
            some = [
                q
                for q in meant
                if q.route == name
                and q.position in entries
                and entries[q.position].due_ms == q.due_ms
                and (base | q.position) not in self._scheduler.active
            ]
            if some:
                self._end(message, some, entries)

    def _is_due(self, message: QueuedMessage, queued: QueuedRecipient) -> bool:
        if self._is_offline(queued) or self._is_kept(message, queued):
            return False
        attempts, tried = self._scheduler.attempts, self._as_tried(message, queued)
        is_told = queued.is_delay_told or (message.queue_id << KEY_BITS | queued.position) in self._told
        if not self._scheduler.is_site_open(queued.route):
            return attempts.must_return(message) or (attempts.is_late(message) and not is_told)
        return attempts.has_expired(message, tried) or (not is_told and attempts.is_delay_due(message, tried))

    def _as_tried(self, message: QueuedMessage, queued: QueuedRecipient) -> QueuedRecipient:
        """That its next hop has failed since it came counts as one try of its own: it was not its
        turn among many, and might never be. So does that the DNS does not find the host of the settings,
        and each link-up period (visit of a site) in which that was so is one in which it had its chance."""
        route = self._scheduler.routes.get(queued.route)
        if route is None or not (route.failures or route.unfound_count):
            return queued
        since_ms = message.arrived_wall_ms
        chances = sum(
            wall_ms > since_ms and (route.is_site or period != queued.last_period)
            for period, wall_ms in route.unfound
        )
        attempts = queued.attempts or int(route.trouble_wall_ms > since_ms)
        return replace(queued, attempts=attempts, periods=queued.periods + chances)

    def _is_kept(self, message: QueuedMessage, queued: QueuedRecipient) -> bool:
        """Nor while the orders of the link keep it; but its sender may have said by when (RFC 2852)."""
        scheduler = self._scheduler
        if not scheduler.router.needs_link(queued.route) or scheduler.admission.admits(message, queued):
            return False
        return not message.envelope.deliver_by_ms or scheduler.attempts.left_ms(message) > 0

    def _is_offline(self, queued: QueuedRecipient) -> bool:
        """While we are off line nobody is given up or told; nor while a site is away, but at a time that its
        sender has set (RFC 2852)."""
        scheduler = self._scheduler
        route = scheduler.routes.get(queued.route)
        has_seen = route is not None and route.trouble is not None and route.trouble.kind is NotNow.OFFLINE
        return has_seen or (scheduler.router.needs_link(queued.route) and scheduler.link_clock.is_down)

    def _end(
        self, message: QueuedMessage, recipients: list[QueuedRecipient], entries: dict[int, QueueEntry]
    ) -> None:
        scheduler = self._scheduler
        route = scheduler.route(recipients[0].route)
        attempts, end = scheduler.attempts, Conclusion()
        for queued in recipients:
            last = self._last(route, entries[queued.position])
            tried = self._as_tried(message, queued)
            is_away = not scheduler.is_site_open(queued.route)
            if attempts.must_return(message) or (attempts.has_expired(message, tried) and not is_away):
                attempts.expire(end, message, tried, last)
            else:
                attempts.put_off(end, message, tried, last, queued.due_ms, last.kind)
                self._note_told(message.queue_id << KEY_BITS | queued.position)
                kept = tried if route.failures else queued  # what the DNS does not find is no attempt
                end.deferrals[-1] = replace(
                    end.deferrals[-1],
                    attempts=kept.attempts,
                    periods=queued.periods,
                    reason=entries[queued.position].reason,  # what it waits for now is no end of an attempt
                )
        scheduler.recorder.adopt(route, Transaction(message, recipients), end)

    def _note_told(self, key: int) -> None:
        self._told[key] = None
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]

    def _last(self, route: RouteQueue, entry: QueueEntry) -> TemporaryFailure:
        """What went wrong last, as far as it was recorded."""
        if entry.reason and not entry.reason.startswith(HOLD_WORDS):
            return TemporaryFailure(entry.reason, NotNow(entry.kind or NotNow.MESSAGE))
        if route.trouble is not None:
            return route.trouble
        if not self._scheduler.is_site_open(route.name):
            return TemporaryFailure("The site has not come for its mail.")
        orders = self._scheduler.admission.orders
        kept = (
            kept_words(orders, entry.size_bytes, entry.rank, entry.was_too_large) if route.needs_link else ""
        )
        if kept or self._scheduler.is_batch_held(route.name, entry.due_ms):
            return TemporaryFailure(kept or "It waits for the next exchange.")
        return TemporaryFailure("it was not its turn")
