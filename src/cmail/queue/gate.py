"""Gate: whether anything of a route may be taken now, and what by its size."""

from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import Transaction
from cmail.policy.order import MIDDLING_MAX, SMALL_MAX
from cmail.policy.orders import NO_LIMIT, NOTHING
from cmail.policy.routing import LOCAL
from cmail.storage.spool import ALL, Wanted

if TYPE_CHECKING:
    from cmail.queue.route_queue import RouteQueue

THIN_LARGE_S: Final = 3  # on a thin link what takes longer than that is large
LARGE_MAX_HERE: Final = 1 << 30  # large messages into mailboxes here at once: the disk carries them all
NOTHING_ELSE: Final = Wanted(0, NOTHING, NOTHING)


class Gate:
    """Of one route. What the judgement hangs on tells it when it changes; between, `is_open` of the route
    and the limits here are looked at for each message. While no exchange is open it is open for those in
    `alone` and for nothing else."""

    __slots__ = ("_route", "alone", "is_alone", "is_limited", "size_ever", "sizes")

    def __init__(self, route: "RouteQueue") -> None:
        self._route = route
        self.alone: set[int] = set()  # queue ids that an operator has named: queue/alone.py
        self.is_alone = False
        self.judge()

    def judge(self) -> None:
        """Whether anything may be taken now; called whenever what it depends on has changed."""
        route, scheduler = self._route, self._route.scheduler
        self._judge_orders()
        route.is_open = not (
            scheduler.is_stopping
            or route.rest_until
            or route.refusal is not None
            or (route.needs_link and (scheduler.link_clock.is_down or self._is_kept()))
            or (route.is_site and not scheduler.is_site_open(route.name))
        )

    def _judge_orders(self) -> None:
        route, admission = self._route, self._route.scheduler.admission
        self.is_alone = bool(self.alone) and route.needs_link and not admission.orders.is_exchange_open
        sizes = admission.wanted if route.needs_link else self._site_sizes()
        self.sizes = sizes = NOTHING_ELSE if self.is_alone else sizes
        self.is_limited = min(sizes.size_max, sizes.urgent_size_max) < NO_LIMIT
        self.size_ever = admission.orders.size_ever if route.needs_link else NO_LIMIT

    def _site_sizes(self) -> Wanted:
        """What a site takes without having asked for it by its name."""
        route = self._route
        largest = route.scheduler.site_largest(route.name) if route.is_site else 0
        return Wanted(0, largest, largest) if largest else ALL

    def _is_kept(self) -> bool:
        """Whether the orders let nothing go at all."""
        admission = self._route.scheduler.admission
        sizes = admission.wanted
        is_closed = not (admission.orders.is_exchange_open or self.alone)
        return is_closed or (sizes.size_max < 0 and sizes.urgent_size_max < 0)

    def let_alone(self, ids: set[int]) -> None:
        """These may go though no exchange is open."""
        self.alone |= ids
        self.judge()

    def ended(self, queue_id: int) -> None:
        """It has been tried, or waits no more."""
        self.alone.discard(queue_id)
        if not self.alone:
            self.judge()

    def admits(self, transaction: Transaction) -> bool:
        """Whether it may go, by its size or its name; asked only while `is_limited`."""
        if self.is_alone:
            return transaction.message.queue_id in self.alone
        queued = transaction.recipients[0]
        return self.sizes.admits(transaction.message.content.size_bytes, queued.rank, queued.was_too_large)

    @property
    def is_narrow(self) -> bool:
        """Whether large and small mail are in each other's way."""
        return self.is_thin or self._route.scheduler.connections_max(self._route.name) == 1

    @property
    def is_thin(self) -> bool:
        """Whether it goes by a thin link."""
        return self._route.needs_link and self._route.scheduler.admission.orders.is_thin

    @property
    def large_above(self) -> int:
        """What is larger holds up others, whatever its rank says: on a thin link what takes seconds."""
        route, orders = self._route, self._route.scheduler.admission.orders
        if not (route.needs_link and orders.is_thin):
            return NO_LIMIT
        return max(SMALL_MAX, min(MIDDLING_MAX, orders.rate * 125 * THIN_LARGE_S))

    @property
    def large_max(self) -> int:
        """How many large messages may be in hand: the last connection is for the others."""
        route, scheduler = self._route, self._route.scheduler
        if route.name == LOCAL:
            return LARGE_MAX_HERE
        if route.needs_link and scheduler.admission.orders.is_thin:
            return 1
        return max(1, scheduler.connections_max(route.name) - 1)
