"""RouteQueue: what waits for one next hop, how much of it is in memory, and the connections to it."""

from asyncio import Future
from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import Transaction
from cmail.mail.limits import RECIPIENTS_PER_TRANSACTION
from cmail.mail.outcome import Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.status import EXPIRED
from cmail.policy.concurrency import Window
from cmail.policy.order import is_large
from cmail.policy.orders import NO_LIMIT
from cmail.policy.routing import LOCAL, SITE_PREFIX, is_internet
from cmail.queue.lane import Lane
from cmail.queue.pausing import Pausing
from cmail.queue.ready import Ready
from cmail.queue.router import is_for_mailboxes
from cmail.storage.spool import ALL, FIRST, Place, QueuedMessage, QueuedRecipient, Wanted, place_of

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

READY_MAX: Final = 4000  # transactions of one route in memory; the rest stays on the disk
REFILL_BELOW: Final = 300  # then the next are read while these are being sent
REFILL_MESSAGES: Final = 500
OCTETS_MAX: Final = 16 * 2**20  # of content of one route in memory, so that none fills the budget alone
OCTETS_LEAST: Final = 64 * 1024  # too little room to read for, unless the route has nothing at all
PROBE_MESSAGES: Final = 20  # in memory while nobody knows whether the next hop is back
AT_ONCE: Final = 5  # what a connection is thought to carry at once, when further ones are opened
TURN_TRANSACTIONS: Final = 100  # of one connection, when other routes wait for one
LARGE_MAX_HERE: Final = 1 << 30  # large messages into mailboxes here at once: the disk carries them all
JUDGE_AFTER_S: Final = 0.001  # connections that were woken have taken what they can by then
FAR_MS: Final = 1 << 61  # later than every due time
TOO_LATE: Final = PermanentFailure("it could not be sent by the time that its sender had set", EXPIRED)
KEY_BITS: Final = 24  # of a recipient's position beside its queue id


