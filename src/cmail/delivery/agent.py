"""DeliveryAgent: the contract of all agents; Transaction, Work and Ending are its words."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cmail.mail.outcome import Outcome, PermanentFailure, TemporaryFailure
from cmail.storage.spool import QueuedMessage, QueuedRecipient


@dataclass(slots=True, eq=False)
class Transaction:
    """One message to some of its recipients, all at one next hop (at most RECIPIENTS_PER_TRANSACTION)."""

    message: QueuedMessage
    recipients: list[QueuedRecipient]
    started: float = 0.0  # monotonic seconds when its first byte was sent; the agent writes it
    by_s: int | None = None  # what was left of its time when it was taken; None: it has no deadline
    is_large: bool = False  # it may hold up others (policy.order)


IsThere = Callable[[], Awaitable[bool]]


class Work(Protocol):
    """What waits for one next hop. The scheduler is it; a connection takes from it. Nothing blocks.

    Every transaction that was taken is settled or put back exactly once."""

    @property
    def has_delivered(self) -> bool:
        """Whether something of it was taken by the next hop."""
        ...

    def take(self) -> Transaction | None:
        """The next transaction; None when nothing is ready now (or the next hop is to rest)."""
        ...

    def settle(self, transaction: Transaction, outcomes: Mapping[int, Outcome]) -> None:
        """How it ended, by QueuedRecipient.position; every recipient of the transaction is in it."""
        ...

    def put_back(self, transaction: Transaction) -> None:
        """Nothing of it can have been accepted (e.g. the connection ended before it was sent):
        it goes to another connection, and no attempt is counted."""
        ...

    def more(self) -> Awaitable[None]:
        """Resolves when take() may have something again (a connection that idles waits on it). Each
        call has a future of its own; who does not wait any more cancels it."""
        ...

    def pause(self) -> Awaitable[None] | None:
        """Asked between two pieces of a content: None: go on. Else smaller mail is being sent on another
        connection, and the line cannot carry both: the next piece is to wait until this resolves, which
        it does after PAUSE_MAX_S at the latest. Who does not wait any more cancels it."""
        ...

    def goes_from(
        self, address: str, acknowledged: Callable[[], int] = lambda: 0, is_there: "IsThere | None" = None
    ) -> None:
        """The connection stands, and this IP address is our end of it ("" for a path): the link that had
        it may go away. `acknowledged` says how many octets the other end has of it: as long as they grow
        the link is there, if a message takes an hour. `is_there` asks whether the other end still answers,
        within seconds."""
        ...


PAUSE_MAX_S: Final = 60.0  # peers wait three minutes for a piece of content (RFC 5321 §4.5.3.2.5)


@dataclass(frozen=True, slots=True)
class Finished:
    """The connection did what there was, or the peer closed it in order (421 between messages)."""

    transactions_count: int
    is_broken: bool = False  # it was lost under way, and had delivered nothing
    closed_after: int = 0  # messages, and then the peer closed though more stood behind them


@dataclass(frozen=True, slots=True)
class HostTrouble:
    """No transaction could be begun, or not go on: every host failed before MAIL, or log-in failed.
    failure.kind is HOST or OFFLINE; it never bounces anything. The scheduler rests the next hop."""

    failure: TemporaryFailure
    transactions_count: int = 0  # settled before the trouble
    is_unfound: bool = False  # the DNS does not find the host that the settings name: our own trouble


@dataclass(frozen=True, slots=True)
class RouteRefusal:
    """The next hop can never be: NXDOMAIN, null MX (RFC 7505). Bounces all that waits for it."""

    failure: PermanentFailure


Ending = Finished | HostTrouble | RouteRefusal


class DeliveryAgent(Protocol):
    """Runs one connection (or one local delivery lane) to a next hop."""

    async def run(self, route: str, work: Work) -> Ending:
        """Connect, then take and settle transactions until nothing is left and the idle time is over.

        Never raises but CancelledError; on cancellation (link down, stop) what was taken is put back,
        or, when its final dot is out, awaited up to 60 s and then put back too: we ended it, so no attempt
        is counted, and it may arrive twice."""
        ...
