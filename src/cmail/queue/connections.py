"""Connections: starts lanes to next hops, and draws the conclusions from how they end."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from cmail.delivery.agent import DeliveryAgent, Ending, Finished, HostTrouble, RouteRefusal
from cmail.mail.outcome import NotNow, Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.status import BAD_CONNECTION, LOCAL_TROUBLE
from cmail.policy import retry
from cmail.queue.lane import Lane
from cmail.queue.reading import FAR_MS, OCTETS_LEAST
from cmail.queue.route_queue import RouteQueue
from cmail.storage.spool import FIRST, Place, QueuedMessage, SpoolFullError, place_of

if TYPE_CHECKING:
    from cmail.queue.scheduler import Scheduler

LANES_MAX: Final = 400  # connections of a worker, all routes together: a process has 1024 files
PAGE: Final = 100  # messages read at once, when all that waits is bounced
# When a delivery has found us off line and no link-up is seen: soon, because a line that has just come up may
# need a moment (a neighbour that did not answer before), then seldom.
OFFLINE_WAIT_MIN_S: Final = 0.25
OFFLINE_WAIT_MAX_S: Final = 60.0
UNFOUND_WAIT_MIN_S: Final = 1.0  # the DNS does not find a host that the settings name
UNFOUND_WAIT_MAX_S: Final = 60.0
WAKE_TRIES: Final = 60  # on a full disk
WAKE_AGAIN_S: Final = 1.0
FRUITLESS_MAX: Final = 3  # connections in a row that ended in order without having settled anything
FRUITLESS_S: Final = 1.0  # a connection that ends sooner without having taken what is ready: in vain
INTERNAL: Final = TemporaryFailure("an error of ours, see the log", detail=LOCAL_TROUBLE)
NOBODY: Final = TemporaryFailure("nothing in the settings delivers this way", NotNow.HOST, LOCAL_TROUBLE)
FRUITLESS: Final = TemporaryFailure(
    "its connections end before anything is sent", NotNow.HOST, BAD_CONNECTION
)


class Connections:
    """All lanes of a worker. A next hop that fails rests; one that can never be has its mail bounced;
    neither holds the others."""

    def __init__(self, scheduler: "Scheduler", agents: Mapping[str, DeliveryAgent]) -> None:
        self._scheduler = scheduler
        self.agents = agents
        self.hungry: deque[RouteQueue] = deque()  # routes that wait for a connection, in turn
        self._count = 0
        self._unproved: set[str] = set()  # routes with what a process before us may have deferred

    def doubt(self, names: Sequence[str]) -> None:
        """Recipients of these routes may wait because of a next hop: its first success wakes them."""
        self._unproved.update(names)

    def open(self, route: RouteQueue) -> bool:
        """Start a connection; False when there are too many, then the route is served in its turn."""
        if self._scheduler.is_stopping:
            return False
        if self._scheduler.spool.is_blocked:
            self._scheduler.lookout.await_unblocking()
            return False
        if self._count >= LANES_MAX:
            if not route.is_hungry:
                route.is_hungry = True
                self.hungry.append(route)
            return False
        agent = self.agents.get(route.name.partition(":")[0])
        if agent is None:
            self._rest(route, NOBODY)
            return False
        lane = Lane(route, self._scheduler.clock.monotonic())
        self._count += 1
        route.lanes.add(lane)
        lane.task = self._scheduler.loop.create_task(self._run(agent, lane), name=f"delivery to {route.name}")
        lane.task.add_done_callback(lambda task: self._closed(lane, task))
        self._scheduler.thin_line.used(route)
        return True

    async def _run(self, agent: DeliveryAgent, lane: Lane) -> None:
        ending: Ending
        try:
            ending = await agent.run(lane.route.name, lane)
        except Exception:
            self._scheduler.log.failed(f"delivery to {lane.route.name}")
            ending = HostTrouble(INTERNAL)
        self._ended(lane, ending)

    def _closed(self, lane: Lane, task: "asyncio.Task[None]") -> None:
        """The task of a connection is gone, in whatever way."""
        route = lane.route
        self._count -= 1
        route.lanes.discard(lane)
        route.pausing.forget(lane)
        if not lane.taken_count:
            route.opening.count -= 1
        if not task.cancelled() and task.exception() is not None:
            self._scheduler.log.warned(f"delivery to {route.name}: {task.exception()!r}")
        for transaction in list(lane.taken):  # a mistake of the agent's: it must not cost a message
            lane.settle(transaction, dict.fromkeys([q.position for q in transaction.recipients], INTERNAL))
        self._serve_hungry()
        self._scheduler.thin_line.used(route)
        self._scheduler.thin_line.look()
        route.pump()
        if route.has_more and not route.ready:
            route.refill()
        self._scheduler.forget_if_idle(route)

    def _serve_hungry(self) -> None:
        """Who waited longest for a connection gets the one that is free now."""
        while self.hungry and self._count < LANES_MAX and not self._scheduler.is_stopping:
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
            case HostTrouble():
                self._trouble(lane, ending)
            case RouteRefusal(failure=refusal):
                self._refuse(route, refusal)

    def _finished(self, lane: Lane) -> None:
        """It ended in order. When that happens again and again with nothing done, something is wrong."""
        route = lane.route
        is_short = self._scheduler.clock.monotonic() - lane.opened_at < FRUITLESS_S
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

    def _trouble(self, lane: Lane, ending: HostTrouble) -> None:
        route, failure = lane.route, ending.failure
        if failure.kind is NotNow.OFFLINE:
            self.rest_offline(route, failure)
        elif lane.has_delivered:
            return  # it worked until now: the next connection will tell
        elif any(other.has_delivered or other.taken for other in route.lanes):
            # others work: it was one too many
            route.window.refused(len(route.lanes), self._scheduler.clock.monotonic())
        elif ending.is_unfound:
            self._rest_unfound(route, failure)
        else:
            self._rest(route, failure)

    def _rest(self, route: RouteQueue, failure: TemporaryFailure) -> None:
        """Leave a next hop alone for a while, and defer what is in memory for it."""
        if route.rest_until or route.refusal is not None:
            return  # another connection has said so already
        route.doubted()
        self._close_gate(route, failure, self.host_wait_ms(route, route.failures) / 1000)
        self._scheduler.log.warned(f"{route.name}: {failure.reason}; next try in {self.rest_s(route):.0f} s")
        self._end_ready(route, failure, int(self.rest_s(route) * 1000))
        route.look_anew()

    def _rest_unfound(self, route: RouteQueue, failure: TemporaryFailure) -> None:
        """The DNS does not find the host that the settings name: nothing is counted, all stays on the disk,
        and one question for all of it is asked again soon."""
        if route.rest_until or route.refusal is not None:
            return
        if not route.unfound_count:
            self._scheduler.log.warned(f"{route.name}: {failure.reason}; the DNS is asked again soon")
        wait_s = min(UNFOUND_WAIT_MIN_S * 2 ** min(route.unfound_count, 10), UNFOUND_WAIT_MAX_S)
        self._close_gate(route, failure, wait_s)
        route.not_found(route.trouble_wall_ms)
        route.drop_ready()

    def rest_offline(self, route: RouteQueue, failure: TemporaryFailure) -> None:
        """We are off line: nothing is counted, all stays on the disk as it is."""
        if not route.rest_until:
            wait_s = OFFLINE_WAIT_MIN_S * 2 ** min(route.offline_count, 10)
            self._close_gate(route, failure, min(wait_s, OFFLINE_WAIT_MAX_S))
            route.offline_count += 1
        route.drop_ready()

    def _close_gate(self, route: RouteQueue, failure: TemporaryFailure, wait_s: float) -> None:
        now = self._scheduler.clock.monotonic()
        route.trouble, route.trouble_wall_ms = failure, self._scheduler.clock.wall_ms()
        route.rest_until = now + wait_s
        route.gate.judge()
        self._scheduler.lookout.arm(route.name, route.rest_until)

    def rest_s(self, route: RouteQueue) -> float:
        """How long a next hop is left alone yet."""
        return max(0.0, route.rest_until - self._scheduler.clock.monotonic())

    def host_wait_ms(self, route: RouteQueue, failures: int) -> int:
        """The back-off of a next hop after so many failures in a row."""
        scheduler = self._scheduler
        return retry.wait_ms(failures, scheduler.settings.retry, scheduler.attempts.jitter())

    def end_rest(self, route: RouteQueue) -> None:
        """Try a next hop again."""
        route.rest_until = 0.0
        route.gate.judge()
        route.look_anew()
        route.refill()

    def wake_deferred(self, route: RouteQueue) -> None:
        """A next hop is back: all that waits because of it moves at once."""
        self._scheduler.spawn(self.wake(route.name, (NotNow.HOST,)), f"wake {route.name}")

    async def wake(self, name: str, kinds: Sequence[NotNow]) -> None:
        """What waits for one of these reasons is due now."""
        scheduler = self._scheduler
        now_ms = scheduler.attempts.now_ms(name)
        for _ in range(WAKE_TRIES):
            try:
                woken = [await scheduler.spool.wake(name, kind, now_ms) for kind in kinds]
                if scheduler.router.needs_link(name):  # the time of the wall went on while the link was down
                    woken.append(await scheduler.spool.keep_time(name, scheduler.clock.wall_ms(), now_ms))
                break
            except SpoolFullError:  # space may come soon
                await asyncio.sleep(WAKE_AGAIN_S)
        else:
            return  # each waits for its own time
        if any(woken):
            route = self._scheduler.route(name)
            route.look_anew()
            route.refill()

    def _refuse(self, route: RouteQueue, failure: PermanentFailure) -> None:
        """The next hop can never be: bounce all that waits for it."""
        if route.refusal is None:
            route.refusal = failure
            route.gate.judge()
            self._scheduler.spawn(self._bounce_all(route, failure), f"bounce {route.name}")

    async def _bounce_all(self, route: RouteQueue, failure: PermanentFailure) -> None:
        try:
            after = FIRST
            while not self._scheduler.is_stopping:
                self._end_ready(route, failure)
                found = await self._read_all(route, after)
                if not found:
                    break
                after = place_of(found[-1])
        finally:
            route.refusal = None
            route.gate.judge()
            route.look_anew()
            route.refill()

    async def _read_all(self, route: RouteQueue, after: Place) -> list[QueuedMessage]:
        """The next of all that waits on a route, due or not; now in memory."""
        scheduler = self._scheduler
        if route.reading.under_way is not None:
            await asyncio.wait([route.reading.under_way])
        route.reading.ghosts = set()
        scheduler.reading.add(route)
        try:
            found = await scheduler.spool.due(
                route.name, FAR_MS, after, PAGE, OCTETS_LEAST, route.reading.wanted()
            )
        finally:
            scheduler.reading.discard(route)
        for message in found:
            route.admit(message, route.reading.ghosts)
        return found

    def _end_ready(self, route: RouteQueue, outcome: Outcome, host_wait_ms: int | None = None) -> None:
        """All that is in memory for a route ends in the same way."""
        conclude = self._scheduler.recorder.conclude
        while route.ready:
            transaction = route.ready.popleft()
            outcomes = dict.fromkeys([q.position for q in transaction.recipients], outcome)
            conclude(route, None, transaction, outcomes, host_wait_ms=host_wait_ms)

    # Settings, link, stop.

    def retire(self, route: RouteQueue) -> None:
        """The connections of a route take nothing more. Those with nothing in hand end now: one that idles to
        the host of before would keep its place, and all mail may have to wait for that one."""
        for lane in route.lanes:
            lane.is_spent = True
            if not lane.taken and lane.task is not None:
                lane.task.cancel()

    def cut(self, route: RouteQueue) -> None:
        """End the connections of a route at once: agents put back what they have, or await its reply."""
        for lane in route.lanes:
            _cut(lane)

    def cut_from(self, addresses: frozenset[str]) -> int:
        """End the connections that go from these addresses of ours, which are gone; how many."""
        lanes = [lane for route in self._scheduler.routes.values() for lane in route.lanes]
        meant = [lane for lane in lanes if lane.address.partition("%")[0] in addresses]
        for lane in meant:
            _cut(lane)
        return len(meant)

    async def end_dead(self, route: RouteQueue) -> None:
        """The next hop has come from somewhere, and is perhaps not any more where connections of before lead
        to: those on which nobody answers end now, and do not await replies that cannot come."""
        asked = [(lane, lane.is_there) for lane in route.lanes if lane.is_there is not None]
        answers = await asyncio.gather(*(is_there() for _, is_there in asked))
        dead = [lane for (lane, _), is_alive in zip(asked, answers, strict=True) if not is_alive]
        for _ in range(2 if dead else 0):  # once, and they would still wait for a reply to a final dot
            for lane in dead:
                _cut(lane)
            await asyncio.sleep(0)

    async def stop(self, timeout: float) -> None:
        """End those that idle, let the others come to their end, then cut them off."""
        lanes = [lane for route in self._scheduler.routes.values() for lane in route.lanes]
        for route in self._scheduler.routes.values():
            self.retire(route)
        await finish_tasks([lane.task for lane in lanes if lane.task is not None], timeout)
        await asyncio.sleep(0)  # what ended is told in callbacks


def _cut(lane: Lane) -> None:
    """When the link is back, others do not wait for what it still awaits."""
    lane.is_cut = True
    if lane.task is not None:
        lane.task.cancel()


async def finish_tasks(tasks: Iterable["asyncio.Task[None]"], timeout: float) -> None:
    """Let tasks come to their end, then cut them off."""
    waiting = set(tasks)
    if not waiting:
        return
    _, late = await asyncio.wait(waiting, timeout=timeout)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
