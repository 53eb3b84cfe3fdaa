"""Lane: the Work of one connection; what it took, settled and put back."""

import asyncio
from asyncio import Future
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import IsThere, Transaction
from cmail.mail.envelope import Notify
from cmail.mail.outcome import Delivered, Outcome
from cmail.storage.spool import Final as Ended
from cmail.storage.spool import RecipientState, Settlement

if TYPE_CHECKING:
    from cmail.queue.route_queue import RouteQueue

_SUCCESS: Final = int(Notify.SUCCESS)
_DELIVERED: Final = RecipientState.DELIVERED
_FIRST_DELIVERED: Final = (Ended(0, _DELIVERED),)  # what nearly every settlement says


def _nothing() -> int:
    return 0


class Lane:
    """One connection's hold on its route. Whatever it takes is in `taken` until it is settled or put
    back, so nothing can get lost with a connection. These methods run for each message: plain."""

    __slots__ = (
        "acknowledged",
        "address",
        "has_delivered",
        "is_cut",
        "is_spent",
        "is_there",
        "opened_at",
        "route",
        "settled_count",
        "setup_s",
        "taken",
        "taken_count",
        "task",
    )

    def __init__(self, route: "RouteQueue", now: float) -> None:
        self.route = route
        self.taken: set[Transaction] = set()
        self.taken_count = 0
        self.settled_count = 0
        self.has_delivered = False
        self.is_spent = False  # it has had its turn while other routes wait for a connection
        self.is_cut = False  # the link went away under it: it awaits the replies that are out, nothing else
        self.opened_at = now
        self.address = ""  # our end of it
        self.acknowledged: Callable[[], int] = _nothing  # octets that the other end has
        self.is_there: IsThere | None = None  # asks whether the other end still answers
        self.setup_s = 0.0
        self.task: asyncio.Task[None] | None = None

    def take(self) -> Transaction | None:
        """The next transaction; None when nothing is ready or the route is closed."""
        transaction = self.route.next_transaction(self)
        if transaction is not None:
            self.taken.add(transaction)
            self.taken_count += 1
            if len(self.taken) == 1:
                self.route.scheduler.thin_line.used(self.route)
        return transaction

    def settle(self, transaction: Transaction, outcomes: Mapping[int, Outcome]) -> None:
        """How it ended, for each of its recipients."""
        self.taken.remove(transaction)
        self.settled_count += 1
        route = self.route
        scheduler = route.scheduler
        if transaction.is_large:
            route.large_ended(transaction)
        if not self.taken:
            scheduler.thin_line.used(route)
        if scheduler.thin_line.paused:
            scheduler.thin_line.look()
        now = scheduler.clock.monotonic()
        sending_s = now - transaction.started if transaction.started else 0.0
        setup_s, self.setup_s = self.setup_s, 0.0
        recipients = transaction.recipients
        if len(recipients) == 1:
            queued = recipients[0]
            outcome = outcomes[queued.position]
            is_quiet = transaction.by_s is None and not int(queued.recipient.notify) & _SUCCESS
            if is_quiet and type(outcome) is Delivered:
                message = transaction.message
                scheduler.attempts.say(message, queued, outcome, setup_s, sending_s)
                left = message.recipients_count = message.recipients_count - 1
                finals = _FIRST_DELIVERED if not queued.position else (Ended(queued.position, _DELIVERED),)
                settlement = Settlement(message.queue_id, finals, is_whole=not left)
                scheduler.recorder.record(route, transaction, settlement)
                if not self.has_delivered or route.owes_wake:
                    self._proved()
                return
        assert outcomes.keys() >= {q.position for q in recipients}, "every recipient ends exactly once"
        if scheduler.recorder.conclude(route, self, transaction, outcomes, setup_s, sending_s):
            self._proved()

    def _proved(self) -> None:
        is_first, self.has_delivered = not self.has_delivered, True
        self.route.works(is_first)

    def put_back(self, transaction: Transaction) -> None:
        """Nothing of it can have been accepted: another connection gets it, no attempt is counted."""
        self.taken.remove(transaction)
        if transaction.is_large:
            self.route.large_ended(transaction)
        self.route.put_back(transaction)
        self.route.scheduler.thin_line.used(self.route)
        self.route.scheduler.thin_line.look()

    def more(self) -> "Future[None]":
        """Resolves when take() may have something again."""
        return self.route.wait(self)

    def pause(self) -> "Future[None] | None":
        """A large content is to stand aside until this resolves; None: it goes on."""
        return self.route.pausing.pause(self)

    def goes_from(
        self, address: str, acknowledged: Callable[[], int] = _nothing, is_there: IsThere | None = None
    ) -> None:
        """Our end of the connection, how far it has come, and who asks the other end."""
        self.address, self.acknowledged, self.is_there = address, acknowledged, is_there
