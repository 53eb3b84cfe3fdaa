"""Scheduler: decides what is due, gives it to connections a next hop, and records how each attempt ended."""

import asyncio
import random
from asyncio import Future
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from cmail.delivery.agent import (
    DeliveryAgent,
    Ending,
    Finished,
    HostTrouble,
    RouteRefusal,
    Transaction,
)
from cmail.mail.outcome import NotNow, Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.queue_id import QueueId
from cmail.mail.status import BAD_CONNECTION, LOCAL_TROUBLE
from cmail.policy import retry
from cmail.policy.routing import LMTP, LOCAL, RELAY, is_internet
from cmail.queue.attempt import Attempts, Conclusion, MailLog
from cmail.queue.lane import Lane
from cmail.queue.report import Reports, needs_head, read_head
from cmail.queue.route_queue import (
    FAR_MS,
    FRUITLESS_MAX,
    KEY_BITS,
    OCTETS_LEAST,
    RouteQueue,
)
from cmail.queue.router import Router
from cmail.queue.settings import QueueSettings
from cmail.queue.sweep import EVERY_S, Sweep
from cmail.queue.wakeups import Wakeups
from cmail.queue.why import why
from cmail.storage.spool import (
    Change,
    NewMessage,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    RouteSummary,
    Settlement,
    Spool,
    SpoolError,
    first_due_ms,
)
from cmail.world import Clock, LinkClock

CONTENT_OCTETS_MAX: Final = 32 * 2**20  # of content in memory, all routes of a worker together
RESERVE_OCTETS: Final = 16 * 2**20  # more, for routes with nothing in memory: slow ones can't starve them
LANES_MAX: Final = 400  # connections of a worker, all routes together: a process has 1024 files
ROUTES_LOOKED_AT_MAX: Final = 10_000  # at once, of those that wait; the others come up later
LOOK_EVERY_S: Final = 60.0  # the slow look at all routes, should a timer have been missed
OFFLINE_WAIT_S: Final = 60.0  # when a delivery has found us off line and no link-up is seen
RETRY_RECORD_S: Final = 1.0  # when an outcome could not be recorded, or the disk not be read
FRUITLESS_S: Final = 1.0  # a connection that ends sooner without having taken what is ready: in vain
MARGIN_MS: Final = 300_000  # a due time so far beyond the longest wait was written by a wrong clock
CLOCK_STEP_MS: Final = 30_000  # the wall clock was set back, when it falls behind by more than this
INTERNAL: Final = TemporaryFailure("an error of ours, see the log", detail=LOCAL_TROUBLE)
FRUITLESS: Final = TemporaryFailure(
    "its connections end before anything is sent", NotNow.HOST, BAD_CONNECTION
)


