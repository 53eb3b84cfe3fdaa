"""What a worker has to do with the link: obeys it, tells what waits, what went and what deliveries see."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from cmail.app.settings import Settings
from cmail.app.worker_waiting import WorkerWaiting
from cmail.delivery.agent import DeliveryAgent, Ending, HostTrouble, RouteRefusal, Work
from cmail.delivery.hosts import Host
from cmail.link.clock import LinkReading, LinkView, parse_reading
from cmail.link.probe import PORTAL
from cmail.link.state import read_state
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.status import (
    BAD_SYSTEM,
    DIRECTORY_FAILURE,
    LOCAL_TROUBLE,
    NO_ANSWER_FROM_HOST,
    UNABLE_TO_ROUTE,
)
from cmail.net.control import AnswerFunction, ControlClient, ControlError, Fields
from cmail.net.dns_client import DnsClient
from cmail.observe import maillog, metrics
from cmail.policy.orders import Orders, parse_orders
from cmail.policy.routing import MX_PREFIX, RELAY
from cmail.queue.lane import Lane
from cmail.queue.scheduler import Scheduler

TELL_EVERY_S: Final = 1.0
URGENT_EVERY_S: Final = 0.1  # so many that come together are one word
WELL_EVERY_S: Final = 10.0
REACHED_EVERY_S: Final = 60.0  # where mail goes is told so often
REACHED_MAX: Final = 4
TOOK_MAX: Final = 1000  # hosts that have taken mail
DENIALS_MAX: Final = 3  # of a domain, by a DNS of which nothing good is known; then it is believed
DENIED_MAX: Final = 1000  # domains
CONFIRMING_MAX: Final = 8  # domains that are asked about at once
BELIEVED_S: Final = 10.0  # so long what a probe saw is not asked for again
CONFIRM_S: Final = 45.0  # a probe of some addresses, names and a handshake
STUCK_S: Final = 30.0  # nothing is settled: a look costs a probe, to wait for the time-out costs minutes
EXCHANGE_S: Final = 30.0  # the link process asks all workers before one begins
BEHIND_A_PAGE: Final = TemporaryFailure("we are not on line, as a probe says", NotNow.OFFLINE)
_DNS_TROUBLE: Final = frozenset({DIRECTORY_FAILURE, UNABLE_TO_ROUTE})  # with a domain: its DNS, or ours
_DOUBTS: Final = {  # what says else than the DNS, by what the link process says
    "exists": "it exists when it is asked for anew",
    "dns": "the DNS knows nothing that it knew",
    "strange": "the DNS knows not even what everybody knows",
}
_FAR_KINDS: Final = frozenset({"relay", "mx", "host"})


class WorkerLink:
    """One a worker."""

    def __init__(
        self, run_folder: str, schedulers: Callable[[], Sequence[Scheduler]], link_clock: LinkView
    ) -> None:
        self._run_folder = run_folder
        self._schedulers = schedulers
        self._waiting = WorkerWaiting(schedulers)
        self._link_clock = link_clock
        self.said_again: Callable[[], None] = lambda: None  # the link is up, says somebody who knows
        # How many messages, and octets that the other end has, at the last look; and since when so many.
        self._settled: dict[Lane, tuple[int, int, float]] = {}
        self._seen = ""  # what is to be told: ok, offline, silent or timeout
        self._told, self._told_at = "", 0.0  # what was told last, and when
        self._woken = asyncio.Event()
        self._urgent_count = 0  # messages that wait for an exchange, and the link process was not told of yet
        self._hurried = asyncio.Event()
        self._is_trapped = False
        self.forget: Callable[[], None] = lambda: None  # what the DNS denied
        self.upstream_is_at: Callable[[str, Sequence[str]], None] = lambda name, addresses: None
        self._reached: dict[tuple[str, int], None] = {}  # where mail went: domains, as (name, 0), and hosts
        self._took: dict[str, None] = {}  # hosts that have taken mail, as the log calls them
        self._reached_told_at: dict[bool, float] = {}  # of domains (True) and of hosts
        self._denials: dict[str, int] = {}  # how often a domain was denied, and is not believed
        self._asking = asyncio.Semaphore(CONFIRMING_MAX)
        self._confirming = asyncio.Lock()
        self._confirmed_at = float("-inf")
        self._looking = asyncio.Lock()
        self._on_line_until = float("-inf")
        self._has_looked = True  # since the link came up

    def answers(self) -> Mapping[str, AnswerFunction]:
        """The questions of the link process."""
        return {
            "link.changed": self._changed,
            "link.lost": self._lost,
            "link.octets": self._octets,
            "queue.internet": self._waiting.answer,
        }

    # Obeying.

    async def _changed(self, request: Fields) -> Fields:
        try:
            reading = parse_reading(request)
            orders = parse_orders(request["orders"]) if isinstance(request.get("orders"), dict) else None
        except ValueError as error:
            raise ControlError(str(error)) from None
        if request.get("is_said_again"):
            self.said_again()
        if reading.is_down:
            self._confirmed_at = self._on_line_until = float("-inf")
            self._has_looked = False
            self._reached.clear()  # a log-in page may have taken it
        self._link_clock.changed(reading, orders)
        if isinstance(upstream := request.get("upstream"), dict):
            self.upstream_is_at(str(upstream.get("name", "")), _texts(upstream.get("addresses")))
        if request.get("begins_exchange"):
            for scheduler in self._schedulers():
                scheduler.exchange()
        return {}

    async def _lost(self, request: Fields) -> Fields:
        """Connections from these addresses end as at link-down: one that awaits the reply to its final dot
        stays, unless its address is gone. While the link is down all of them have been told already."""
        addresses, gone = (_texts(request.get(name)) for name in ("addresses", "gone"))
        first = gone if self._link_clock.is_down else addresses
        count = sum(scheduler.cut_from(first) for scheduler in self._schedulers())
        await asyncio.sleep(0)
        for scheduler in self._schedulers():
            scheduler.cut_from(gone)
        return {"connections": count}

    # Telling.

    async def _octets(self, _request: Fields) -> Fields:
        octets, messages = metrics.LINK_OCTETS, metrics.LINK_MESSAGES
        return {
            "messages_out": messages.of("out").value,
            "octets_out": octets.of("out").value,
            "messages_in": messages.of("in").value,
            "octets_in": octets.of("in").value,
        }

    async def begin_exchange(self) -> str:
        """Somebody wants all that waits to go now: "", or why no exchange can begin."""
        try:
            await ControlClient(self._run_folder, "link", EXCHANGE_S).ask("link.send", {})
        except ControlError as error:
            return error.words
        return ""

    def urgent_waits(self) -> None:
        """An urgent message came, and no exchange is open."""
        self._urgent_count += 1
        self._hurried.set()

    async def run_urgent(self) -> None:
        """Tell of those at once, a few times a second at most."""
        while True:
            await self._hurried.wait()
            self._hurried.clear()
            count, self._urgent_count = self._urgent_count, 0
            try:
                await ControlClient(self._run_folder, "link", 5.0).ask("link.wants", {"urgent": count})
            except ControlError:
                pass  # it is away, and asks what waits when it comes
            await asyncio.sleep(URGENT_EVERY_S)

    def turned(self, resolver: DnsClient) -> None:
        """The link went down or came up. Where a log-in page stood in between, nothing is remembered of what
        the DNS said: mail would go to that page once it is away."""
        was_trapped, self._is_trapped = self._is_trapped, PORTAL in self._link_clock.orders.words
        if was_trapped or self._is_trapped:
            self._took.clear()
            resolver.forget()
        else:
            resolver.forget_failures()

    # What deliveries see.

    def watched(self, agents: Mapping[str, DeliveryAgent]) -> dict[str, DeliveryAgent]:
        """The same agents; how the connections end of those that go out is told to the link process."""
        return {
            kind: _Watched(agent, self) if kind in _FAR_KINDS else agent for kind, agent in agents.items()
        }

    def needs_link(self, route: str) -> bool:
        return any(scheduler.router.needs_link(route) for scheduler in self._schedulers()[:1])

    async def believed(self, ending: Ending, route: str = "") -> Ending:
        """What the DNS says does not exist, before anybody is told so: the DNS of a router that has lost the
        Internet says so of every name, or leads each to itself. And of a host that cannot be used whether a
        log-in page answers in its place, of one that is silent whether the line died without a word: then we
        are off line, and no attempt was made."""
        domain = route.removeprefix(MX_PREFIX) if route.startswith(MX_PREFIX) else ""
        if isinstance(ending, HostTrouble):
            if domain and ending.failure.detail in _DNS_TROUBLE and ending.failure.kind is NotNow.HOST:
                return await self._judged(ending, domain)
            return await self._judged(ending) if _is_doubtful(ending) else ending
        if not isinstance(ending, RouteRefusal) or ending.failure.detail != BAD_SYSTEM:
            return ending
        return self._doubted(ending, domain, await self._confirm(domain))

    def _doubted(self, refusal: RouteRefusal, domain: str, says: str) -> Ending:
        count = self._denials.pop(domain, 0) + 1
        is_in_vain = says in ("exists", "strange") and count > DENIALS_MAX
        if says in ("yes", "sure") or (is_in_vain and says == "strange"):
            return refusal
        if len(self._denials) >= DENIED_MAX:
            self._denials.clear()
        self._denials[domain] = count
        self.forget()
        is_offline = says in ("no", "dns", "exists") and not is_in_vain
        reason = f"{refusal.failure.reason}, says the DNS, but {_DOUBTS.get(says, 'nobody else answers')}"
        kind = NotNow.OFFLINE if is_offline else NotNow.HOST
        return HostTrouble(TemporaryFailure(reason, kind, DIRECTORY_FAILURE))

    async def _judged(self, trouble: HostTrouble, domain: str = "") -> Ending:
        if trouble.transactions_count:
            return trouble
        if domain:
            if await self._confirm(domain) not in ("no", "dns"):
                return trouble
            self.forget()
        elif await self.is_on_line():
            return trouble
        return HostTrouble(replace(trouble.failure, kind=NotNow.OFFLINE))

    async def _confirm(self, domain: str) -> str:
        """See link_confirm. What was seen without a domain holds for a moment; a domain is asked for each
        time: what the DNS said of it may have been kept from when it knew nothing."""
        if domain:
            async with self._asking:
                return "no" if self._link_clock.is_down else await self._ask_to_confirm(domain)
        async with self._confirming:
            loop = asyncio.get_running_loop()
            if self._link_clock.is_down:
                return "no"
            if loop.time() < self._confirmed_at + BELIEVED_S:
                return "yes"
            says = await self._ask_to_confirm("")
            if says == "yes":
                self._confirmed_at = loop.time()
            return says

    async def _ask_to_confirm(self, domain: str) -> str:
        if domain:
            self._look_where_mail_went()
            await self._tell_reached()
        try:
            client = ControlClient(self._run_folder, "link", CONFIRM_S)
            answer = await client.ask("link.confirm", {"domain": domain})
        except ControlError:
            return "unsure"  # it is away, and comes back
        return str(answer.ok.get("says"))

    def delivered(self, route: str) -> None:
        """Something was taken at a next hop: its domain is one that exists."""
        if route.startswith(MX_PREFIX) and not route.startswith(MX_PREFIX + "["):
            self._note_reached(route.removeprefix(MX_PREFIX))

    def _look_where_mail_went(self) -> None:
        for scheduler in self._schedulers():
            for name, route in scheduler.routes.items():
                if route.needs_link and any(lane.has_delivered for lane in route.lanes):
                    self.delivered(name)

    def reached(self, host: Host) -> None:
        """A host has taken mail."""
        self._note_reached(str(host.address), host.port)
        if (relay := str(host)) in self._took:
            del self._took[relay]
        else:
            self._woken.set()  # the first time is told at once
        self._took[relay] = None
        if len(self._took) > TOOK_MAX:
            del self._took[next(iter(self._took))]

    def is_stranger(self, relay: str) -> bool:
        """Whether a host, as the log calls it, has taken no mail since we started, as far as we know."""
        return relay not in self._took and relay != "none"

    async def must_wait(self, route: str) -> bool:
        """Whether a log-in page would get this mail: at link-up nobody has looked yet, and its DNS leads to
        itself. Where the upstream server is was known before."""
        if self._has_looked or not route.startswith(MX_PREFIX):
            return False
        is_good = await self.is_on_line()
        self._has_looked = not self._link_clock.is_down
        return not is_good

    async def is_on_line(self) -> bool:
        """Whether the Internet is there, as far as anybody can say; what was said holds for a moment."""
        async with self._looking:
            now = asyncio.get_running_loop().time
            if now() >= self._on_line_until and await self._confirm("") != "no":
                self._on_line_until = now() + BELIEVED_S
            return now() < self._on_line_until and not self._link_clock.is_down

    def _note_reached(self, name: str, port: int = 0) -> None:
        self._reached.pop((name, port), None)
        self._reached[name, port] = None
        if len(self._reached) > 2 * REACHED_MAX:
            del self._reached[next(iter(self._reached))]

    async def _tell_reached(self) -> None:
        """Where mail went, now and then, and the first time at once."""
        now, told = asyncio.get_running_loop().time(), []
        for is_name in {not port for _, port in self._reached}:
            if now >= self._reached_told_at.get(is_name, float("-inf")) + REACHED_EVERY_S:
                self._reached_told_at[is_name] = now
                told += [each for each in self._reached if is_name is not bool(each[1])]
        if not told:
            return
        names = [name for name, port in told if not port]
        hosts = [[name, port] for name, port in told if port]
        fields = {"names": names, "hosts": hosts}
        try:
            answer = await ControlClient(self._run_folder, "link", 5.0).ask("link.seen", fields)
            is_noted = answer.ok.get("is_noted") is not False
        except ControlError:
            is_noted = False
        if is_noted:
            self._reached = {each: None for each in self._reached if each not in told}
        else:
            self._reached_told_at.clear()  # again in a moment

    def ended(self, route: str, ending: Ending) -> None:
        """Of the upstream server one silence is enough to look, of others it takes two in a row."""
        if isinstance(ending, HostTrouble) and not ending.transactions_count:
            if ending.failure.kind is NotNow.OFFLINE:
                self._tell("offline")
            elif ending.failure.detail == NO_ANSWER_FROM_HOST and "timed out" in ending.failure.reason:
                self._tell("silent" if route == RELAY else "timeout")
            elif ending.failure.detail == DIRECTORY_FAILURE:
                self._tell("timeout")
            elif ending.failure.detail == UNABLE_TO_ROUTE and route == RELAY:
                self._tell("silent")  # its name is gone: that is seldom, and often means an uplink that is

    def _tell(self, kind: str) -> None:
        self._seen = kind
        self._woken.set()

    async def run(self) -> None:
        """Tell what is seen, at most once a second."""
        while True:
            try:
                await asyncio.wait_for(self._woken.wait(), TELL_EVERY_S)
            except TimeoutError:
                pass
            self._woken.clear()
            kind, self._seen = self._look() or self._seen, ""
            await self._tell_reached()
            if kind and (kind != "ok" or self._is_news()):
                self._told, self._told_at = kind, asyncio.get_running_loop().time()
                await self._say(kind)
                await asyncio.sleep(TELL_EVERY_S)

    def _is_news(self) -> bool:
        """Whether that all is well is worth a word."""
        now = asyncio.get_running_loop().time()
        return self._told != "ok" or self._link_clock.is_down or now >= self._told_at + WELL_EVERY_S

    def _look(self) -> str:
        """What the connections that need the link say now: that something was delivered or moves since the
        last look (ok), or that for long nothing was settled nor moved on one that has something to send
        (silent)."""
        before, self._settled = self._settled, {}
        now, is_new, is_stuck = asyncio.get_running_loop().time(), False, False
        for scheduler in self._schedulers():
            for name, route in scheduler.routes.items():
                if not route.needs_link:
                    continue
                for lane in route.lanes:
                    count, octets, since = before.get(lane, (0, 0, now))
                    acknowledged = lane.acknowledged()
                    is_moving = acknowledged > octets > 0
                    if lane.has_delivered and lane.settled_count > count:
                        is_new = True
                        self.delivered(name)
                    is_new |= is_moving
                    if is_moving or lane.settled_count != count or not lane.taken:
                        since = now
                    elif now - since >= STUCK_S:
                        is_stuck, since = True, now + STUCK_S  # again after twice the time
                    self._settled[lane] = lane.settled_count, acknowledged, since
        return "ok" if is_new else "silent" if is_stuck else ""

    async def _say(self, kind: str) -> None:
        try:
            fields = {"is_ok": kind == "ok", "kind": kind}
            await ControlClient(self._run_folder, "link", 5.0).ask("link.seen", fields)
        except ControlError:
            return  # it is away: workers go on


def _is_doubtful(trouble: HostTrouble) -> bool:
    """Whether it may be the line that was in the way, and not the host; not what is wrong here."""
    is_theirs = trouble.failure.kind is NotNow.HOST and trouble.failure.detail != LOCAL_TROUBLE
    return is_theirs and not (trouble.transactions_count or trouble.is_unfound)


class _Watched:
    """A DeliveryAgent with somebody who looks at how its connections end."""

    def __init__(self, agent: DeliveryAgent, link: WorkerLink) -> None:
        self._agent, self._link = agent, link

    async def run(self, route: str, work: Work) -> Ending:
        """See DeliveryAgent."""
        if await self._link.must_wait(route):
            return HostTrouble(BEHIND_A_PAGE)
        try:
            ending = await self._agent.run(route, work)
        finally:
            if isinstance(work, Lane) and work.has_delivered and work.route.needs_link:
                self._link.delivered(route)
        if self._link.needs_link(route):
            ending = await self._link.believed(ending, route)
            self._link.ended(route, ending)
        return ending


def first_state(path: str, settings: Settings) -> tuple[LinkReading, Orders]:
    """How the link was, as far as nobody has told yet how it is; blocks. Where exchanges are planned none
    goes on until somebody says so."""
    reading, orders = read_state(path, maillog)
    return reading, replace(orders, is_exchange_open=not settings.exchange.is_set, is_batch_open=False)


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
