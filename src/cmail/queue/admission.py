"""Admission: what the orders of the link let go; what can never go is held, with words, once."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.policy.heard import Heard
from cmail.policy.order import deadline_of, priority_of
from cmail.policy.orders import NO_LIMIT, Orders
from cmail.queue.route_queue import KEY_BITS
from cmail.queue.words import duration, size_words
from cmail.storage.spool import (
    CANNOT_FIT,
    QueuedMessage,
    QueuedRecipient,
    QueueEntry,
    QueueFilter,
    RecipientState,
    Wanted,
)
from cmail.world import LinkClock

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

PAGE: Final = 1000  # recipients that are held in one go


class LinkWithOrders(LinkClock, Protocol):
    """The link-up clock, and what may go over the link now (link.clock.LinkView)."""

    @property
    def orders(self) -> Orders:
        """What may go over it now."""
        ...


class Admission:
    """The orders that hold for one shard, and what follows when others do."""

    def __init__(self, scheduler: "Scheduler", link: LinkWithOrders) -> None:
        self._scheduler = scheduler
        self._link = link
        self.orders = link.orders
        self.heard = Heard(link.orders, link.link_ms())
        self.exchanges_count = 0  # that have begun since we started

    def know(self, before: Sequence[tuple[int, Orders]]) -> None:
        """Which orders held before we started."""
        self.heard = Heard(self.orders, self._link.link_ms(), before)

    @property
    def wanted(self) -> Wanted:
        """What may go, by its size."""
        orders = self.orders
        ever = orders.size_ever
        return Wanted(0, min(orders.size_max, ever), min(orders.urgent_size_max, ever))

    def admits(self, message: QueuedMessage, queued: QueuedRecipient) -> bool:
        """Whether the orders let it go, on a route that needs the link."""
        size = message.content.size_bytes
        return self.orders.is_exchange_open and self.wanted.admits(size, queued.rank, queued.was_too_large)

    def admits_entry(self, entry: QueueEntry) -> bool:
        """The same of an entry of the queue."""
        is_wanted = self.wanted.admits(entry.size_bytes, entry.rank, entry.was_too_large)
        return self.orders.is_exchange_open and is_wanted

    def admitted_ms(self, message: QueuedMessage) -> int:
        """How much link-up time it had in which it could have gone."""
        size, priority = message.content.size_bytes, message.envelope.priority
        since, now = message.arrived_link_ms, self._link.link_ms()
        return self.heard.admitted_ms(size, priority, since, now)

    @property
    def period(self) -> int:
        """The link-up period, or the exchange in it: attempts in ten of them are chances enough."""
        return self._link.periods + (self.exchanges_count << 32)

    def look(self) -> None:
        """Other orders may hold. What they do not let go any more leaves memory (what is being sent goes
        on); what they let go now is looked at; an exchange that opens starts all of it."""
        before, self.orders = self.orders, self._link.orders
        orders = self.orders
        if _never(orders) != _never(before):
            self.judge_held()
        if _limits(orders) == _limits(before) and orders.is_thin == before.is_thin:
            return
        self.heard.note(orders, self._link.link_ms())
        scheduler = self._scheduler
        for route in list(scheduler.routes.values()):
            if route.needs_link:
                route.gate.judge()
                route.drop_unwanted()
        if orders.is_exchange_open and not before.is_exchange_open:
            self.exchanges_count += 1
            scheduler.exchange()
        elif not self._link.is_down:
            scheduler.spawn(self._look_at_all(), "other orders")
        self.look_for_too_large()

    async def _look_at_all(self) -> None:
        scheduler = self._scheduler
        for summary in await scheduler.lookout.summaries():
            route = scheduler.route(summary.route)
            if route.needs_link and not route.rest_until:
                route.look_anew()
                route.refill()
                route.pump()
                scheduler.forget_if_idle(route)

    def is_kept(self, size_bytes: int, rank: int) -> None:
        """A message came that needs the link and does not go now. One that is urgent begins an exchange,
        when nothing but that stands in its way."""
        is_waiting = not (self.orders.is_exchange_open or self._link.is_down)
        if priority_of(rank) > 0 and is_waiting and self.wanted.admits(size_bytes, rank):
            self._scheduler.urgent_waits()

    # What can never go.

    def look_for_too_large(self) -> None:
        """Hold what is queued and can never go; when orders change and now and then. With a deadline it
        is not held before that (RFC 2852): its sender hears of it then, or has it back."""
        if self.orders.size_ever < NO_LIMIT:
            self._scheduler.spawn(self._hold_all(), "what can never go")

    def hold_fresh(self, message: QueuedMessage, recipients: Sequence[QueuedRecipient]) -> None:
        """A message came that can never go."""
        if self._is_awaited(recipients[0].rank):
            return
        positions = [queued.position for queued in recipients]
        self._scheduler.spawn(self._hold_one(message, positions), "hold what can never go")

    def _is_awaited(self, rank: int) -> bool:
        return deadline_of(rank) > self._link.link_ms()

    async def _hold_one(self, message: QueuedMessage, positions: Sequence[int]) -> None:
        await self._hold(message.queue_id, positions, message.content.size_bytes)

    def judge_held(self) -> None:
        """Other links, or other settings of theirs, may carry what was held because none could."""
        self._scheduler.spawn(self._judge_held(), "what could never go")

    async def _judge_held(self) -> None:
        scheduler, count, after = self._scheduler, 0, (0, -1)
        what = QueueFilter(states=(RecipientState.HELD,), reason=CANNOT_FIT)
        while found := await scheduler.spool.select(what, PAGE, after):
            after = found[-1].queue_id, found[-1].position
            for entry in found:
                if not self._is_held_as_ever(entry):
                    count += await scheduler.spool.ask_anew(entry.queue_id, (entry.position,))
        if count:
            self.look_for_too_large()  # what still cannot go is held again, with the words of now
            await self._look_at_all()

    def _is_held_as_ever(self, entry: QueueEntry) -> bool:
        """Whether it would be held now, and in the same words."""
        if not self._scheduler.router.needs_link(entry.route) or entry.size_bytes <= self.orders.size_ever:
            return False
        return entry.reason == cannot_fit(entry.size_bytes, self.orders)

    async def _hold_all(self) -> None:
        scheduler, size_ever = self._scheduler, self.orders.size_ever
        for summary in await scheduler.lookout.summaries():
            if not scheduler.router.needs_link(summary.route):
                continue
            is_more = True
            while is_more and not scheduler.is_stopping:
                found = await scheduler.spool.too_large(summary.route, size_ever, PAGE)
                held = await self._hold_some(found)
                is_more = len(found) == PAGE and held > 0

    async def _hold_some(self, found: Sequence[QueueEntry]) -> int:
        """But those that are being sent: how that ends comes first."""
        positions: dict[QueueId, list[int]] = defaultdict(list)
        sizes = {entry.queue_id: entry.size_bytes for entry in found}
        for entry in found:
            is_active = (entry.queue_id << KEY_BITS | entry.position) in self._scheduler.active
            if not (is_active or self._is_awaited(entry.rank)):
                positions[entry.queue_id].append(entry.position)
        return sum([await self._hold(name, some, sizes[name]) for name, some in positions.items()])

    async def _hold(self, queue_id: QueueId, positions: Sequence[int], size_bytes: int) -> int:
        words = cannot_fit(size_bytes, self.orders)
        count = await self._scheduler.spool.hold_too_large(queue_id, positions, words)
        if count:
            self._scheduler.log.noted(f"{print_queue_id(queue_id)}: held: {words}")
        return count


def _limits(orders: Orders) -> tuple[object, ...]:
    return orders.size_max, orders.urgent_size_max, orders.is_exchange_open, orders.size_ever


def _never(orders: Orders) -> tuple[object, ...]:
    return orders.size_ever, orders.ever_words


def cannot_fit(size_bytes: int, orders: Orders) -> str:
    """Why a message of this size is held: it can never go."""
    size = size_words(size_bytes)
    if not orders.rate or (orders.ever_words and "window" not in orders.ever_words):
        why = orders.ever_words or f"no link ever carries more than {size_words(orders.size_ever)}"
        return f"{CANNOT_FIT}it has {size}, and {why}"
    takes = duration(size_bytes * 8 / (orders.rate * 1000))
    longest = duration(orders.size_ever * 8 / (orders.rate * 1000))
    why = orders.ever_words or f"no window is longer than {longest}"
    return f"{CANNOT_FIT}{size} at {orders.rate} kbit/s takes {takes}, and {why}"


def kept_words(orders: Orders, size_bytes: int, rank: int, was_too_large: bool = False) -> str:
    """Why the orders keep a message, as a sentence; "" when they let it go."""
    is_urgent = priority_of(rank) > 0
    size_max = min(orders.urgent_size_max if is_urgent else orders.size_max, orders.size_ever)
    by = f"; {orders.words}" if orders.words else ""
    too_large = f"is larger than what may go over the links that are up ({size_words(size_max)}{by})"
    if not orders.is_exchange_open:
        is_small = was_too_large or size_max < 0 or size_bytes <= size_max  # below 0: perhaps until the next
        return f"It waits for the next exchange{'' if is_small else f', and {too_large}'}."
    if size_max < 0:
        if is_urgent or orders.urgent_size_max < 0:
            return f"The links that are up may carry no mail now{by}."
        return "Only urgent mail goes now."
    if was_too_large or size_bytes <= size_max:
        return ""
    return f"It {too_large}."
