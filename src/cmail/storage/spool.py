"""Spool: the durable contract (accept, settle, due, select, change), its invariants and its types.

Invariants, each tried by tests/contract/test_spool.py on every implementation:
- accept() resolves only when content and envelope are synced; when it fails nothing of it is there.
- a message is there until its last recipient is final (delivered, failed, expired, expanded);
  then it is gone.
- settle() is one commit: the fates, the recipients that aliases add, and the messages that are owed
  for it.
- what was refused or failed by a full disk leaves the spool working; what failed in a sync ends
  that file.
"""

from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final as Constant
from typing import Protocol

from cmail.mail.content import Content
from cmail.mail.date import print_date
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import NotNow
from cmail.mail.queue_id import QueueId
from cmail.policy.order import ORDINARY, priority_of, rank_of
from cmail.policy.orders import NO_LIMIT
from cmail.policy.routing import is_internet

Place = tuple[int, int, int]  # rank, due_ms, queue id: where a message stands in a route's queue
FIRST: Constant = (-1, -1, -1)  # before every place


class SpoolError(Exception):
    """The spool cannot make it durable now: 451 for the peer. The text is for the log."""


class SpoolClosedError(SpoolError):
    """It was closed: the process is at its end."""


class SpoolFullError(SpoolError):
    """No space, or no inodes, or the queue is at its limit: 452 for the peer."""


class RecipientState(IntEnum):
    """Where one recipient of a message stands."""

    QUEUED = 0
    HELD = 1
    DELIVERED = 2
    FAILED = 3
    EXPIRED = 4


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that wants to be made durable. routes run parallel to envelope.recipients."""

    queue_id: QueueId  # from Spool.new_queue_id(), so that Received can name it
    envelope: Envelope
    content: Content  # in memory, or a file that Spool.content_path() named and nobody writes any more
    routes: tuple[str, ...]  # policy.routing: "local", "lmtp", "relay", "mx:example.org"
    arrived_wall_ms: int
    arrived_link_ms: int
    due_ms: int = 0  # first due time of all recipients on their route's clock; 0: at once
    origin: str = ""  # how it came, for people: "anna@example.org from laptop[192.0.2.7] by ESMTPSA"
    is_held: bool = False

    @property
    def rank(self) -> int:
        """Of its recipients, in their queues."""
        envelope = self.envelope
        return rank_of(envelope.priority, envelope.deliver_by_ms, self.content.size_bytes)


def new_way_due_ms(hold_until_ms: int, wall_ms: int, link_ms: int, needs_link: bool) -> int:
    """When a recipient is due on a route that it has not been tried on: at once, or when its sender
    asked for it (RFC 4865, wall time), on the route's clock as both stood when it arrived."""
    if hold_until_ms <= wall_ms:
        return 0
    return hold_until_ms - (wall_ms - link_ms) if needs_link else hold_until_ms


HOLD_WORDS: Constant = "its sender wants it sent on"
CANNOT_FIT: Constant = "cannot fit: "  # how the reason of hold_too_large() begins where no link carries it


def hold_reason(hold_until_ms: int) -> str:
    """Why it waits, for who looks at the queue, until it is tried (RFC 4865)."""
    return f"{HOLD_WORDS} {print_date(hold_until_ms)}"


def first_due_ms(message: NewMessage, route: str, needs_link: Callable[[str], bool] = is_internet) -> int:
    """When a fresh message is due on one of its routes, on that route's clock; 0: at once."""
    if not message.envelope.hold_until_ms:
        return message.due_ms
    hold = new_way_due_ms(
        message.envelope.hold_until_ms,
        message.arrived_wall_ms,
        message.arrived_link_ms,
        needs_link(route),
    )
    return max(message.due_ms, hold)


@dataclass(slots=True)
class QueuedRecipient:
    """A recipient that waits for an attempt, as the scheduler sees it."""

    position: int  # within its message, from 0; with the queue id it names the recipient
    recipient: Recipient
    route: str
    due_ms: int = 0  # on the route's clock (link-up time where the route needs the link)
    attempts: int = 0
    periods: int = 0  # in how many link-up periods it was tried (expiry needs at least 10)
    last_period: int = -1  # the period of the last attempt
    is_delay_told: bool = False
    alias_depth: int = 0  # how many expansions led to it (loops are cut at ALIAS_DEPTH_MAX)
    rank: int = ORDINARY  # policy.order: the smallest goes first
    was_too_large: bool = False  # it was held for its size; no limit of size holds it any more


@dataclass(slots=True)
class QueuedMessage:
    """A message with those of its recipients that are due on one route, content loaded.

    For content in a file only its path is loaded. `recipients_count` counts all recipients of the
    message that are not final, on every route: a settlement that ends all of them ends the
    message."""

    queue_id: QueueId
    envelope: Envelope  # its recipients: those of a fresh message all, else only the due ones
    content: Content
    recipients: list[QueuedRecipient]
    recipients_count: int
    arrived_wall_ms: int
    arrived_link_ms: int
    origin: str = ""


