"""RouteQueue: one next hop: what of it is in memory, who takes it, and how the next hop fares.

Whether anything may go is in gate.py, the disk in reading.py, when connections are opened in opening.py."""

from asyncio import Future
from collections import deque
from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import Transaction
from cmail.mail.limits import RECIPIENTS_PER_TRANSACTION
from cmail.mail.outcome import Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.status import EXPIRED
from cmail.policy.concurrency import Window
from cmail.policy.order import SMALL_MAX, is_large
from cmail.policy.retry import PERIODS_TO_EXPIRE
from cmail.policy.routing import SITE_PREFIX, is_internet
from cmail.queue.gate import Gate
from cmail.queue.lane import Lane
from cmail.queue.opening import Opening
from cmail.queue.pausing import Pausing
from cmail.queue.reading import Reading
from cmail.queue.ready import Ready
from cmail.queue.router import is_for_mailboxes
from cmail.storage.spool import QueuedMessage, QueuedRecipient, place_of

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

READY_MAX: Final = 4000  # transactions of one route in memory; the rest stays on the disk
REFILL_BELOW: Final = 300  # then the next are read while these are being sent
REFILL_MESSAGES: Final = 500
OCTETS_MAX: Final = 16 * 2**20  # of content of one route in memory, so that none fills the budget alone
PROBE_MESSAGES: Final = 20  # in memory while nobody knows whether the next hop is back
TURN_TRANSACTIONS: Final = 100  # of one connection, when other routes wait for one
TOO_LATE: Final = PermanentFailure("it could not be sent by the time that its sender had set", EXPIRED)
KEY_BITS: Final = 24  # of a recipient's position beside its queue id


