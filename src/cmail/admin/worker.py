"""What a worker answers about its part of the queue, built from its schedulers for its control server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from cmail.admin.queue import QUEUE_IDS_NAMED_MAX, QueueAnswers, RouteTrouble
from cmail.mail.dsn import Action
from cmail.mail.envelope import Notify
from cmail.mail.outcome import Delivered, Expanded, Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.queue_id import parse_queue_id
from cmail.mail.status import NOT_AUTHORIZED
from cmail.net.control import AnswerFunction, ControlError
from cmail.observe import maillog
from cmail.policy.orders import FREE
from cmail.queue.attempt import Tell, wants
from cmail.queue.report import needs_head, read_head
from cmail.queue.route_queue import KEY_BITS
from cmail.queue.scheduler import Scheduler
from cmail.storage.spool import (
    ALL,
    Change,
    Changed,
    QueuedMessage,
    QueuedRecipient,
    RecipientState,
    Settlement,
    Spool,
)
from cmail.storage.spool import (
    Final as Ended,
)
from cmail.world import Clock, LinkClock

Fields = dict[str, Any]
_RETURNED: Final = NOT_AUTHORIZED  # 5.7.1: somebody decided so


def queue_answers(
    schedulers: Callable[[], Sequence[Scheduler]],
    clock: Clock,
    link_clock: LinkClock,
    begin_exchange: Callable[[], Awaitable[str]] | None = None,
) -> dict[str, AnswerFunction]:
    """queue.list, show, change, flush, bounce, figures and recent, for a worker's control server.
    `schedulers` are those of its shards as of now: one may be adopted later."""

    def needs_link(route: str) -> bool:
        return any(s.router.needs_link(route) for s in schedulers()[:1])

    answers = QueueAnswers(
        lambda: [ShardDesk(scheduler) for scheduler in schedulers()],
        clock,
        link_clock,
        needs_link,
        is_batch=lambda: any(s.is_batched for s in schedulers()[:1]),
        orders=lambda: next((s.admission.orders for s in schedulers()), FREE),
        begin_exchange=begin_exchange,
    )
    return {**answers.functions(), "queue.recent": recent}


@dataclass(frozen=True, slots=True)
class ShardDesk:
    """One shard with its scheduler."""

    scheduler: Scheduler

    @property
    def spool(self) -> Spool:
        """The durable queue."""
        return self.scheduler.spool

    def change_times(self) -> Mapping[str, int]:
        """Now, on each route's clock."""
        return self.scheduler.change_times()

    def changed(self, change: Change, changed: Changed) -> None:
        """What the scheduler holds in memory follows."""
        is_named = len(changed.queue_ids) < QUEUE_IDS_NAMED_MAX
        self.scheduler.changed(change, changed.queue_ids if is_named else None)

    def trouble(self, route: str) -> RouteTrouble | None:
        """Why a next hop rests now."""
        found = self.scheduler.routes.get(route)
        if found is None or found.trouble is None or not (found.rest_until or found.unfound_count):
            return None
        rest_s = max(0.0, found.rest_until - self.scheduler.clock.monotonic())
        return RouteTrouble(found.trouble.reason, found.trouble.kind, int(rest_s * 1000))

    def under_way(self) -> Mapping[tuple[int, int], float]:
        """What is being sent, and for how many seconds."""
        return self.scheduler.under_way()

    async def let_go(self, queue_ids: Sequence[int] | None) -> tuple[int, int]:
        """These by themselves, or all: how many messages for the Internet can go, how many may not."""
        if queue_ids is not None:
            found = await self.scheduler.alone.let_go(queue_ids)
            return found.messages, found.kept
        is_down = self.scheduler.link_clock.is_down  # then nobody knows yet which link will be up
        waits = await self.spool.waits(ALL if is_down else self.scheduler.admission.wanted)
        needy = [each for each in waits if self.scheduler.router.needs_link(each.route)]
        admitted = sum(each.admitted_count for each in needy)
        return admitted, sum(each.messages_count for each in needy) - admitted

    async def bounce(self, message: QueuedMessage, positions: Sequence[int], reason: str) -> int:
        """Fail these recipients with a report to the sender, in one commit. Those that are being sent
        at this moment are left alone: how that ends is not ours to say."""
        scheduler, base = self.scheduler, message.queue_id << KEY_BITS
        path = message.content.path
        head = await asyncio.to_thread(read_head, path) if needs_head(message) else None
        scheduler.changed(Change.HOLD, [message.queue_id])  # out of memory, if it waits there
        meant = [
            queued
            for queued in message.recipients
            if queued.position in positions and base | queued.position not in scheduler.active
        ]
        if not meant:
            return 0
        keys = [base | queued.position for queued in meant]
        scheduler.active.update(keys)  # nobody starts an attempt while it is being recorded
        try:
            await scheduler.spool.settle(self._settlement(message, meant, reason, head))
        finally:
            for route in scheduler.reading:  # what it finds may be older than this
                route.reading.ghosts.update(keys)
            scheduler.active.difference_update(keys)
        if len(meant) == message.recipients_count:
            maillog.removed(message.queue_id)
        return len(meant)

    def _settlement(
        self, message: QueuedMessage, meant: Sequence[QueuedRecipient], reason: str, head: bytes | None
    ) -> Settlement:
        scheduler, outcome = self.scheduler, PermanentFailure(reason, _RETURNED)
        for queued in meant:
            scheduler.attempts.say(message, queued, outcome, 0.0, 0.0)
        tells = [Tell(Action.FAILED, q, outcome) for q in meant if wants(q, Notify.FAILURE)]
        return Settlement(
            message.queue_id,
            tuple(Ended(q.position, RecipientState.FAILED, reason) for q in meant),
            owed=scheduler.reports.owed(message, tells, scheduler.router, head) if tells else (),
            is_whole=len(meant) == message.recipients_count,
        )


async def recent(request: Fields) -> AsyncIterator[Fields]:
    """{id}: how the last attempts of a message ended, as far as this process remembers. A message
    that is delivered is gone from the queue; this is how `send-test` knows where it went."""
    try:
        queue_id = parse_queue_id(str(request.get("id", "")))
    except ValueError as error:
        raise ControlError(str(error), 64) from None
    found = [(to, outcome) for number, to, outcome in maillog.recent if number == queue_id]
    return _told(found)


async def _told(found: Sequence[tuple[object, Outcome]]) -> AsyncIterator[Fields]:
    for forward_path, outcome in found:
        yield {"to": str(forward_path), **_outcome(outcome)}


def _outcome(outcome: Outcome) -> Fields:
    match outcome:
        case Delivered():
            state = "delivered" if outcome.is_local else "relayed"
            return {"state": state, "relay": outcome.relay, "reply": outcome.reply}
        case Expanded():
            return {"state": "expanded", "targets": list(outcome.targets)}
        case TemporaryFailure():
            return {"state": "deferred", "relay": outcome.relay, "reply": outcome.reason}
        case PermanentFailure():
            return {"state": "failed", "relay": outcome.relay, "reply": outcome.reason}
        case _:
            assert_never(outcome)
