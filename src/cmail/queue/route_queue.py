"""RouteQueue: what waits for one next hop, how much of it is in memory, and the connections to it."""

from asyncio import Future
from collections import deque
from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import Transaction
from cmail.mail.limits import RECIPIENTS_PER_TRANSACTION
from cmail.mail.outcome import Outcome, PermanentFailure, TemporaryFailure
from cmail.policy.concurrency import Window
from cmail.policy.routing import is_internet
from cmail.queue.lane import Lane
from cmail.queue.router import is_for_mailboxes
from cmail.storage.spool import QueuedMessage, QueuedRecipient

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
JUDGE_AFTER_S: Final = 0.001  # connections that were woken have taken what they can by then
START: Final = (-1, -1)
FAR_MS: Final = 1 << 61  # later than every due time
ID_MAX: Final = (1 << 63) - 1
KEY_BITS: Final = 24  # of a recipient's position beside its queue id

Cursor = tuple[int, int]


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
        "has_more",
        "has_new",
        "horizon_ms",
        "is_hungry",
        "is_internet",
        "is_judging",
        "is_moved",
        "is_near_end",
        "is_open",
        "lanes",
        "limit",
        "name",
        "needs_link",
        "octets",
        "opening_count",
        "owes_wake",
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
        "trouble",
        "trouble_wall_ms",
        "waiters",
        "window",
    )

    def __init__(self, name: str, scheduler: "Scheduler") -> None:
        self.name = name
        self.scheduler = scheduler
        self.is_internet = is_internet(name)
        self.has_aliases = is_for_mailboxes(name)
        self.needs_link = scheduler.router.needs_link(name)
        # In memory.
        self.ready: deque[Transaction] = deque()
        self.octets = 0  # content of what is ready or taken
        self.recording_count = 0  # settlements on their way to the disk
        self.ready_max = READY_MAX
        self.refill_below = REFILL_BELOW
        # On the disk.
        self.has_more = False
        self.has_new = False  # this pass over the disk has found something
        self.is_near_end = False  # the last read came to the end: fresh messages may come to memory
        self.cursor: Cursor = START
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
        self.is_open = not (
            scheduler.is_stopping
            or self.rest_until
            or self.refusal is not None
            or (self.needs_link and scheduler.link_clock.is_down)
        )

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
        ready = self.ready
        content = message.content
        size = len(content.octets)
        if (
            not self.is_open
            or (self.has_more and not self.is_near_end)
            or len(ready) >= self.ready_max
            or not self._has_room(size)
            or self.is_held
        ):
            self._leave_on_disk(message.queue_id)
            return
        if len(recipients) == 1:
            self.scheduler.active.add(message.queue_id << KEY_BITS | recipients[0].position)
            self.octets += size
            self.scheduler.octets += size
            ready.append(Transaction(message, recipients))
        else:
            self._add(message, recipients)
        self.pump()

    def _has_room(self, size: int) -> bool:
        return self.octets + size <= OCTETS_MAX and self.scheduler.has_room(size)

    def _leave_on_disk(self, queue_id: int) -> None:
        if self.is_held:
            return  # a flush writes a due time and looks
        self.has_more = self.has_new = True  # has_new: a read that is under way may have begun before it
        self.is_near_end = False
        if (0, queue_id) <= self.cursor:
            self.cursor = (0, queue_id - 1)  # it came later than one with a larger id
            self.is_moved = True
        if len(self.ready) < self.refill_below:
            self.refill()

    def _add(self, message: QueuedMessage, recipients: list[QueuedRecipient]) -> None:
        """Make transactions of it; recipients share one (RFC 5321 §4.5.3.1.8: 100 at most)."""
        active = self.scheduler.active
        size = len(message.content.octets)
        for start in range(0, len(recipients), RECIPIENTS_PER_TRANSACTION):
            some = recipients[start : start + RECIPIENTS_PER_TRANSACTION]
            active.update([message.queue_id << KEY_BITS | q.position for q in some])
            self.octets += size
            self.scheduler.octets += size
            self.ready.append(Transaction(message, some))

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
        kept = [t for t in self.ready if t.message.queue_id not in ids]
        if len(kept) < len(self.ready):
            for transaction in self.ready:
                if transaction.message.queue_id in ids:
                    self.forget(transaction)
            self.ready = deque(kept)
            self.look_anew()

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
            transaction = ready.popleft()
            if self.has_more and len(ready) < self.refill_below:
                self.refill()
            if self.has_aliases and not self._without_aliases(transaction):
                continue
            if not lane.taken_count:
                self.opening_count -= 1
                lane.setup_s = max(0.0, scheduler.clock.monotonic() - lane.opened_at)
            return transaction
        if self.has_more:
            self.refill()
        return None

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
        if self.is_open:
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
            if self.ready:
                self._judge_soon()
        return future

    # Connections.

    def pump(self) -> None:
        """Give what is ready to who idles, then see whether further connections are needed."""
        if not self.ready or not self.is_open:
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
        count = len(self.ready)
        if not count or not self.is_open:
            return
        if self._wake(count):
            self.pump()
            return
        room = self.scheduler.connections_max(self.name) - len(self.lanes)
        room = min(room, self.window.size - len(self.lanes), -(-count // AT_ONCE) - self.opening_count)
        if room > 0:
            self._open(room)

    def _open(self, count: int) -> None:
        for _ in range(count):
            if not self.scheduler.connections.open(self):
                return
            self.opening_count += 1

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
        self.cursor = (self.horizon_ms, -1) if self.horizon_ms else (0, ID_MAX) if self.is_held else START
        self.has_new = False
        self.is_moved = True

    def refill(self) -> None:
        """Read what comes next, while what is in memory is being sent."""
        if self.read is not None or not self.is_open:
            return
        scheduler = self.scheduler
        has_something = bool(self.ready) or any(lane.taken for lane in self.lanes)
        room = min(OCTETS_MAX - self.octets, scheduler.octets_left())
        if room < OCTETS_LEAST:
            if has_something:
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
        self.read_ms = now_ms
        self.read = scheduler.spool.due(self.name, now_ms, self.cursor, self.limit, room)
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
            self.cursor = (messages[-1].recipients[0].due_ms, messages[-1].queue_id)
            self.is_near_end = len(messages) <= self.limit // 2
        for message in messages:
            self.admit(message, ghosts)
        self.pump()
        if len(self.ready) < self.refill_below:
            self.refill()

    def admit(self, message: QueuedMessage, ghosts: "frozenset[int] | set[int]" = frozenset()) -> None:
        """Take a message from the disk to memory, as far as it is not there."""
        if message.envelope.hold_until_ms > self.scheduler.clock.wall_ms():
            return  # RFC 4865: its sender said when
        active = self.scheduler.active
        base = message.queue_id << KEY_BITS
        new = [
            q
            for q in message.recipients
            if (base | q.position) not in active and (base | q.position) not in ghosts
        ]
        if new:
            self.has_new = True
            self._add(message, new)

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
        self.scheduler.lookout.came_to_end(self)
