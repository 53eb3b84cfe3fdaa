"""Alone: messages that an operator has named go though no exchange is open; all others wait for one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cmail.mail.queue_id import QueueId
from cmail.queue.route_queue import KEY_BITS, RouteQueue
from cmail.storage.spool import QueuedMessage, QueueEntry, QueueFilter, RecipientState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cmail.queue.scheduler import Scheduler

MESSAGES_MAX: Final = 1000  # named at once; whoever means more means an exchange
PAGE: Final = 100  # messages read at once
RECIPIENTS_READ_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class LetGo:
    """What came of it, for mail that needs the link."""

    messages: int = 0  # that go now, or when the link is up
    kept: int = 0  # that the links that are up may not carry, or to somebody not


class Alone:
    """Each is tried once. It is remembered in memory only: after a restart it waits as the others do."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler

    async def let_go(self, ids: "Sequence[int]") -> LetGo:
        """Let these go. What the policy of the links that are up keeps is not among them."""
        entries = await self._waiting(ids)
        needy = [entry for entry in entries if self._scheduler.router.needs_link(entry.route)]
        let = [entry for entry in needy if self._admits(entry)]
        if not self._scheduler.admission.orders.is_exchange_open:
            self._open(let)
        kept = {entry.queue_id for entry in needy} - {entry.queue_id for entry in let}
        return LetGo(len({entry.queue_id for entry in let}), len(kept))

    def _open(self, entries: "Sequence[QueueEntry]") -> None:
        for name in {entry.route for entry in entries}:
            route = self._scheduler.route(name)
            route.gate.let_alone({entry.queue_id for entry in entries if entry.route == name})
            route.look_anew()
            route.refill()

    def _admits(self, entry: QueueEntry) -> bool:
        """Off line nobody knows yet which link will be up."""
        is_wanted = self._scheduler.admission.wanted.admits
        size, rank, was_too_large = entry.size_bytes, entry.rank, entry.was_too_large
        return self._scheduler.link_clock.is_down or is_wanted(size, rank, was_too_large)

    async def _waiting(self, ids: "Sequence[int]") -> list[QueueEntry]:
        if not ids:
            return []
        what = QueueFilter(ids=tuple(map(QueueId, ids)), states=(RecipientState.QUEUED,))
        return list(await self._scheduler.spool.select(what, RECIPIENTS_READ_MAX))

    async def read(self, route: RouteQueue) -> list[QueuedMessage]:
        """Those of a route that are not in memory, in place of what is due there. What does not wait any
        more, or not yet (RFC 4865), or may not go by the link that is up, is let alone no longer."""
        gate, wall_ms = route.gate, self._scheduler.clock.wall_ms()
        waiting = await self._waiting(sorted(gate.alone))
        entries = [entry for entry in waiting if entry.route == route.name and self._admits(entry)]
        for queue_id in gate.alone - {entry.queue_id for entry in entries}:
            gate.ended(queue_id)
        active = self._scheduler.active
        missing = [e for e in entries if (e.queue_id << KEY_BITS | e.position) not in active]
        found = []
        for queue_id in sorted({entry.queue_id for entry in missing})[:PAGE]:
            message = await self._scheduler.spool.message(queue_id)
            if message is None or message.envelope.hold_until_ms > wall_ms:
                gate.ended(queue_id)
                continue
            positions = {entry.position for entry in missing if entry.queue_id == queue_id}
            message.recipients = [q for q in message.recipients if q.position in positions]
            found.append(message)
        found.sort(key=lambda message: (message.recipients[0].rank, message.queue_id))
        return found