class RouteQueue:
    """One next hop. `ready` is in memory; `has_more` says that there may be more on the disk: then
    fresh messages stay there too, until reading has caught up. `has_more` is never False when a due
    recipient of the route is neither in memory nor known to the wakeups."""

    __slots__ = (
        "failures",
        "fruitless_count",
        "gate",
        "has_aliases",
        "has_more",
        "is_hungry",
        "is_internet",
        "is_open",
        "is_site",
        "lanes",
        "large_count",
        "name",
        "needs_link",
        "octets",
        "offline_count",
        "opening",
        "owes_wake",
        "pausing",
        "reading",
        "ready",
        "ready_max",
        "recording_count",
        "refill_below",
        "refusal",
        "rest_until",
        "scheduler",
        "trouble",
        "trouble_wall_ms",
        "unfound",
        "unfound_count",
        "window",
    )

    def __init__(self, name: str, scheduler: "Scheduler") -> None:
        self.name = name
        self.scheduler = scheduler
        self.is_internet = is_internet(name)
        self.is_site = name.startswith(SITE_PREFIX)
        self.has_aliases = is_for_mailboxes(name)
        self.needs_link = scheduler.router.needs_link(name)
        # In memory.
        self.ready = Ready()
        self.octets = 0  # content of what is ready or taken
        self.recording_count = 0  # settlements on their way to the disk
        self.ready_max = READY_MAX
        self.refill_below = REFILL_BELOW
        # On the disk.
        self.has_more = False
        self.reading = Reading(self)
        # Connections.
        self.lanes: set[Lane] = set()
        self.large_count = 0  # large messages that connections have in hand
        self.pausing = Pausing(self)
        self.window = Window()
        self.opening = Opening(self)
        self.is_hungry = False  # waits for a connection: the worker has as many as it may
        self.fruitless_count = 0
        # Trouble.
        self.failures = 0  # of the next hop, in a row
        self.offline_count = 0  # times in a row that a delivery found us off line
        self.unfound_count = 0  # times in a row that the DNS did not find its host, which the settings name
        self.unfound: deque[tuple[int, int]] = deque(maxlen=PERIODS_TO_EXPIRE)  # link-up period, wall ms
        self.owes_wake = False  # recipients wait on the disk because of it, until it works again
        self.rest_until = 0.0
        self.trouble: TemporaryFailure | None = None
        self.trouble_wall_ms = 0
        self.refusal: PermanentFailure | None = None
        self.is_open = True
        self.gate = Gate(self)

    @property
    def is_held(self) -> bool:
        """Batch Mail for Delivery: what was never released by a flush (due_ms is 0) has to wait."""
        return self.is_internet and self.scheduler.is_batched

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known of it that would be missed."""
        return not (
            self.ready
            or self.lanes
            or self.recording_count
            or self.reading.under_way
            or self.has_more
            or self.rest_until
            or self.failures
            or self.owes_wake
            or self.gate.alone
        )

    # From memory.

    def add_fresh(self, message: QueuedMessage, recipients: list[QueuedRecipient]) -> None:
        """A message that became durable just now."""
        content, rank = message.content, recipients[0].rank
        size = len(content.octets)
        if self.gate.is_limited and not self.gate.sizes.admits(content.size_bytes, rank):
            if content.size_bytes > self.gate.size_ever:
                self.scheduler.admission.hold_fresh(message, recipients)
            elif self.gate.is_alone:
                self.scheduler.admission.is_kept(content.size_bytes, rank)
            return  # it is looked at when other orders hold
        if (
            not self.is_open
            or (self.has_more and not self.reading.is_near_end and rank >= self.reading.cursor[0])
            or ((len(self.ready) >= self.ready_max or not self._has_room(size)) and not self._make_room(rank))
            or self.is_held
        ):
            if self.needs_link and not self.is_open:
                self.scheduler.admission.is_kept(content.size_bytes, rank)
            self._leave_on_disk(message.queue_id, rank)
            return
        self._add(message, recipients)
        self.opening.pump()

    def admit(self, message: QueuedMessage, ghosts: "frozenset[int] | set[int]" = frozenset()) -> None:
        """Take a message from the disk to memory, as far as it is not there."""
        early_ms = message.envelope.hold_until_ms - self.scheduler.clock.wall_ms()
        if early_ms > 0:  # RFC 4865: its sender said when, and the clock of the route is ahead
            scheduler = self.scheduler
            scheduler.lookout.arm(self.name, scheduler.clock.monotonic() + early_ms / 1000)
            return
        active = self.scheduler.active
        base = message.queue_id << KEY_BITS
        new = [
            q
            for q in message.recipients
            if (base | q.position) not in active and (base | q.position) not in ghosts
        ]
        if not new or (self.gate.is_limited and not self.gate.admits(Transaction(message, new))):
            return
        self.reading.found_new()
        if len(self.ready) < self.ready_max + REFILL_MESSAGES or self._make_room(new[0].rank):
            self._add(message, new)
        else:
            self.reading.left_behind(place_of(message))

    def _has_room(self, size: int) -> bool:
        return self.octets + size <= OCTETS_MAX and self.scheduler.has_room(size)

    def _make_room(self, rank: int) -> bool:
        """Memory is full: leave what would go last to the disk, when this goes before it."""
        if not self.ready or self.ready.last_rank <= rank or not self.scheduler.has_reserve():
            return False
        last = self.ready.pop_last()
        self.forget(last)
        first = last.recipients[0]
        self.reading.left_behind((first.rank, first.due_ms, last.message.queue_id))
        return True

    def _leave_on_disk(self, queue_id: int, rank: int) -> None:
        if self.is_held:
            return  # a flush writes a due time and looks
        self.reading.left_behind((rank, 0, queue_id))
        if len(self.ready) < self.refill_below or self.reading.is_behind():
            self.refill()

    def _add(self, message: QueuedMessage, recipients: list[QueuedRecipient]) -> None:
        """Make transactions of it; recipients share one (RFC 5321 §4.5.3.1.8: 100 at most)."""
        scheduler, base = self.scheduler, message.queue_id << KEY_BITS
        size, is_big = len(message.content.octets), is_large(recipients[0].rank)
        if not is_big and message.content.size_bytes > SMALL_MAX:
            is_big = message.content.size_bytes > self.gate.large_above
        if len(recipients) == 1:
            scheduler.active.add(base | recipients[0].position)
            self.octets += size
            scheduler.octets += size
            self.ready.append(Transaction(message, recipients, is_large=is_big))
            return
        for start in range(0, len(recipients), RECIPIENTS_PER_TRANSACTION):
            some = recipients[start : start + RECIPIENTS_PER_TRANSACTION]
            scheduler.active.update([base | q.position for q in some])
            self.octets += size
            scheduler.octets += size
            self.ready.append(Transaction(message, some, is_large=is_big))

    def release(self, transaction: Transaction) -> None:
        """Its content is not needed any more."""
        size = len(transaction.message.content.octets)
        self.octets -= size
        self.scheduler.octets -= size

    def forget(self, transaction: Transaction) -> None:
        """It leaves memory; it is on the disk as it was."""
        self.release(transaction)
        self.scheduler.recorder.deactivate(transaction)

    def drop_ready(self) -> None:
        """Leave all that nobody has taken to the disk."""
        while self.ready:
            self.forget(self.ready.popleft())
        self.look_anew()

    def drop(self, ids: "frozenset[int]") -> None:
        """Forget messages that somebody has changed on the disk."""
        dropped = self.ready.remove_if(lambda each: each.message.queue_id in ids)
        for transaction in dropped:
            self.forget(transaction)
        if dropped:
            self.look_anew()

    def drop_unwanted(self) -> None:
        """Leave to the disk what other orders do not let go any more: yet others will have it looked at."""
        if self.gate.is_limited:
            for transaction in self.ready.remove_if(lambda each: not self.gate.admits(each)):
                self.forget(transaction)
        self.pausing.look()

    # What connections call.

    def next_transaction(self, lane: Lane) -> Transaction | None:
        """What a connection takes next."""
        ready = self.ready
        while ready and self.is_open and not lane.is_spent:
            scheduler = self.scheduler
            if scheduler.spool.is_blocked:
                scheduler.lookout.await_unblocking()
                return None
            if scheduler.connections.hungry and lane.taken_count >= TURN_TRANSACTIONS:
                lane.is_spent = True
                return None
            if self.opening.has_extra and self.opening.is_one_too_many(lane):
                return None
            is_free = not ready.is_large_first or self.opening.is_large_free()
            transaction = ready.popleft() if is_free else ready.pop_small()
            if transaction is None:
                return None
            if self.has_more and len(ready) < self.refill_below:
                self.reading.refill()
            if self.has_aliases and not self._without_aliases(transaction):
                continue
            if transaction.message.envelope.deliver_by_ms and not self._is_in_time(transaction):
                continue
            if transaction.is_large:
                self.large_count += 1
                scheduler.thin_line.begin(self, transaction)
            if not lane.taken_count:
                self.opening.count -= 1
                lane.setup_s = max(0.0, scheduler.clock.monotonic() - lane.opened_at)
            return transaction
        if self.has_more:
            self.refill()
        return None

    def _is_in_time(self, transaction: Transaction) -> bool:
        """Note how much of its time is left (RFC 2852); what is to be returned late is returned."""
        attempts, message = self.scheduler.attempts, transaction.message
        transaction.by_s = -(-attempts.left_ms(message) // 1000)  # what has gone of it in whole seconds
        if not attempts.must_return(message):
            return True
        outcomes: dict[int, Outcome] = {queued.position: TOO_LATE for queued in transaction.recipients}
        self.scheduler.recorder.conclude(self, None, transaction, outcomes)
        return False

    def _without_aliases(self, transaction: Transaction) -> bool:
        """Expand what is an alias; False when no mailbox is left in the transaction."""
        router = self.scheduler.router
        outcomes: dict[int, Outcome] = {}
        others = transaction.message.envelope.recipients
        for queued in transaction.recipients:
            outcome = router.expand(queued, others)
            if outcome is not None:
                outcomes[queued.position] = outcome
        if not outcomes:
            return True
        expanded = [q for q in transaction.recipients if q.position in outcomes]
        transaction.recipients = [q for q in transaction.recipients if q.position not in outcomes]
        part = Transaction(transaction.message, expanded)
        if transaction.recipients:  # the content is counted once for each transaction
            size = len(part.message.content.octets)
            self.octets += size
            self.scheduler.octets += size
        self.scheduler.recorder.conclude(self, None, part, outcomes)
        return bool(transaction.recipients)

    def put_back(self, transaction: Transaction) -> None:
        """A connection could not send it."""
        if self.is_open and (not self.gate.is_limited or self.gate.admits(transaction)):
            self.ready.appendleft(transaction)
            self.pump()
        else:
            self.forget(transaction)
            self.look_anew()

    def wait(self, lane: Lane) -> "Future[None]":
        """A future for a connection that has nothing to do; it resolves when there is something."""
        return self.opening.wait(lane)

    def large_ended(self, transaction: Transaction) -> None:
        """A connection has a large message no longer in hand."""
        self.large_count -= 1
        self.scheduler.thin_line.end(transaction)
        self.opening.pump()

    # What is done with it from outside.

    def pump(self) -> None:
        """Give what is ready to connections."""
        self.opening.pump()

    def look_anew(self) -> None:
        """There may be something on the disk, anywhere."""
        self.reading.look_anew()

    def refill(self) -> None:
        """Read what comes next."""
        self.reading.refill()

    @property
    def read_max(self) -> int:
        """How many messages to read at once."""
        return min(REFILL_MESSAGES, self.ready_max)

    def octets_left(self) -> int:
        """How much content may come to memory."""
        return min(OCTETS_MAX - self.octets, self.scheduler.octets_left())

    # How the next hop fares.

    def works(self, is_first: bool) -> None:
        """A connection has delivered: for the first time, or the first after trouble."""
        scheduler = self.scheduler
        self.fruitless_count = self.offline_count = 0
        self.trouble = None
        if self.owes_wake:
            self.forgiven()
            scheduler.connections.wake_deferred(self)
        if is_first and self.window.proved(scheduler.clock.monotonic()):
            scheduler.connections.first_success(self)
            self.pump()

    def doubted(self) -> None:
        """The next hop has failed once more: only a few are tried until one gets through."""
        self.failures += 1
        self._distrusted()

    def not_found(self, wall_ms: int) -> None:
        """The DNS does not find its host: no failure of anybody, but a chance that its mail had."""
        self.unfound_count += 1
        period = self.scheduler.admission.period
        is_same = self.unfound_count > 1 or not self.is_site
        if self.unfound and self.unfound[-1][0] == period and is_same:
            self.unfound.pop()
        self.unfound.append((period, wall_ms))
        self._distrusted()

    def _distrusted(self) -> None:
        self.owes_wake = True
        self.ready_max, self.refill_below = PROBE_MESSAGES, 1
        self.window.closed()

    def trusted(self) -> None:
        """The next hop works, or an operator says that it may."""
        self.failures = self.offline_count = self.unfound_count = 0
        self.trouble = None
        self.ready_max, self.refill_below = READY_MAX, REFILL_BELOW

    def forgiven(self) -> None:
        """Nothing waits for it: whatever was wrong does not matter any more."""
        self.trusted()
        self.owes_wake = False
        self.unfound.clear()
