"""What waits for the Internet in one worker (queue.internet): counts, and the first messages for a plan.

The counts are exact, and so they cost as much as waits: 150 ms for 100,000 messages. Who looks on every few
seconds must not keep the disk busy with it: what was dear is told again for ten times as long as it took."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from cmail.mail.queue_id import print_queue_id
from cmail.net.control import Fields
from cmail.policy.orders import Orders
from cmail.policy.routing import is_internet
from cmail.queue.scheduler import Scheduler
from cmail.storage.spool import FIRST, QueuedMessage, Wanted, place_of

LISTED_MAX: Final = 100  # of what waits, for a plan
ROUTES_LISTED_MAX: Final = 50
PAGES_MAX: Final = 10  # that are read for a list, where there is much that its senders hold
CHEAP_S: Final = 0.02  # what took no longer is asked for each time
TOLD_AGAIN: Final = 10.0  # times as long as it took
_LISTED_OCTETS: Final = 2**21  # of content that is read along
_FAR_MS: Final = 1 << 60
_SUMS: Final = ("messages", "octets", "urgent", "admitted_messages", "admitted_octets")


class WorkerWaiting:
    """Of all shards of a worker."""

    def __init__(self, schedulers: Callable[[], Sequence[Scheduler]]) -> None:
        self._schedulers = schedulers
        self._known: dict[int, tuple[float, list[Orders], Fields]] = {}  # by the number of messages listed
        self._asking = asyncio.Lock()  # who asks meanwhile gets the same answer

    async def answer(self, request: Fields) -> Fields:
        """What waits on routes that need the link; with `limit`, the first of it in order of sending. With
        `is_fresh` as it is now, whatever that costs."""
        limit = min(LISTED_MAX, int(request.get("limit") or 0))
        async with self._asking:
            loop, orders = asyncio.get_running_loop(), [each.admission.orders for each in self._schedulers()]
            until, of_orders, known = self._known.get(limit, (0.0, [], {}))
            if known and loop.time() < until and of_orders == orders and not request.get("is_fresh"):
                return known
            begun = loop.time()
            found = await self._look(limit)
            took_s = loop.time() - begun
            until = loop.time() + took_s * TOLD_AGAIN if took_s > CHEAP_S else 0.0
            self._known[limit] = until, orders, found
            return found

    async def _look(self, limit: int) -> Fields:
        found: Fields = {**dict.fromkeys(_SUMS, 0), "oldest_ms": 0}
        listed: list[Fields] = []
        for scheduler in self._schedulers():
            waits = await scheduler.spool.waits(_wanted(scheduler))
            needy = [each for each in waits if _waits_for_exchange(scheduler, each.route)]
            for each in needy:
                found["messages"] += each.messages_count
                found["octets"] += each.octets
                found["urgent"] += each.urgent_count
                found["admitted_messages"] += each.admitted_count
                found["admitted_octets"] += each.admitted_octets
                oldest = (found["oldest_ms"], each.oldest_arrived_ms)
                found["oldest_ms"] = min(filter(None, oldest), default=0)
            if limit:
                routes = [each.route for each in needy][:ROUTES_LISTED_MAX]
                listed += [row for route in routes for row in await _listed(scheduler, route, limit)]
        return {**found, "listed": listed}


def _wanted(scheduler: Scheduler) -> Wanted:
    """What may go. Off line nobody knows which link will be up, and a plan is wanted all the same: all but
    what never could."""
    if not scheduler.link_clock.is_down:
        return scheduler.admission.wanted
    ever = scheduler.admission.orders.size_ever
    return Wanted(0, ever, ever)


def _waits_for_exchange(scheduler: Scheduler, route: str) -> bool:
    """What needs the link; and with queue.batch also what goes through an upstream server on loopback."""
    return scheduler.router.needs_link(route) or (scheduler.is_batched and is_internet(route))


async def _listed(scheduler: Scheduler, route: str, limit: int) -> list[Fields]:
    """The first of a route, due or not; but what its sender holds yet (RFC 4865) goes in no exchange."""
    wall_ms, wanted = scheduler.clock.wall_ms(), _wanted(scheduler)
    rows: list[Fields] = []
    after = FIRST
    for _ in range(PAGES_MAX):
        found = await scheduler.spool.due(route, _FAR_MS, after, limit, _LISTED_OCTETS, wanted)
        meant = [message for message in found if message.envelope.hold_until_ms <= wall_ms]
        rows += [_row(route, message) for message in meant]
        if len(meant) == len(found) or len(rows) >= limit:
            break
        after = place_of(found[-1])
    return rows[:limit]


def _row(route: str, message: QueuedMessage) -> Fields:
    return {
        "id": print_queue_id(message.queue_id),
        "from": message.envelope.reverse_path_text,
        "to": [str(queued.recipient.forward_path) for queued in message.recipients[:3]],
        "size": message.content.size_bytes,
        "priority": message.envelope.priority,
        "rank": message.recipients[0].rank,
        "route": route,
        "arrived_ms": message.arrived_wall_ms,
    }