def place_of(message: QueuedMessage) -> Place:
    """Where a message that due() has found stands in its route's queue."""
    first = message.recipients[0]
    return first.rank, first.due_ms, message.queue_id


@dataclass(frozen=True, slots=True)
class Final:
    """One recipient's end."""

    position: int
    state: RecipientState  # DELIVERED (also when expanded), FAILED or EXPIRED
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Deferral:
    """One recipient's next try. All that is known of the last one stands with it."""

    position: int
    due_ms: int
    attempts: int
    periods: int
    last_period: int
    kind: NotNow
    reason: str  # one line for people
    is_delay_told: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one attempt changed for one message: one commit, all of it or nothing."""

    queue_id: QueueId
    finals: tuple[Final, ...] = ()
    deferrals: tuple[Deferral, ...] = ()
    added: tuple[QueuedRecipient, ...] = ()  # alias targets; their positions are given by the spool
    owed: tuple[NewMessage, ...] = ()  # bounce, report, delay notice; content in memory
    is_whole: bool = False  # the caller knows that no recipient is left: the spool need not look


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which recipients an operator means; all that is given must hold. Empty: everything."""

    ids: tuple[QueueId, ...] = ()
    to: str = ""  # part of the recipient's address, any case
    from_: str = ""  # part of the reverse-path, any case; "<>" is the null reverse-path
    domain: str = ""  # the recipient's domain, exactly
    older_than_ms: int = 0  # arrived at least so long ago
    reason: str = ""  # part of the reason, any case
    states: tuple[RecipientState, ...] = ()
    recipients: tuple[tuple[QueueId, int], ...] = ()  # these, by queue id and position


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One recipient as an operator sees it. Times are wall milliseconds (0: none)."""

    queue_id: QueueId
    position: int
    reverse_path: str
    forward_path: str
    size_bytes: int
    state: RecipientState
    attempts: int
    due_ms: int  # on the route's clock; the asker turns it into wall time
    reason: str
    kind: int  # NotNow, 0 before the first attempt
    route: str
    arrived_wall_ms: int
    origin: str
    periods: int = 0
    rank: int = ORDINARY
    was_too_large: bool = False
    hold_until_ms: int = 0  # until when its sender holds it (RFC 4865)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which recipients of a route may go. What was held for its size and released goes whatever its size,
    but where no size at all may (a limit below 0)."""

    from_ms: int = 0  # due then or later: what was never released has 0
    size_max: int = NO_LIMIT  # octets of an ordinary message
    urgent_size_max: int = NO_LIMIT  # of one with a priority above 0

    def admits(self, size_bytes: int, rank: int, was_too_large: bool = False) -> bool:
        """Whether its size lets it go."""
        size_max = self.urgent_size_max if priority_of(rank) > 0 else self.size_max
        return size_max >= 0 and (was_too_large or size_bytes <= size_max)


ALL: Constant = Wanted()


@dataclass(frozen=True, slots=True)
class NextDue:
    """When something is due, and until when its sender asked to hold it (wall time, 0: not)."""

    due_ms: int
    hold_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class RouteWaits:
    """The messages that wait on one route, due or not."""

    route: str
    messages_count: int
    octets: int
    oldest_arrived_ms: int  # wall; what its sender held (RFC 4865) came when it was to be sent
    urgent_count: int
    admitted_count: int  # of those that are wanted
    admitted_octets: int


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """How much waits on one route, and when the first of it is due (on the route's clock)."""

    route: str
    recipients_count: int
    first_due_ms: int


@dataclass(slots=True)
class SpoolFigures:
    """Counts for status and metrics."""

    messages_count: int = 0
    recipients: dict[str, int] = field(default_factory=dict)  # state name -> count
    oldest_arrived_ms: int = 0  # but what its sender holds yet (RFC 4865); 0: there is none


class Change(IntEnum):
    """What an operator may do to the recipients of a filter, in one commit."""

    FLUSH = 1  # those that are queued: due now, and their back-off forgotten (attempts from 0)
    HOLD = 2  # queued -> held
    RELEASE = 3  # held -> queued, due now, back-off forgotten; what its sender asked to hold, and no
    # operator holds, goes before its time (RFC 4865)
    DELETE = 4  # gone without a word; messages left without recipients go too


