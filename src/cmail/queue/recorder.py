"""Recorder: how attempts end becomes durable, in order, with all that it owes."""

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import Transaction
from cmail.mail.outcome import Delivered, Expanded, NotNow, Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.queue_id import QueueId
from cmail.queue.attempt import Conclusion
from cmail.queue.lane import Lane
from cmail.queue.report import needs_head, read_head
from cmail.queue.route_queue import KEY_BITS, RouteQueue
from cmail.storage.spool import QueuedMessage, QueuedRecipient, QueueFilter, Settlement

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

AGAIN_AFTER_S: Final = 1.0  # when an outcome could not be recorded
_Failure: Final = TemporaryFailure | PermanentFailure
GONE_KEPT: Final = 100  # messages of which it was said lately that they are gone


class Recorder:
    """Outcomes on their way to the disk. A recipient stays active until its outcome is recorded."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._recording: deque[tuple[Future[None], RouteQueue, Transaction, Settlement]] = deque()
        self._is_watched = False  # the last of _recording tells us
        self._gone: deque[int] = deque(maxlen=GONE_KEPT)

    def conclude(
        self,
        route: RouteQueue,
        lane: Lane | None,
        transaction: Transaction,
        outcomes: Mapping[int, Outcome],
        setup_s: float = 0.0,
        sending_s: float = 0.0,
        host_wait_ms: int | None = None,
    ) -> bool:
        """Record how a transaction ended; whether something of it was delivered."""
        if lane is not None and self._is_doubtful(route, lane, outcomes):
            later = self._conclude_if_on_line(route, lane, transaction, outcomes, setup_s, sending_s)
            self._scheduler.spawn(later, "what a stranger refused")
            return False
        return self._conclude(route, lane, transaction, outcomes, setup_s, sending_s, host_wait_ms)

    def _is_doubtful(self, route: RouteQueue, lane: Lane, outcomes: Mapping[int, Outcome]) -> bool:
        """Whether it may be a log-in page that refuses: nobody who answers there has taken mail yet."""
        if lane.has_delivered or not route.needs_link:
            return False
        is_delivered = any(isinstance(each, Delivered | Expanded) for each in outcomes.values())
        relays = {each.relay for each in outcomes.values()}
        return not is_delivered and any(self._scheduler.is_stranger(relay) for relay in relays)

    async def _conclude_if_on_line(
        self,
        route: RouteQueue,
        lane: Lane,
        transaction: Transaction,
        outcomes: Mapping[int, Outcome],
        setup_s: float,
        sending_s: float,
    ) -> None:
        if not await self._scheduler.is_on_line():
            reason = next((each.reason for each in outcomes.values() if isinstance(each, _Failure)), "")
            nothing = TemporaryFailure(f"off line, but somebody said: {reason}", NotNow.OFFLINE)
            outcomes = dict.fromkeys(outcomes, nothing)
        self._conclude(route, lane, transaction, outcomes, setup_s, sending_s, None)

    def _conclude(
        self,
        route: RouteQueue,
        lane: Lane | None,
        transaction: Transaction,
        outcomes: Mapping[int, Outcome],
        setup_s: float,
        sending_s: float,
        host_wait_ms: int | None,
    ) -> bool:
        if host_wait_ms is None:
            host_wait_ms = 0 if self._is_proved(route, lane) else self._wait_after_failure_ms(route)
        message = transaction.message
        end = self._scheduler.attempts.conclude(
            message,
            transaction.recipients,
            outcomes,
            setup_s=setup_s,
            sending_s=sending_s,
            host_wait_ms=host_wait_ms,
        )
        self.finish(route, transaction, end)
        if end.untried:
            offline = outcomes[end.untried[0].position]
            assert isinstance(offline, TemporaryFailure)
            self._scheduler.connections.rest_offline(route, offline)
        return end.delivered_count > 0

    def _is_proved(self, route: RouteQueue, lane: Lane | None) -> bool:
        """Whether the next hop works, so that HOST trouble is one message's own. Else a message at
        which a peer hangs up would be woken and tried again without end."""
        return bool(lane is not None and lane.has_delivered) or any(
            other.has_delivered for other in route.lanes
        )

    def _wait_after_failure_ms(self, route: RouteQueue) -> int:
        if route.rest_until:
            return max(1000, int(self._scheduler.connections.rest_s(route) * 1000))
        return self._scheduler.connections.host_wait_ms(route, route.failures + 1)

    def adopt(self, route: RouteQueue, transaction: Transaction, end: Conclusion) -> None:
        """Record a conclusion about recipients that no connection had: active until it is recorded."""
        base = transaction.message.queue_id << KEY_BITS
        self._scheduler.active.update([base | queued.position for queued in transaction.recipients])
        size = len(transaction.message.content.octets)
        route.octets += size
        self._scheduler.octets += size
        self.finish(route, transaction, end)

    def finish(self, route: RouteQueue, transaction: Transaction, end: Conclusion) -> None:
        """Have a conclusion recorded with all that it owes."""
        message = transaction.message
        if end.untried and not (end.finals or end.deferrals):
            route.forget(transaction)
            return
        if end.tells and needs_head(message) and message.envelope.reverse_path is not None:
            self._scheduler.spawn(self._finish_later(route, transaction, end), "report")
            return
        self._finish(route, transaction, end, None)

    async def _finish_later(self, route: RouteQueue, transaction: Transaction, end: Conclusion) -> None:
        head = await asyncio.to_thread(read_head, transaction.message.content.path)
        self._finish(route, transaction, end, head)

    def _finish(
        self, route: RouteQueue, transaction: Transaction, end: Conclusion, head: bytes | None
    ) -> None:
        message = transaction.message
        scheduler = self._scheduler
        owed = scheduler.reports.owed(message, end.tells, scheduler.router, head) if end.tells else ()
        message.recipients_count += len(end.added) - len(end.finals)
        settlement = Settlement(
            message.queue_id,
            tuple(end.finals),
            tuple(end.deferrals),
            tuple(end.added),
            owed,
            is_whole=not message.recipients_count,
        )
        self.record(route, transaction, settlement)
        route.owes_wake |= any(deferral.kind is NotNow.HOST for deferral in end.deferrals)

    def _is_in_memory(self, message: QueuedMessage) -> bool:
        """Whether anybody of this copy is; if not, the others may have ended on other routes."""
        base = message.queue_id << KEY_BITS
        return any(base | queued.position in self._scheduler.active for queued in message.recipients)

    async def _see_whether_removed(self, queue_id: QueueId) -> None:
        """Only the spool knows whether another route has ended the rest of the message."""
        found = await self._scheduler.spool.select(QueueFilter(ids=(queue_id,)), 1)
        if not found and queue_id not in self._gone:
            self._gone.append(queue_id)  # two routes that end together ask both
            self._scheduler.log.removed(queue_id)

    def record(self, route: RouteQueue, transaction: Transaction, settlement: Settlement) -> None:
        """Have it made durable; until then its recipients stay active."""
        route.recording_count += 1
        future = self._scheduler.spool.settle(settlement)
        self._recording.append((future, route, transaction, settlement))
        if not self._is_watched:
            self._is_watched = True
            future.add_done_callback(self._recorded)

    def _recorded(self, _: "Future[None]") -> None:
        """A commit is done. Settlements are recorded in order, many at a time: one callback does all."""
        recording = self._recording
        try:
            while recording and recording[0][0].done():
                self._is_recorded(*recording.popleft())
        finally:
            self._is_watched = bool(recording)
            if recording:
                recording[0][0].add_done_callback(self._recorded)
        self._scheduler.serve_thirsty()

    def _is_recorded(
        self,
        future: "Future[None]",
        route: RouteQueue,
        transaction: Transaction,
        settlement: Settlement,
    ) -> None:
        route.recording_count -= 1
        if future.cancelled() or future.exception() is not None:
            self._record_again(route, transaction, settlement, future)
            return
        route.release(transaction)
        self.deactivate(transaction)
        if settlement.deferrals:  # only now: a look before this would have passed over it
            self._scheduler.lookout.wake_at(route, min(each.due_ms for each in settlement.deferrals))
        if settlement.is_whole:
            self._scheduler.log.removed(settlement.queue_id)
        elif settlement.finals and not self._is_in_memory(transaction.message):
            self._scheduler.spawn(self._see_whether_removed(settlement.queue_id), "removed?")
        if route.gate.alone and not self._is_in_memory(transaction.message):
            route.gate.ended(settlement.queue_id)
        if settlement.added:
            self._adopt(settlement.added)
        if route.has_more and not route.ready and route.reading.under_way is None:
            route.refill()
        if not route.lanes:
            self._scheduler.forget_if_idle(route)

    def _record_again(
        self,
        route: RouteQueue,
        transaction: Transaction,
        settlement: Settlement,
        future: "Future[None]",
    ) -> None:
        """The outcome stays in memory until it is recorded: it is not to be tried again."""
        why = "cancelled" if future.cancelled() else future.exception()
        self._scheduler.log.warned(f"an outcome could not be recorded, trying again: {why}")
        if not self._scheduler.is_stopping:
            self._scheduler.loop.call_later(AGAIN_AFTER_S, self.record, route, transaction, settlement)

    def deactivate(self, transaction: Transaction) -> None:
        """Its recipients are not in memory any more."""
        base = transaction.message.queue_id << KEY_BITS
        keys = [base | queued.position for queued in transaction.recipients]
        self._scheduler.active.difference_update(keys)
        for route in self._scheduler.reading:  # what it finds may be older than this
            route.reading.ghosts.update(keys)

    def _adopt(self, added: Sequence[QueuedRecipient]) -> None:
        """Alias targets are durable: the routes of theirs have something on the disk."""
        for name in {queued.route for queued in added}:
            route = self._scheduler.route(name)
            if not route.is_held:
                route.look_anew()
                route.refill()

    async def stop(self, timeout: float) -> None:
        """Wait for what is on its way."""
        pending = [entry[0] for entry in self._recording if not entry[0].done()]
        if pending:
            await asyncio.wait(pending, timeout=timeout)