class RouteQueue:
    """One next hop. `ready` is in memory; `has_more` says that there may be more on the disk: then
    fresh messages stay there too, until reading has caught up. `has_more` is never False when a due
    recipient of the route is neither in memory nor known to the wakeups."""

    __slots__ = (
        "cursor",
        "failures",
        "fruitless_count",
        "ghosts",
        "has_aliases",
        "has_extra",
        "has_more",
        "has_new",
        "horizon_ms",
        "is_hungry",
        "is_internet",
        "is_judging",
        "is_limited",
        "is_moved",
        "is_near_end",
        "is_open",
        "is_site",
        "lanes",
        "large_count",
        "limit",
        "name",
        "needs_link",
        "octets",
        "opening_count",
        "owes_wake",
        "pausing",
        "read",
        "read_ms",
        "ready",
        "ready_max",
        "recording_count",
        "refill_below",
        "refusal",
        "reserved",
        "rest_until",
        "scheduler",
        "size_ever",
        "sizes",
        "trouble",
        "trouble_wall_ms",
        "waiters",
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
        self.has_new = False  # this pass over the disk has found something
        self.is_near_end = False  # the last read came to the end: fresh messages may come to memory
        self.cursor: Place = FIRST
        self.is_moved = False  # somebody else set the cursor while a read was under way
        self.limit = 0  # messages, of the last read
        self.reserved = 0  # octets, for the read that is under way
        self.horizon_ms = 0  # not 0: this pass looks for due times that a wrong clock wrote
        self.read: Future[list[QueuedMessage]] | None = None
        self.read_ms = 0  # up to which due time the last read looked
        self.ghosts: set[int] = set()  # recorded while a read was under way, which may still show them
        # Connections.
        self.lanes: set[Lane] = set()
        self.waiters: list[Future[None]] = []
        self.opening_count = 0
        self.has_extra = False  # one more than the limit, for small mail beside a large message
        self.large_count = 0  # large messages that connections have in hand
        self.pausing = Pausing(self)
        self.window = Window()
        self.is_judging = False
        self.is_hungry = False  # waits for a connection: the worker has as many as it may
        self.fruitless_count = 0
        # Trouble.
        self.failures = 0  # of the next hop, in a row
        self.owes_wake = False  # recipients wait on the disk because of it, until it works again
        self.rest_until = 0.0
        self.trouble: TemporaryFailure | None = None
        self.trouble_wall_ms = 0
        self.refusal: PermanentFailure | None = None
        self.is_open = True
        self.judge_gate()

    # The gate.

    def judge_gate(self) -> None:
        """Whether anything may be taken now; called whenever what it depends on has changed."""
        scheduler = self.scheduler
        self._judge_orders()
        self.is_open = not (
            scheduler.is_stopping
            or self.rest_until
            or self.refusal is not None
            or (self.needs_link and (scheduler.link_clock.is_down or self._is_kept()))
            or (self.is_site and not scheduler.is_site_open(self.name))
        )

    def _judge_orders(self) -> None:
        admission = self.scheduler.admission
        self.sizes = sizes = admission.wanted if self.needs_link else self._site_sizes()
        self.is_limited = min(sizes.size_max, sizes.urgent_size_max) < NO_LIMIT
        self.size_ever = admission.orders.size_ever if self.needs_link else NO_LIMIT

    def _site_sizes(self) -> Wanted:
        """What a site takes without having asked for it by its name."""
        largest = self.scheduler.site_largest(self.name) if self.is_site else 0
        return Wanted(0, largest, largest) if largest else ALL

    def _is_kept(self) -> bool:
        """Whether the orders let nothing go at all."""
        sizes = self.sizes
        return not self.scheduler.admission.orders.is_exchange_open or (
            sizes.size_max < 0 and sizes.urgent_size_max < 0
        )

    def _admits(self, transaction: Transaction) -> bool:
        queued = transaction.recipients[0]
        return self.sizes.admits(transaction.message.content.size_bytes, queued.rank, queued.was_too_large)

    @property
    def is_narrow(self) -> bool:
        """Whether large and small mail are in each other's way."""
        scheduler = self.scheduler
        is_thin = self.needs_link and scheduler.admission.orders.is_thin
        return is_thin or scheduler.connections_max(self.name) == 1

    def _large_max(self) -> int:
        """How many large messages may be in hand: the last connection is for the others."""
        if self.name == LOCAL:
            return LARGE_MAX_HERE
        if self.needs_link and self.scheduler.admission.orders.is_thin:
            return 1
        return max(1, self.scheduler.connections_max(self.name) - 1)

    @property
    def is_held(self) -> bool:
        """Batch Mail for Delivery: what was never released by a flush (due_ms is 0) has to wait."""
        return self.is_internet and self.scheduler.settings.batch

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known of it that would be missed."""
        return not (
            self.ready
            or self.lanes
            or self.recording_count
            or self.read
            or self.has_more
            or self.rest_until
            or self.failures
            or self.owes_wake
        )

    # From memory.

    def add_fresh(self, message: QueuedMessage, recipients: list[QueuedRecipient]) -> None:
        """A message that became durable just now."""
        content, rank = message.content, recipients[0].rank
        size = len(content.octets)
        if self.is_limited and not self.sizes.admits(content.size_bytes, rank):
            if content.size_bytes > self.size_ever:
                self.scheduler.admission.hold_fresh(message, recipients)
            return  # it is looked at when other orders hold
        if (
            not self.is_open
            or (self.has_more and not self.is_near_end and rank >= self.cursor[0])
            or ((len(self.ready) >= self.ready_max or not self._has_room(size)) and not self._make_room(rank))
            or self.is_held
        ):
            self._leave_on_disk(message.queue_id, rank)
            return
        self._add(message, recipients)
        self.pump()

    def _has_room(self, size: int) -> bool:
        return self.octets + size <= OCTETS_MAX and self.scheduler.has_room(size)

    def _make_room(self, rank: int) -> bool:
        """Memory is full: leave what would go last to the disk, when this goes before it."""
        if not self.ready or self.ready.last_rank <= rank or not self.scheduler.has_reserve():
            return False
        last = self.ready.pop_last()
        self.forget(last)
        first = last.recipients[0]
        self._left_behind((first.rank, first.due_ms, last.message.queue_id))
        return True

    def _left_behind(self, place: Place) -> None:
        """Something of this place is on the disk and not in memory."""
        self.has_more = self.has_new = True  # has_new: a read that is under way may have begun before it
        self.is_near_end = False
        if place <= self.cursor:
            self.cursor = (*place[:2], place[2] - 1)
            self.is_moved = True

    def _leave_on_disk(self, queue_id: int, rank: int) -> None:
        if self.is_held:
            return  # a flush writes a due time and looks
        self._left_behind((rank, 0, queue_id))
        if len(self.ready) < self.refill_below or self._is_behind():
            self.refill()

    def _is_behind(self) -> bool:
        """Whether there may be mail on the disk that goes before some that is in memory."""
        return self.has_more and self.cursor[0] < self.ready.last_rank

    def _add(self, message: QueuedMessage, recipients: list[QueuedRecipient]) -> None:
        """Make transactions of it; recipients share one (RFC 5321 §4.5.3.1.8: 100 at most)."""
        scheduler, base = self.scheduler, message.queue_id << KEY_BITS
        size, is_big = len(message.content.octets), is_large(recipients[0].rank)
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
        if self.is_limited:
            for transaction in self.ready.remove_if(lambda each: not self._admits(each)):
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
            if self.has_extra and self._is_one_too_many(lane):
                return None
            is_free = not ready.is_large_first or self._is_large_free()
            transaction = ready.popleft() if is_free else ready.pop_small()
            if transaction is None:
                return None
            if self.has_more and len(ready) < self.refill_below:
                self.refill()
            if self.has_aliases and not self._without_aliases(transaction):
                continue
            if transaction.message.envelope.deliver_by_ms and not self._is_in_time(transaction):
                continue
            self.large_count += transaction.is_large
            if not lane.taken_count:
                self.opening_count -= 1
                lane.setup_s = max(0.0, scheduler.clock.monotonic() - lane.opened_at)
            return transaction
        if self.has_more:
            self.refill()
        return None

    def _is_in_time(self, transaction: Transaction) -> bool:
        """Note how much of its time is left (RFC 2852); what is to be returned late is returned."""
        attempts, message = self.scheduler.attempts, transaction.message
        transaction.by_s = attempts.left_ms(message) // 1000
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
        if self.is_open and (not self.is_limited or self._admits(transaction)):
            self.ready.appendleft(transaction)
            self.pump()
        else:
            self.forget(transaction)
            self.look_anew()

    def wait(self, lane: Lane) -> "Future[None]":
        """A future for a connection that has nothing to do; wake() resolves it."""
        future = self.scheduler.loop.create_future()
        if not lane.is_spent:
            waiters = self.waiters
            if len(waiters) > 2 * len(self.lanes) + 8:
                self.waiters = waiters = [f for f in waiters if not f.done()][-len(self.lanes) - 1 :]
            waiters.append(future)
            if self._count_free():
                self._judge_soon()
        return future

    # Connections.

    def pump(self) -> None:
        """Give what is ready to who idles, then see whether further connections are needed."""
        if not self.ready or not self.is_open or not self._count_free():
            return
        if not self._wake(1) and not self.lanes:
            self._open(1)
        else:
            self._judge_soon()

    def _judge_soon(self) -> None:
        if not self.is_judging and self.is_open:
            self.is_judging = True
            self.scheduler.loop.call_later(JUDGE_AFTER_S, self._judge)

    def _wake(self, count: int) -> int:
        woken = 0
        waiters = self.waiters
        while waiters and woken < count:
            future = waiters.pop()  # the last one that idled: the others may end
            if not future.done():
                future.set_result(None)
                woken += 1
        return woken

    def _judge(self) -> None:
        """A moment later: is there more than the connections took at once?"""
        self.is_judging = False
        count = self._count_free()
        if not count or not self.is_open:
            return
        if self._wake(count):
            self.pump()
            return
        going = [lane for lane in self.lanes if not lane.is_cut]
        lanes = sum(not lane.is_spent or bool(lane.taken) for lane in going)  # the others only end yet
        most, window = self.scheduler.connections_max(self.name), self.window.size
        is_one = self.is_site and self.scheduler.is_site_turned(self.name)  # there can be no other
        if self.large_count and self.ready.small_count() and not is_one:  # who carries it is no use to them
            most = max(2, most)
            if self.window.may_grow(self.scheduler.clock.monotonic()):
                window = max(window, self.large_count + 1)
        room = min(most - lanes, window - lanes, -(-count // AT_ONCE) - self.opening_count)
        if room > 0:
            self.has_extra |= lanes + room > self.scheduler.connections_max(self.name)
            self._open(room)

    def _is_one_too_many(self, lane: Lane) -> bool:
        """A connection was opened beside the only one, for small mail while that had a large message in
        hand; it has none any more."""
        if self.large_count:
            return False
        going_on = sum(not other.is_spent for other in self.lanes)
        if going_on <= self.scheduler.connections_max(self.name):
            self.has_extra = False
            return False
        lane.is_spent = True
        return True

    def _is_large_free(self) -> bool:
        """Whether a connection may have a large message."""
        return self.large_count < self._large_max()

    def _count_free(self) -> int:
        """How much of what is ready a connection may take."""
        ready = self.ready
        if not ready or not self.large_count or self._is_large_free():
            return len(ready)
        return ready.small_count()

    def large_ended(self) -> None:
        """A connection has no large message in hand any more."""
        self.large_count -= 1
        self.pump()

    def _open(self, count: int) -> None:
        for _ in range(count):
            if not self.open_one():
                return

    def open_one(self) -> bool:
        """One connection more; False: there are too many."""
        is_opened = self.scheduler.connections.open(self)
        self.opening_count += is_opened
        return is_opened

    def works(self, is_first: bool) -> None:
        """A connection has delivered: for the first time, or the first after trouble."""
        scheduler = self.scheduler
        self.fruitless_count = 0
        self.trouble = None
        if self.owes_wake:
            self.trusted()
            self.owes_wake = False
            scheduler.connections.wake_deferred(self)
        if is_first and self.window.proved(scheduler.clock.monotonic()):
            scheduler.connections.first_success(self)
            self.pump()

    def doubted(self) -> None:
        """The next hop has failed once more: only a few are tried until one gets through."""
        self.failures += 1
        self.owes_wake = True
        self.ready_max, self.refill_below = PROBE_MESSAGES, 1
        self.window.closed()

    def trusted(self) -> None:
        """The next hop works, or an operator says that it may."""
        self.failures = 0
        self.trouble = None
        self.ready_max, self.refill_below = READY_MAX, REFILL_BELOW

    def forgiven(self) -> None:
        """Nothing waits for it: whatever was wrong does not matter any more."""
        self.trusted()
        self.owes_wake = False

    # From the disk.

    def look_anew(self) -> None:
        """There may be something on the disk, anywhere."""
        self.has_more = True
        self.is_near_end = False
        self.horizon_ms = 0
        self._rewind()

    def look_beyond(self, horizon_ms: int) -> None:
        """There may be recipients whose due time was written by a clock that was ahead."""
        self.look_anew()
        self.horizon_ms = horizon_ms
        self._rewind()

    def _rewind(self) -> None:
        self.cursor = FIRST
        self.has_new = False
        self.is_moved = True

    def wanted(self, from_ms: int = 0) -> Wanted:
        """What may go now. What is held in a batch has the due time 0."""
        from_ms = max(from_ms, int(self.is_held))
        sizes = self.sizes
        return Wanted(from_ms, sizes.size_max, sizes.urgent_size_max) if from_ms else sizes

    def refill(self) -> None:
        """Read what comes next, while what is in memory is being sent."""
        if self.read is not None or not self.is_open:
            return
        scheduler = self.scheduler
        has_something = bool(self.ready) or any(lane.taken for lane in self.lanes)
        room = min(OCTETS_MAX - self.octets, scheduler.octets_left())
        if room < OCTETS_LEAST:
            if has_something and not (self._is_behind() and scheduler.has_reserve()):
                return  # what is settled makes room; then somebody comes here again
            if not scheduler.has_reserve():
                scheduler.wait_for_room(self)
                return
            room = OCTETS_LEAST
        self.reserved = room
        scheduler.octets += room
        self.limit = min(REFILL_MESSAGES, self.ready_max)
        self.is_moved = False
        now_ms = FAR_MS if self.horizon_ms else scheduler.attempts.now_ms(self.name)
        wanted = self.wanted(self.horizon_ms)
        self.read_ms = now_ms
        self.read = scheduler.spool.due(self.name, now_ms, self.cursor, self.limit, room, wanted)
        scheduler.reading.add(self)
        self.read.add_done_callback(self._filled)

    def _filled(self, read: "Future[list[QueuedMessage]]") -> None:
        self.read = None
        self.scheduler.reading.discard(self)
        self.scheduler.octets -= self.reserved
        ghosts, self.ghosts = self.ghosts, set()
        if read.cancelled() or self.scheduler.is_stopping:
            return
        error = read.exception()
        if error is not None:
            self.scheduler.lookout.look_later(self, f"reading what waits for {self.name}: {error}")
            return
        messages = read.result()
        if not self.is_open:
            self.look_anew()  # when it opens again
            return
        if not messages and not self.is_moved:
            self._came_to_end()
            return
        if messages and not self.is_moved:
            self.cursor = place_of(messages[-1])
            self.is_near_end = len(messages) <= self.limit // 2
        for message in messages:
            self.admit(message, ghosts)
        self.pump()
        if len(self.ready) < self.refill_below or self._is_behind():
            self.refill()

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
        if not new or (self.is_limited and not self._admits(Transaction(message, new))):
            return
        self.has_new = True
        if len(self.ready) < self.ready_max + REFILL_MESSAGES or self._make_room(new[0].rank):
            self._add(message, new)
        else:
            self._left_behind(place_of(message))

    def _came_to_end(self) -> None:
        """The cursor has seen all. When it found something, look once more from the start: what was
        put off for a moment, or came late with a small id, must not be forgotten."""
        if self.has_new or self.horizon_ms:
            self.horizon_ms = 0
            self._rewind()
            self.is_near_end = True
            self.refill()
            return
        self.has_more = False
        if self.is_site:
            self._wake(len(self.waiters))  # who has borrowed a connection gives it back now
        self.scheduler.lookout.came_to_end(self)