class Scheduler:
    """The outgo of one shard.

    Each recipient is in at most one transaction: its key is in `active` from when it comes to memory
    until its outcome is recorded. Nothing on the disk is forgotten: see RouteQueue.has_more."""

    def __init__(
        self,
        spool: Spool,
        agents: Mapping[str, DeliveryAgent],
        router: Router,
        settings: QueueSettings,
        clock: Clock,
        link_clock: LinkClock,
        limits: Callable[[str], int],
        log: MailLog,
        hostname: str = "localhost",
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`agents` by the kind of route: local, lmtp, relay, mx. `limits`: how many connections this
        worker may have to a route."""
        self.spool = spool
        self.settings = settings
        self.router = router
        self.clock = clock
        self.link_clock = link_clock
        self.log = log
        self.attempts = Attempts(settings, router, clock, link_clock, log, jitter)
        self.reports = Reports(hostname, spool.new_queue_id, clock, link_clock, log)
        self._agents = agents
        self._limits = limits
        self._jitter = jitter
        self.routes: dict[str, RouteQueue] = {}
        self.active: set[int] = set()
        self.octets = 0
        self.hungry: deque[RouteQueue] = deque()  # routes that wait for a connection, in turn
        self._gone: deque[int] = deque(maxlen=100)  # messages that _see_whether_removed has told of
        self._thirsty: deque[RouteQueue] = deque()  # routes that wait for room to read
        self.is_stopping = False
        self.loop: asyncio.AbstractEventLoop
        self._lanes_count = 0
        self._recording: deque[tuple[Future[None], RouteQueue, Transaction, Settlement]] = deque()
        self._is_watched = False  # the last of _recording tells us
        self._wakeups = Wakeups()
        self._timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._unblock_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._unproved: set[str] = set()  # routes with what a process before us may have deferred
        self._drift_ms = 0
        self._was_down = False
        self._sweep = Sweep(self)
        self._swept_at = 0.0

    # Life.

    def start(self) -> None:
        """Hear of fresh messages and begin with what waits."""
        self.loop = asyncio.get_running_loop()
        self._drift_ms = self._drift()
        self._was_down = self.link_clock.is_down
        self.spool.listen(self.fresh)
        self._spawn(self._begin(), "scheduler begin")
        self._look_timer = self.loop.call_later(LOOK_EVERY_S, self._look_slowly)

    async def stop(self, timeout: float) -> None:
        """Start nothing more; let what is being sent end within `timeout` seconds, then cut it off."""
        self.is_stopping = True
        for timer in (self._timer, self._look_timer, self._unblock_timer):
            if timer is not None:
                timer.cancel()
        lanes = [lane for route in self.routes.values() for lane in route.lanes]
        for route in self.routes.values():
            route.judge_gate()
        for lane in lanes:
            if not lane.taken and lane.task is not None:
                lane.task.cancel()
        tasks = [lane.task for lane in lanes if lane.task is not None]
        await _end(tasks, timeout)
        await asyncio.sleep(0)  # what ended is told in callbacks
        await _end(self._tasks, timeout)
        pending = [entry[0] for entry in self._recording if not entry[0].done()]
        if pending:
            await asyncio.wait(pending, timeout=timeout)

    async def _begin(self) -> None:
        summaries = await self._summaries()
        self._unproved.update(s.route for s in summaries[:ROUTES_LOOKED_AT_MAX])
        self._look_at(summaries, is_clock_doubted=True)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = self.loop.create_task(self._guarded(coroutine, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await coroutine
        except SpoolError as error:
            self.log.warned(f"{name}: {error}")
        except Exception:
            self.log.failed(name)

    # What comes in.

    def fresh(self, new: NewMessage) -> None:
        """A message became durable: it goes to its routes from memory, at once."""
        if new.is_held or self.is_stopping:
            return
        if new.due_ms or new.envelope.hold_until_ms:
            self._wake_for(new)
            return
        routes = new.routes
        active = self.active
        base = new.queue_id << KEY_BITS
        message = QueuedMessage(
            new.queue_id,
            new.envelope,
            new.content,
            [
                QueuedRecipient(position, recipient, route)
                for position, (recipient, route) in enumerate(
                    zip(new.envelope.recipients, routes, strict=True)
                )
            ],
            len(routes),
            new.arrived_wall_ms,
            new.arrived_link_ms,
            new.origin,
        )
        if len(routes) == 1:
            if base not in active:
                self.route(routes[0]).add_fresh(message, message.recipients)
            return
        groups: dict[str, list[QueuedRecipient]] = {}
        for queued in message.recipients:
            if base | queued.position not in active:
                groups.setdefault(queued.route, []).append(queued)
        for name, recipients in groups.items():
            self.route(name).add_fresh(message, recipients)

    def _wake_for(self, new: NewMessage) -> None:
        """It is not due yet: its sender said when (RFC 4865), or we did."""
        for name in set(new.routes):
            self.wake_at(self.route(name), first_due_ms(new, name))

    def route(self, name: str) -> RouteQueue:
        """The queue of a next hop."""
        found = self.routes.get(name)
        if found is None:
            found = self.routes[name] = RouteQueue(name, self)
        return found

    # Room.

    def has_room(self, size: int) -> bool:
        """Whether content of this size may come to memory."""
        return self.octets + size <= CONTENT_OCTETS_MAX

    def octets_left(self) -> int:
        """How much content may come to memory."""
        return CONTENT_OCTETS_MAX - self.octets

    def has_reserve(self) -> bool:
        """Whether a route that has nothing in memory may have its first messages all the same."""
        return self.octets < CONTENT_OCTETS_MAX + RESERVE_OCTETS

    def wait_for_room(self, route: RouteQueue) -> None:
        """Read for it when there is room again; it is marked by being in the line."""
        if route not in self._thirsty:
            self._thirsty.append(route)

    def connections_max(self, name: str) -> int:
        """How many connections to a route this worker may have now."""
        return max(1, self._limits(name))

    # Connections.

    def open_lane(self, route: RouteQueue) -> bool:
        """Start a connection; False when there are too many, then the route is served in its turn."""
        if self.is_stopping:
            return False
        if self.spool.is_blocked:
            self.await_unblocking()
            return False
        if self._lanes_count >= LANES_MAX:
            if not route.is_hungry:
                route.is_hungry = True
                self.hungry.append(route)
            return False
        agent = self._agents[route.name.partition(":")[0]]
        lane = Lane(route, self.clock.monotonic())
        self._lanes_count += 1
        route.lanes.add(lane)
        lane.task = self.loop.create_task(self._run(agent, lane), name=f"delivery to {route.name}")
        lane.task.add_done_callback(lambda task: self._closed(lane, task))
        return True

    async def _run(self, agent: DeliveryAgent, lane: Lane) -> None:
        ending: Ending
        try:
            ending = await agent.run(lane.route.name, lane)
        except Exception:
            self.log.failed(f"delivery to {lane.route.name}")
            ending = HostTrouble(INTERNAL)
        self._ended(lane, ending)

    def _closed(self, lane: Lane, task: "asyncio.Task[None]") -> None:
        """The task of a connection is gone, in whatever way."""
        route = lane.route
        self._lanes_count -= 1
        route.lanes.discard(lane)
        if not lane.taken_count:
            route.opening_count -= 1
        if not task.cancelled() and task.exception() is not None:
            self.log.warned(f"delivery to {route.name}: {task.exception()!r}")
        for transaction in list(lane.taken):  # a mistake of the agent's: it must not cost a message
            lane.settle(transaction, dict.fromkeys([q.position for q in transaction.recipients], INTERNAL))
        self._serve_hungry()
        route.pump()
        if route.has_more and not route.ready:
            route.refill()
        if route.is_idle:
            self.routes.pop(route.name, None)

    def _serve_hungry(self) -> None:
        """Who waited longest for a connection gets the one that is free now."""
        while self.hungry and self._lanes_count < LANES_MAX and not self.is_stopping:
            route = self.hungry.popleft()
            route.is_hungry = False
            route.pump()

    def _ended(self, lane: Lane, ending: Ending) -> None:
        """What the end of a connection says about its next hop."""
        route = lane.route
        route.lanes.discard(lane)
        match ending:
            case Finished():
                self._finished(lane)
            case HostTrouble(failure=failure):
                self._trouble(lane, failure)
            case RouteRefusal(failure=refusal):
                self._refuse(route, refusal)

    def _finished(self, lane: Lane) -> None:
        """It ended in order. When that happens again and again with nothing done, something is wrong."""
        route = lane.route
        is_short = self.clock.monotonic() - lane.opened_at < FRUITLESS_S
        if lane.settled_count:
            route.fruitless_count = 0
        elif lane.taken_count or (route.ready and is_short and route.is_open and not lane.is_spent):
            route.fruitless_count += 1
            if route.fruitless_count >= FRUITLESS_MAX:
                route.fruitless_count = 0
                self._rest(route, FRUITLESS)

    def first_success(self, route: RouteQueue) -> None:
        """The first connection to it since we started has delivered."""
        if route.name in self._unproved:
            self._unproved.discard(route.name)
            self.wake_deferred(route)

    # Trouble.

    def _trouble(self, lane: Lane, failure: TemporaryFailure) -> None:
        route = lane.route
        if failure.kind is NotNow.OFFLINE:
            self._rest_offline(route, failure)
        elif lane.has_delivered:
            return  # it worked until now: the next connection will tell
        elif any(other.has_delivered for other in route.lanes):
            route.window.refused(len(route.lanes), self.clock.monotonic())  # others work: it was one too many
        else:
            self._rest(route, failure)

    def _rest(self, route: RouteQueue, failure: TemporaryFailure) -> None:
        """Leave a next hop alone for a while, and defer what is in memory for it."""
        if route.rest_until or route.refusal is not None:
            return  # another connection has said so already
        route.doubted()
        self._close_gate(route, failure, self.host_wait_ms(route) / 1000)
        self.log.warned(f"{route.name}: {failure.reason}; next try in {self._rest_s(route):.0f} s")
        while route.ready:
            transaction = route.ready.popleft()
            outcomes = dict.fromkeys([q.position for q in transaction.recipients], failure)
            self.conclude(route, None, transaction, outcomes, host_wait_ms=int(self._rest_s(route) * 1000))
        route.look_anew()

    def _rest_offline(self, route: RouteQueue, failure: TemporaryFailure) -> None:
        """We are off line: nothing is counted, all stays on the disk as it is."""
        if not route.rest_until:
            self._close_gate(route, failure, OFFLINE_WAIT_S)
        route.drop_ready()

    def _close_gate(self, route: RouteQueue, failure: TemporaryFailure, wait_s: float) -> None:
        now = self.clock.monotonic()
        route.trouble, route.trouble_wall_ms = failure, self.clock.wall_ms()
        route.rest_until = now + wait_s
        route.judge_gate()
        self._arm(route.name, route.rest_until)

    def _rest_s(self, route: RouteQueue) -> float:
        return max(0.0, route.rest_until - self.clock.monotonic())

    def host_wait_ms(self, route: RouteQueue) -> int:
        """The back-off of a next hop after its failures in a row."""
        return retry.wait_ms(route.failures, self.settings.retry, self._jitter())

    def end_rest(self, route: RouteQueue) -> None:
        """Try a next hop again."""
        route.rest_until = 0.0
        route.judge_gate()
        route.look_anew()
        route.refill()

    def wake_deferred(self, route: RouteQueue) -> None:
        """A next hop is back: all that waits because of it moves at once."""
        self._spawn(self._wake(route.name, (NotNow.HOST,)), f"wake {route.name}")

    async def _wake(self, name: str, kinds: Sequence[NotNow]) -> None:
        now_ms = self.attempts.now_ms(name)
        woken = [await self.spool.wake(name, kind, now_ms) for kind in kinds]
        if any(woken):
            route = self.route(name)
            route.look_anew()
            route.refill()

    def _refuse(self, route: RouteQueue, failure: PermanentFailure) -> None:
        """The next hop can never be: bounce all that waits for it."""
        if route.refusal is None:
            route.refusal = failure
            route.judge_gate()
            self._spawn(self._bounce_all(route, failure), f"bounce {route.name}")

    async def _bounce_all(self, route: RouteQueue, failure: PermanentFailure) -> None:
        try:
            after = (0, QueueId((1 << 63) - 1)) if route.is_held else (-1, QueueId(-1))
            while not self.is_stopping:
                self._bounce_ready(route, failure)
                found = await self.spool.due(route.name, FAR_MS, after, 100, OCTETS_LEAST)
                if not found:
                    break
                for message in found:
                    route.admit(message)
                after = (found[-1].recipients[0].due_ms, found[-1].queue_id)
        finally:
            route.refusal = None
            route.judge_gate()
            route.look_anew()
            route.refill()

    def _bounce_ready(self, route: RouteQueue, failure: PermanentFailure) -> None:
        while route.ready:
            transaction = route.ready.popleft()
            outcomes = dict.fromkeys([q.position for q in transaction.recipients], failure)
            self.conclude(route, None, transaction, outcomes)

    # How attempts end.

    def conclude(
        self,
        route: RouteQueue,
        lane: Lane | None,
        transaction: Transaction,
        outcomes: Mapping[int, Outcome],
        setup_s: float = 0.0,
        sending_s: float = 0.0,
        host_wait_ms: int | None = None,
    ) -> bool:
        """Record how a transaction ended; whether something of it was delivered."""
        if host_wait_ms is None:
            host_wait_ms = 0 if self._is_proved(route, lane) else self._wait_after_failure_ms(route)
        message = transaction.message
        end = self.attempts.conclude(
            message,
            transaction.recipients,
            outcomes,
            setup_s=setup_s,
            sending_s=sending_s,
            host_wait_ms=host_wait_ms,
        )
        self.finish(route, transaction, end)
        if end.untried:
            offline = outcomes[end.untried[0].position]
            assert isinstance(offline, TemporaryFailure)
            self._rest_offline(route, offline)
        return end.delivered_count > 0

    def _is_proved(self, route: RouteQueue, lane: Lane | None) -> bool:
        """Whether the next hop works, so that HOST trouble is one message's own. Else a message at
        which a peer hangs up would be woken and tried again without end."""
        return bool(lane is not None and lane.has_delivered) or any(
            other.has_delivered for other in route.lanes
        )

    def _wait_after_failure_ms(self, route: RouteQueue) -> int:
        if route.rest_until:
            return max(1000, int(self._rest_s(route) * 1000))
        return retry.wait_ms(route.failures + 1, self.settings.retry, self._jitter())

    def adopt(self, route: RouteQueue, transaction: Transaction, end: Conclusion) -> None:
        """Record a conclusion about recipients that no connection had: active until it is recorded."""
        base = transaction.message.queue_id << KEY_BITS
        self.active.update([base | queued.position for queued in transaction.recipients])
        size = len(transaction.message.content.octets)
        route.octets += size
        self.octets += size
        self.finish(route, transaction, end)

    def finish(self, route: RouteQueue, transaction: Transaction, end: Conclusion) -> None:
        """Have a conclusion recorded with all that it owes."""
        message = transaction.message
        if end.untried and not (end.finals or end.deferrals):
            route.forget(transaction)
            return
        if end.tells and needs_head(message) and message.envelope.reverse_path is not None:
            self._spawn(self._finish_later(route, transaction, end), "report")
            return
        self._finish(route, transaction, end, None)

    async def _finish_later(self, route: RouteQueue, transaction: Transaction, end: Conclusion) -> None:
        head = await asyncio.to_thread(read_head, transaction.message.content.path)
        self._finish(route, transaction, end, head)

    def _finish(
        self, route: RouteQueue, transaction: Transaction, end: Conclusion, head: bytes | None
    ) -> None:
        message = transaction.message
        owed = self.reports.owed(message, end.tells, self.router, head) if end.tells else ()
        message.recipients_count += len(end.added) - len(end.finals)
        settlement = Settlement(
            message.queue_id,
            tuple(end.finals),
            tuple(end.deferrals),
            tuple(end.added),
            owed,
            is_whole=not message.recipients_count,
        )
        self.record(route, transaction, settlement)
        if end.deferrals:
            self.wake_at(route, min(deferral.due_ms for deferral in end.deferrals))
            route.owes_wake |= any(deferral.kind is NotNow.HOST for deferral in end.deferrals)

    def _may_be_gone(self, message: QueuedMessage) -> bool:
        """Nobody of this copy is in memory any more, and the others may have ended on other routes."""
        base = message.queue_id << KEY_BITS
        return not any(base | queued.position in self.active for queued in message.recipients)

    async def _see_whether_removed(self, queue_id: QueueId) -> None:
        """Only the spool knows whether another route has ended the rest of the message."""
        found = await self.spool.select(QueueFilter(ids=(queue_id,)), 1)
        if not found and queue_id not in self._gone:
            self._gone.append(queue_id)  # two routes that end together ask both
            self.log.removed(queue_id)

    def record(self, route: RouteQueue, transaction: Transaction, settlement: Settlement) -> None:
        """Have it made durable; until then its recipients stay active."""
        future = self.spool.settle(settlement)
        self._recording.append((future, route, transaction, settlement))
        if not self._is_watched:
            self._is_watched = True
            future.add_done_callback(self._recorded)

    def _recorded(self, _: "Future[None]") -> None:
        """A commit is done. Settlements are recorded in order, many at a time: one callback does all."""
        recording = self._recording
        while recording and recording[0][0].done():
            future, route, transaction, settlement = recording.popleft()
            if future.cancelled() or future.exception() is not None:
                self._record_again(route, transaction, settlement, future)
                continue
            route.release(transaction)
            self.deactivate(route, transaction)
            if settlement.is_whole:
                self.log.removed(settlement.queue_id)
            elif settlement.finals and self._may_be_gone(transaction.message):
                self._spawn(self._see_whether_removed(settlement.queue_id), "removed?")
            if settlement.added:
                self._adopt(settlement.added)
            if route.has_more and not route.ready and route.read is None:
                route.refill()
        while self._thirsty and self.octets_left() >= OCTETS_LEAST:
            self._thirsty.popleft().refill()
        self._is_watched = bool(recording)
        if recording:
            recording[-1][0].add_done_callback(self._recorded)

    def _record_again(
        self,
        route: RouteQueue,
        transaction: Transaction,
        settlement: Settlement,
        future: "Future[None]",
    ) -> None:
        """The outcome stays in memory until it is recorded: it is not to be tried again."""
        why = "cancelled" if future.cancelled() else future.exception()
        self.log.warned(f"an outcome could not be recorded, trying again: {why}")
        if not self.is_stopping:
            self.loop.call_later(RETRY_RECORD_S, self.record, route, transaction, settlement)

    def deactivate(self, route: RouteQueue, transaction: Transaction) -> None:
        """Its recipients are not in memory any more."""
        base = transaction.message.queue_id << KEY_BITS
        keys = [base | queued.position for queued in transaction.recipients]
        self.active.difference_update(keys)
        if route.read is not None:
            route.ghosts.update(keys)

    def _adopt(self, added: Sequence[QueuedRecipient]) -> None:
        """Alias targets are durable: the routes of theirs have something on the disk."""
        for name in {queued.route for queued in added}:
            route = self.route(name)
            if not route.is_held:
                route.look_anew()
                route.refill()

    # Time.

    def wake_at(self, route: RouteQueue, due_ms: int) -> None:
        """Something of a route is due at a time of its clock."""
        if route.needs_link and self.link_clock.is_down:
            return  # its clock stands still; at link-up everything is looked at
        wait_s = (due_ms - self.attempts.now_ms(route.name)) / 1000
        self._arm(route.name, self.clock.monotonic() + max(0.0, wait_s))

    def look_later(self, route: RouteQueue, why: str) -> None:
        """The disk could not be read: try again in a moment."""
        self.log.warned(why)
        self._arm(route.name, self.clock.monotonic() + RETRY_RECORD_S)

    def _arm(self, name: str, time: float) -> None:
        if self._wakeups.at(name, time) and not self.is_stopping:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        first = self._wakeups.first
        wait_s = None if first is None else max(0.001, first - self.clock.monotonic())
        self._timer = None if wait_s is None else self.loop.call_later(min(wait_s, 3600.0), self.look)

    def look(self) -> None:
        """Look at the routes whose time has come. The timer calls it; a test may."""
        now = self.clock.monotonic()
        for name in self._wakeups.take(now):
            route = self.route(name)
            if not route.rest_until:
                route.look_anew()
                route.refill()
            elif route.rest_until <= now:
                self.end_rest(route)
            else:
                self._wakeups.at(name, route.rest_until)
        self._set_timer()

    def came_to_end(self, route: RouteQueue) -> None:
        """All that is due on a route is in memory: when is the next?"""
        self._spawn(self._peek(route), f"peek {route.name}")

    async def _peek(self, route: RouteQueue) -> None:
        now_ms = self.attempts.now_ms(route.name)
        after = (now_ms, (1 << 63) - 1)
        for message in await self.spool.due(route.name, FAR_MS, after, 1, 1):
            due_ms = message.recipients[0].due_ms
            is_ours = message.envelope.hold_until_ms <= self.clock.wall_ms()
            if is_ours and due_ms > self._horizon_ms(route):
                route.look_beyond(self._horizon_ms(route))
                route.refill()
            else:
                self.wake_at(route, due_ms)
        if route.is_idle:
            self.routes.pop(route.name, None)

    def _horizon_ms(self, route: RouteQueue) -> int:
        """A due time beyond it was written by a clock that was ahead: it counts as due now."""
        return self.attempts.now_ms(route.name) + retry.wait_max_ms(self.settings) + MARGIN_MS

    def _drift(self) -> int:
        return self.clock.wall_ms() - int(self.clock.monotonic() * 1000)

    def _look_slowly(self) -> None:
        self._look_timer = self.loop.call_later(LOOK_EVERY_S, self._look_slowly)
        self._spawn(self.look_at_all(), "slow look")
        if self.clock.monotonic() >= self._swept_at + EVERY_S:
            self._swept_at = self.clock.monotonic()
            self._spawn(self._sweep.run(), "sweep")

    async def sweep(self) -> None:
        """Expire and tell what rests on the disk. Done by itself every quarter of an hour."""
        await self._sweep.run()

    async def look_at_all(self) -> None:
        """See whether a route was missed, and whether somebody has set the clock back."""
        drift_ms = self._drift()
        is_back = drift_ms < self._drift_ms - CLOCK_STEP_MS
        self._drift_ms = drift_ms
        summaries = await self._summaries()
        self._look_at(summaries, is_clock_doubted=is_back)
        waiting = {summary.route for summary in summaries}
        for route in list(self.routes.values()):
            if route.failures and not route.rest_until and route.name not in waiting:
                route.trusted()  # nothing waits for it any more: its troubles are forgotten
                if route.is_idle:
                    self.routes.pop(route.name, None)

    async def _summaries(self) -> list[RouteSummary]:
        found = list(await self.spool.routes())
        found.sort(key=lambda summary: summary.first_due_ms)
        return found

    def _look_at(self, summaries: Sequence[RouteSummary], is_clock_doubted: bool) -> None:
        for summary in summaries[:ROUTES_LOOKED_AT_MAX]:
            route = self.route(summary.route)
            if route.rest_until or route.ready or route.read is not None:
                continue  # it is at it, or will be
            if is_clock_doubted:
                route.look_beyond(self._horizon_ms(route))
                route.refill()
            elif summary.first_due_ms <= self.attempts.now_ms(route.name):
                route.look_anew()
                route.refill()
            else:
                self.wake_at(route, summary.first_due_ms)

    # The spool is full.

    def await_unblocking(self) -> None:
        """An outcome could not be recorded: start nothing until it is."""
        if self._unblock_timer is None and not self.is_stopping:
            self._unblock_timer = self.loop.call_later(RETRY_RECORD_S, self._look_whether_unblocked)

    def _look_whether_unblocked(self) -> None:
        self._unblock_timer = None
        if self.spool.is_blocked:
            self.await_unblocking()
            return
        for route in list(self.routes.values()):
            route.pump()

    # What others tell us.

    def link_changed(self) -> None:
        """The link clock has changed: link-down ends what needs the link, link-up starts all of it."""
        is_down = self.link_clock.is_down
        if is_down == self._was_down:
            return
        self._was_down = is_down
        for route in list(self.routes.values()):
            if not route.needs_link:
                continue
            if not is_down:
                route.rest_until = 0.0
            route.judge_gate()
            if is_down:
                self._cut(route)
            else:
                route.trusted()
                route.look_anew()
                route.refill()
        if not is_down:
            self._spawn(self._link_is_up(), "link-up")

    def _cut(self, route: RouteQueue) -> None:
        for lane in route.lanes:
            if lane.task is not None:
                lane.task.cancel()
        route.drop_ready()

    async def _link_is_up(self) -> None:
        """Everything starts: first what is due, then what was put off (waits mean little to who is
        on line for ten minutes a day)."""
        summaries = [s for s in await self._summaries() if self.router.needs_link(s.route)]
        for summary in summaries[:ROUTES_LOOKED_AT_MAX]:
            route = self.route(summary.route)
            route.trusted()
            route.look_anew()
            route.refill()
        for summary in summaries[:ROUTES_LOOKED_AT_MAX]:
            await self._wake(summary.route, (NotNow.HOST, NotNow.MESSAGE))

    def use_router(self, router: Router) -> None:
        """Accounts have changed."""
        self.router = self.attempts.router = router

    def apply(
        self, settings: QueueSettings, router: Router, agents: Mapping[str, DeliveryAgent] | None = None
    ) -> None:
        """New settings: what is in memory is left to the disk and looked at anew, next hops may be
        others, and connections end with what they have in hand."""
        self.settings = self.attempts.settings = settings
        self.use_router(router)
        self._agents = agents or self._agents
        for route in list(self.routes.values()):
            for lane in route.lanes:
                lane.is_spent = True
            route.needs_link = router.needs_link(route.name)
            route.rest_until = 0.0
            route.trusted()
            route.judge_gate()
            route.drop_ready()
        self._spawn(self.look_at_all(), "new settings")

    def change_times(self) -> dict[str, int]:
        """The due times that spool.change() is to write: now, on the clock of each route."""
        times = {"": self.link_clock.link_ms()}
        for name in {LOCAL, LMTP, RELAY, *self.routes}:
            if not self.router.needs_link(name):
                times[name] = self.clock.wall_ms()
        return times

    def changed(self, change: Change, queue_ids: Sequence[int] | None) -> None:
        """An operator changed recipients on the disk (after spool.change()). None: more than could
        be named, take it for everything."""
        ids = frozenset(queue_ids or ())
        for route in list(self.routes.values()):
            if queue_ids is None:
                route.drop_ready()
            else:
                route.drop(ids)
            if route.has_more:
                route.refill()
        if change in (Change.FLUSH, Change.RELEASE):
            self._spawn(self._flushed(None if queue_ids is None else tuple(ids)), "flush")

    async def _flushed(self, ids: tuple[int, ...] | None) -> None:
        """Look at once where something was flushed, and forget that the next hop rests."""
        names = [s.route for s in await self._summaries()][:ROUTES_LOOKED_AT_MAX]
        if ids is not None and len(names) > 1:
            what = QueueFilter(ids=tuple(map(QueueId, ids)))
            there = {entry.route for entry in await self.spool.select(what, 10_000)}
            names = [name for name in names if name in there]
        for name in names:
            route = self.route(name)
            route.trusted()
            self.end_rest(route)

    # What it can tell.

    def figures(self) -> list[dict[str, object]]:
        """Each route in memory: how much is ready, how many connections, whether it rests."""
        return [
            {
                "route": route.name,
                "ready": len(route.ready),
                "connections": len(route.lanes),
                "rests_s": round(self._rest_s(route)) if route.rest_until else 0,
                "reason": route.trouble.reason if route.trouble is not None else "",
            }
            for route in self.routes.values()
        ]

    async def why(self, queue_id: QueueId, position: int) -> str | None:
        """What a recipient waits for, in words; None when it is not in the queue."""
        return await why(self, queue_id, position)

    def is_batch_held(self, name: str, due_ms: int) -> bool:
        """Whether a recipient on a route with this due time waits for a flush."""
        return self.settings.batch and is_internet(name) and due_ms == 0


async def _end(tasks: Iterable["asyncio.Task[None]"], timeout: float) -> None:
    """Let tasks come to their end, then cut them off."""
    waiting = set(tasks)
    if not waiting:
        return
    _, late = await asyncio.wait(waiting, timeout=timeout)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
