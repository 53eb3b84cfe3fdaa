"""ThinLine: large messages to different hosts share one thin link: one goes at a time, in their order, and
stands aside for small mail whichever host that is for, and whichever worker has it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import Transaction
from cmail.policy.line_use import UNUSED, LineUse, Place
from cmail.queue.shared_line import OtherWorkers

if TYPE_CHECKING:
    from cmail.queue.route_queue import RouteQueue
    from cmail.queue.scheduler import Scheduler

TURN_MIN_S: Final = 60.0
TURN_TIMES: Final = (
    3  # the time that it takes at the rate of the link: then its host is slow, and others go beside it
)
OPENING_S: Final = 10.0  # so long what is being opened for small mail counts as small mail that is under way


@dataclass(frozen=True, slots=True)
class _Turn:
    place: Place
    until: float  # then others may go beside it


class ThinLine:
    """Of one shard. Nothing of it is asked while the link is fast."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._is_asked_again = False
        self._turns: dict[Transaction, _Turn] = {}  # of what is under way
        self.paused: dict[RouteQueue, None] = {}  # routes on which large content stands aside
        self._others = OtherWorkers(scheduler.clock)

    def is_free(self, route: "RouteQueue") -> bool:
        """Whether a large message of a route may begin."""
        if not (route.needs_link and self._is_thin):
            return True
        if self._turn() is not None:
            return False
        return not self._is_before(route) and self._others.let_begin(_place(route))

    @property
    def _is_thin(self) -> bool:
        return self._scheduler.admission.orders.is_thin

    def _turn(self) -> Place | None:
        """Of what has its turn; None: others may begin."""
        now = self._scheduler.clock.monotonic()
        return min((turn.place for turn in self._turns.values() if turn.until > now), default=None)

    # With other workers.

    def share(self, tell: Callable[[], None]) -> None:
        """Other workers use the line too. `tell`: what this one has on it has changed, or they are to be
        asked; then comes use(), and soon hear()."""
        self._others.tell = tell

    def used(self, route: "RouteQueue") -> None:
        """What a route has on the line has changed."""
        tell = self._others.tell
        if tell is not None and route.gate.is_thin:
            tell()

    def use(self) -> LineUse:
        """What this shard has on the line."""
        if not self._is_thin:
            return UNUSED
        waits = min((_place(route) for route in self._waiting()), default=None)
        return LineUse(self._has_small(), self._turn(), waits)

    def hear(self, others: LineUse) -> None:
        """What other workers have on it."""
        self._others.hear(others)
        self.look()
        self._next()

    # Here.

    def stands_aside(self, but: "RouteQueue") -> bool:
        """Whether the large message under way on a route lets others go before it: small mail to another
        host, or what another worker has."""
        return self._others.go_before(self._turn()) or self._has_small(but)

    def _is_before(self, route: "RouteQueue") -> bool:
        """Whether another route has one that goes first, and can take it, or will in a moment."""
        mine = _place(route)
        if not any(other is not route and _place(other) < mine for other in self._waiting()):
            return False
        if not self._is_asked_again:  # nothing may ever come of that one
            self._is_asked_again = True
            self._scheduler.loop.call_later(OPENING_S, self._ask_again)
        return True

    def _waiting(self) -> "Iterator[RouteQueue]":
        since = self._scheduler.clock.monotonic() - OPENING_S
        for route in self._scheduler.routes.values():
            if route.needs_link and route.is_open and route.ready.is_large_first and not route.large_count:
                if all(lane.taken_count or lane.opened_at > since for lane in route.lanes):
                    yield route

    def _ask_again(self) -> None:
        self._is_asked_again = False
        self._next()

    def begin(self, route: "RouteQueue", transaction: Transaction) -> None:
        """A connection has a large message in hand."""
        scheduler = self._scheduler
        if not (route.needs_link and self._is_thin):
            return
        takes_s = transaction.message.content.size_bytes / (scheduler.admission.orders.rate * 125)
        turn_s = max(TURN_MIN_S, TURN_TIMES * takes_s)
        place = transaction.recipients[0].rank, transaction.message.queue_id
        self._turns[transaction] = _Turn(place, scheduler.clock.monotonic() + turn_s)
        scheduler.loop.call_later(turn_s, self._next)
        self.used(route)

    def end(self, transaction: Transaction) -> None:
        """It has gone, or is to be tried again."""
        if self._turns.pop(transaction, None) is not None:
            self._next()

    def _next(self) -> None:
        """The most urgent of those that wait for their turn goes first."""
        for route in sorted(self._waiting(), key=_place):
            route.pump()

    def _has_small(self, but: "RouteQueue | None" = None) -> bool:
        return any(
            route is not but and route.needs_link and route.lanes and self._is_small(route)
            for route in self._scheduler.routes.values()
        )

    def _is_small(self, route: "RouteQueue") -> bool:
        since = self._scheduler.clock.monotonic() - OPENING_S
        has_ready = bool(route.ready.small_count()) and route.is_open
        return any(
            not any(each.is_large for each in lane.taken)
            and (lane.taken or (has_ready and not lane.taken_count and lane.opened_at > since))
            for lane in route.lanes
        )

    def look(self) -> None:
        """Small mail has ended, or a connection: perhaps all of it."""
        for route in list(self.paused):
            route.pausing.look()


def _place(route: "RouteQueue") -> Place:
    """Of the large message that a route would send first."""
    first = route.ready.first
    return (first.recipients[0].rank, first.message.queue_id) if first is not None else (0, 0)
