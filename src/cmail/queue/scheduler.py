"""Scheduler: the outgo of one shard; what comes in goes to its routes, what others say is passed on."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from cmail.delivery.agent import DeliveryAgent
from cmail.mail.outcome import NotNow
from cmail.mail.queue_id import QueueId
from cmail.policy.routing import LMTP, LOCAL, RELAY, is_internet
from cmail.queue.admission import Admission, LinkWithOrders
from cmail.queue.alone import Alone
from cmail.queue.attempt import Attempts, MailLog
from cmail.queue.connections import Connections, finish_tasks
from cmail.queue.lookout import Lookout
from cmail.queue.reading import OCTETS_LEAST
from cmail.queue.recorder import Recorder
from cmail.queue.report import Reports
from cmail.queue.route_queue import KEY_BITS, RouteQueue
from cmail.queue.router import Router
from cmail.queue.settings import QueueSettings
from cmail.queue.thin_line import ThinLine
from cmail.storage.spool import (
    Change,
    NewMessage,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    RecipientState,
    Spool,
    SpoolError,
    first_due_ms,
)
from cmail.world import Clock

CONTENT_OCTETS_MAX: Final = 32 * 2**20  # of content in memory, all routes of a worker together
RESERVE_OCTETS: Final = 16 * 2**20  # more, for routes with nothing in memory: slow ones can't starve them


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
        link_clock: LinkWithOrders,
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
        self.admission = Admission(self, link_clock)
        self.attempts = Attempts(settings, router, clock, link_clock, log, jitter, self.admission)
        self.reports = Reports(hostname, spool.new_queue_id, clock, link_clock, log)
        self.connections = Connections(self, agents)
        self.recorder = Recorder(self)
        self.lookout = Lookout(self)
        self.alone = Alone(self)
        self.routes: dict[str, RouteQueue] = {}
        self.thin_line = ThinLine(self)
        self.active: set[int] = set()
        self.octets = 0  # of content in memory, and for what reads are under way
        self.reading: set[RouteQueue] = set()  # routes with a read under way
        self.is_site_open: Callable[[str], bool] = lambda route: True  # whether a [[site]] is there
        self.is_site_turned: Callable[[str], bool] = lambda route: False  # by the one connection of its own
        self.site_largest: Callable[[str], int] = lambda route: 0  # octets that it takes unasked; 0: all
        self.urgent_waits: Callable[[], None] = lambda: None  # for an exchange: told of each that comes
        self.is_stranger: Callable[[str], bool] = lambda relay: (
            False
        )  # who has not taken mail, as far as we know
        self.is_on_line: Callable[[], Awaitable[bool]] = (
            _yes  # asked before what a stranger refuses is believed
        )
        self._limits = limits
        self._thirsty: deque[RouteQueue] = deque()  # routes that wait for room to read
        self.is_stopping = False
        self.loop: asyncio.AbstractEventLoop
        self._tasks: set[asyncio.Task[None]] = set()
        self._was_down = False

    # Life.

    def start(self) -> None:
        """Hear of fresh messages and begin with what waits."""
        self.loop = asyncio.get_running_loop()
        self._was_down = self.link_clock.is_down
        self.spool.listen(self.fresh)
        self.lookout.start()
        self.admission.judge_held()
        self.admission.look_for_too_large()

    async def stop(self, timeout: float) -> None:
        """Start nothing more; let what is being sent end within `timeout` seconds, then cut it off."""
        self.is_stopping = True
        self.lookout.stop()
        for route in self.routes.values():
            route.gate.judge()
        await self.connections.stop(timeout)
        await finish_tasks(self._tasks, timeout)
        await self.recorder.stop(timeout)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run something beside; what goes wrong in it is logged."""
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
        if new.envelope.deliver_by_ms:
            self.lookout.has_deadline(new)
        if new.due_ms or new.envelope.hold_until_ms:
            self._wake_for(new)
            return
        routes = new.routes
        active = self.active
        base, rank = new.queue_id << KEY_BITS, new.rank
        message = QueuedMessage(
            new.queue_id,
            new.envelope,
            new.content,
            [
                QueuedRecipient(position, recipient, route, rank=rank)
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
            self.lookout.wake_at(self.route(name), first_due_ms(new, name))

    def route(self, name: str) -> RouteQueue:
        """The queue of a next hop."""
        found = self.routes.get(name)
        if found is None:
            found = self.routes[name] = RouteQueue(name, self)
        return found

    def forget_if_idle(self, route: RouteQueue) -> None:
        """A next hop with nothing to do costs no memory."""
        if route.is_idle and self.routes.get(route.name) is route:
            del self.routes[route.name]

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

    def serve_thirsty(self) -> None:
        """There may be room again."""
        while self._thirsty and self.octets_left() >= OCTETS_LEAST:
            self._thirsty.popleft().refill()

    # What others tell us.

    def link_changed(self) -> None:
        """The link clock has changed: link-down ends what needs the link, link-up starts all of it; or
        other orders hold."""
        self._link_turned()
        self.orders_changed()

    def orders_changed(self) -> None:
        """The link clock has other orders, perhaps."""
        self.admission.look()

    def _link_turned(self) -> None:
        is_down = self.link_clock.is_down
        if is_down == self._was_down:
            return
        self._was_down = is_down
        if not is_down:
            self.start_all()
            return
        for route in list(self.routes.values()):
            if route.needs_link:
                route.gate.judge()
                self.connections.cut(route)
                route.drop_ready()

    def cut_from(self, addresses: Iterable[str]) -> int:
        """These IP addresses of ours are gone with a link: end the connections that go from them, as
        link-down does; how many."""
        return self.connections.cut_from(frozenset(address.partition("%")[0] for address in addresses))

    def exchange(self) -> None:
        """An exchange begins: all that needs the link starts as at link-up, and what is batched goes, as
        far as it is there now."""
        self.start_all()
        if self.settings.batch:
            self.spawn(self._release_batch(), "exchange")

    async def _release_batch(self) -> None:
        for summary in await self.lookout.summaries():
            if is_internet(summary.route):
                await self.spool.let_go(summary.route, max(1, self.attempts.now_ms(summary.route)))
                route = self.route(summary.route)
                route.look_anew()
                route.refill()

    def start_all(self) -> None:
        """The link came up, or somebody who knows says that it is: rests and waits end at once."""
        for route in list(self.routes.values()):
            if route.needs_link:
                route.trusted()
                self.connections.end_rest(route)
        self.spawn(self._link_is_up(), "link-up")

    async def _link_is_up(self) -> None:
        """Everything starts: first what is due, then what was put off (waits mean little to who is
        on line for ten minutes a day)."""
        summaries = [s for s in await self.lookout.summaries() if self.router.needs_link(s.route)]
        for summary in summaries:
            route = self.route(summary.route)
            route.trusted()
            route.look_anew()
            route.refill()
        for summary in summaries:
            await self.connections.wake(summary.route, (NotNow.HOST, NotNow.MESSAGE))

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
        self.connections.agents = agents or self.connections.agents
        for route in list(self.routes.values()):
            self.connections.retire(route)
            route.needs_link = router.needs_link(route.name)
            route.rest_until = 0.0
            route.trusted()
            route.gate.judge()
            route.drop_ready()
        self.spawn(self.lookout.look_at_all(), "new settings")

    def upstream_changed(self) -> None:
        """The settings name another upstream server, or another way to it: what the old one said, and
        the waits that came of it, mean nothing to the new one."""
        self.spawn(self.connections.wake(RELAY, (NotNow.HOST, NotNow.MESSAGE)), "another upstream server")

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
        if change is Change.RELEASE:
            self.spawn(self.lookout.deadlines.run(), "deadlines")  # one that was moved along
        if change in (Change.FLUSH, Change.RELEASE):
            self.spawn(self._flushed(None if queue_ids is None else tuple(ids)), "flush")

    async def _flushed(self, ids: tuple[int, ...] | None) -> None:
        """Look at once where something was flushed, and forget that the next hop rests."""
        names = [s.route for s in await self.lookout.summaries()]
        if ids is not None and len(names) > 1:
            what = QueueFilter(ids=tuple(map(QueueId, ids)), states=(RecipientState.QUEUED,))
            there = {entry.route for entry in await self.spool.select(what, 10_000)}
            names = [name for name in names if name in there]
        for name in names:
            route = self.route(name)
            route.trusted()
            self.connections.end_rest(route)

    # What it can tell.

    def figures(self) -> list[dict[str, object]]:
        """Each route in memory: how much is ready, how many connections, whether it rests."""
        return [
            {
                "route": route.name,
                "ready": len(route.ready),
                "connections": len(route.lanes),
                "connections_max": self.connections_max(route.name),
                "rests_s": round(self.connections.rest_s(route)) if route.rest_until else 0,
                "reason": route.trouble.reason if route.trouble is not None else "",
            }
            for route in self.routes.values()
        ]

    def under_way(self) -> dict[tuple[int, int], float]:
        """Recipients (queue id, position) that a connection has in hand, and for how many seconds."""
        now = self.clock.monotonic()
        return {
            (transaction.message.queue_id, queued.position): now - (transaction.started or now)
            for route in self.routes.values()
            for lane in route.lanes
            for transaction in lane.taken
            for queued in transaction.recipients
        }

    def is_batch_held(self, name: str, due_ms: int) -> bool:
        """Whether a recipient on a route with this due time waits for a flush."""
        return self.is_batched and is_internet(name) and due_ms == 0

    @property
    def is_batched(self) -> bool:
        """Whether mail for the Internet waits for a flush; not while an exchange is open."""
        return self.settings.batch and not self.admission.orders.is_batch_open


async def _yes() -> bool:
    return True