class Spool(Protocol):
    """The durable queue of one shard. Calls come from one event loop; none of them blocks it.

    Futures fail with SpoolFullError (452) or SpoolError (451)."""

    shard: int

    def new_queue_id(self) -> QueueId:
        """The id for a message that is about to come."""
        ...

    def content_path(self, queue_id: QueueId) -> str:
        """Where large content of this message is to be written (folder exists, file does not).
        The writer of the file need not sync it: accept() does, before the row that names it."""
        ...

    def accept(self, message: NewMessage) -> "Future[None]":
        """Make a message durable. Resolves after the sync; group commit, no timer.
        The listener hears of it in the same turn of the loop, before the future's callbacks."""
        ...

    def settle(self, settlement: Settlement) -> "Future[None]":
        """Record what an attempt did, with all that it owes. When the disk is full it is kept in
        memory and tried again until it is recorded (is_blocked is True meanwhile)."""
        ...

    def listen(self, listener: Callable[[NewMessage], None]) -> None:
        """Call `listener` in the loop with each message that became durable (accepted or owed)."""
        ...

    @property
    def is_blocked(self) -> bool:
        """An outcome could not be recorded yet: no attempt may be started."""
        ...

    def refusal(self) -> SpoolError | None:
        """Why a new message could not be taken now (low space or inodes, broken); None: it can."""
        ...

    def due(
        self, route: str, now_ms: int, after: Place, limit: int, octets_max: int, wanted: Wanted = ALL
    ) -> "Future[list[QueuedMessage]]":
        """Queued recipients of a route that are wanted, with due_ms <= now_ms and (rank, due_ms,
        queue_id) > after, in that order, at most `limit` messages or about `octets_max` octets of
        content (at least one). Those of one message that are due at the same time stand together,
        others apart: the next page begins after the place_of() the last one."""
        ...

    def next_due(self, route: str, after_ms: int, wanted: Wanted = ALL) -> "Future[NextDue | None]":
        """The first due time of a route beyond after_ms, whatever its rank; None: there is none."""
        ...

    def routes(self) -> "Future[list[RouteSummary]]":
        """Routes that have queued recipients."""
        ...

    def old(self, arrived_before_wall_ms: int, limit: int, after: QueueId) -> "Future[list[QueuedMessage]]":
        """Messages with queued recipients that arrived before a time, queue_id > after; for expiry
        and delay notices. Content is loaded only as far as needed for a header (64 KiB)."""
        ...

    def late(self, link_ms: int, limit: int, after: QueueId) -> "Future[list[QueuedMessage]]":
        """Messages whose deadline (RFC 2852) is over, with queued recipients of which somebody is still
        to be told; queue_id > after. Not those that came late already and are sent on. Loaded as by old()."""
        ...

    def next_deadline(self, link_ms: int) -> "Future[int]":
        """The first deadline of a message later than this; 0: there is none."""
        ...

    def reroute(self, choose: Callable[[str], str]) -> "Future[int]":
        """Give each queued or held recipient the route choose(forward_path); how many changed."""
        ...

    def wake(self, route: str, kind: NotNow, now_ms: int) -> "Future[int]":
        """Recipients of a route that wait because of `kind` become due at now_ms, in order of their
        rank; how many."""
        ...

    def keep_time(self, route: str, wall_ms: int, link_ms: int) -> "Future[int]":
        """What was to wait for a time of the wall (RFC 4865) on a route that goes by link-up time is due at
        that time, as both clocks stand now, if that is earlier; how many recipients."""
        ...

    def let_go(self, route: str, now_ms: int) -> "Future[int]":
        """Recipients of a route that were never released (due_ms is 0) are due at now_ms; how many."""
        ...

    def too_large(self, route: str, size_max: int, limit: int) -> "Future[list[QueueEntry]]":
        """Queued recipients of a route whose message is larger, and that were not held for it yet."""
        ...

    def hold_too_large(self, queue_id: QueueId, positions: Sequence[int], reason: str) -> "Future[int]":
        """Hold recipients that are queued, because of their size; once. How many."""
        ...

    def ask_anew(self, queue_id: QueueId, positions: Sequence[int]) -> "Future[int]":
        """Recipients that hold_too_large() holds because they CANNOT_FIT are queued, as if they had not been
        held; nobody else's hold ends. How many."""
        ...

    def waits(self, wanted: Wanted = ALL, *, is_held_too: bool = False) -> "Future[list[RouteWaits]]":
        """How much is queued on each route, but what its sender holds yet (RFC 4865); or all that is queued
        and held. How much of that is wanted."""
        ...

    def select(
        self, what: QueueFilter, limit: int, after: tuple[int, int] = (0, -1)
    ) -> "Future[list[QueueEntry]]":
        """The first `limit` recipients of a filter with (queue_id, position) > after."""
        ...

    def count(self, what: QueueFilter) -> "Future[int]":
        """How many recipients a filter means."""
        ...

    def change(self, what: QueueFilter, change: Change, now_ms: Mapping[str, int]) -> "Future[Changed]":
        """Do it to every recipient of the filter that is not final, in one commit. now_ms: due time
        to write for each route ("" is the default)."""
        ...

    def message(self, queue_id: QueueId) -> "Future[QueuedMessage | None]":
        """One message with all recipients that are not final; None when it is not there."""
        ...

    def figures(self) -> "Future[SpoolFigures]":
        """Counts, for status and metrics."""
        ...

    async def close(self) -> None:
        """Commit what waits, checkpoint, close."""
        ...


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did: how many recipients, and which messages (at most 10,000 named)."""

    recipients_count: int
    queue_ids: Sequence[QueueId]
