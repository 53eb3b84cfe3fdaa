"""SmtpAgent: to the upstream server ("relay"), the hosts of a domain ("mx:example.org") or one host that a
[[forward]] names ("host:...")."""

import asyncio
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, cast

from cmail.delivery.acquaintances import Acquaintances
from cmail.delivery.agent import Ending, Finished, HostTrouble, RouteRefusal, Work
from cmail.delivery.blame import Blame
from cmail.delivery.connections import OpenError, Peer, Tls
from cmail.delivery.fit import FAST, Fit
from cmail.delivery.habits import Habits
from cmail.delivery.hosts import Host, MxRouter, NoHostError, literal_address, upstream_hosts
from cmail.delivery.lane import run_session
from cmail.delivery.line import SessionLimits
from cmail.delivery.settings import SmtpSettings
from cmail.mail.outcome import NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.status import LOCAL_TROUBLE, ROUTING_LOOP, UNABLE_TO_ROUTE
from cmail.policy.orders import FREE, Orders
from cmail.policy.routing import HOST_PREFIX, MX_PREFIX, RELAY, is_near, parse_host_route
from cmail.protocol.sasl_client import Credentials
from cmail.world import Clock, Entropy, IPAddress, Resolver

_SILENT_S: Final = 60.0
_BROKEN_S: Final = 2 * 3600.0  # longer than a message waits for its next attempt: that goes to another host
_SILENT_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class _Way:
    """How to speak to the hosts of a next hop."""

    tls: Tls
    is_ours: bool  # the settings name it: what is wrong between us and it never bounces anything
    has_log_in: bool = False
    is_near: bool = False  # within our own walls: the rate of the link does not matter


class SmtpAgent:
    """DeliveryAgent for SMTP. update() changes what the next connection does, not the open ones."""

    def __init__(
        self,
        settings: SmtpSettings,
        hostname: str,
        password: Callable[[], str],
        resolver: Resolver,
        clock: Clock,
        entropy: Entropy,
        ca_file: str,
        log: Callable[[str], None] | None = None,
        is_own_address: Callable[[IPAddress, int], bool] = lambda address, port: False,
        is_offline: Callable[[], bool] = lambda: False,
        patience: float = 1.0,
        line: Callable[[], Orders] = lambda: FREE,
    ) -> None:
        self._resolver, self._clock, self._entropy = resolver, clock, entropy
        self._log = log or (lambda line: None)
        self._is_own_address = is_own_address
        self._is_offline = is_offline
        self._patience = patience
        self._line = line
        self._blame = Blame()
        self._known = Acquaintances()
        self._habits = Habits(clock.monotonic)
        self.reached: Callable[[Host], None] = lambda host: None  # told of hosts that have taken mail
        self._silent: dict[Host, float] = {}  # it did not answer, or breaks messages: tried last until then
        self.update(settings, hostname, password, ca_file)

    def update(
        self, settings: SmtpSettings, hostname: str, password: Callable[[], str], ca_file: str
    ) -> None:
        """New settings, from the next connection on."""
        self._settings, self._hostname = settings, hostname
        self._password, self._ca_file = password, ca_file

    async def run(self, route: str, work: Work) -> Ending:
        """One connection to the next hop of a route."""
        try:
            return await self._run(route, work)
        except Exception as error:  # a mistake of ours delays mail, it does not lose or bounce any
            self._log(f"error: delivery on {route} failed: {traceback.format_exc()}")
            reason = f"a mistake in this program ({type(error).__name__}): see its log"
            return HostTrouble(TemporaryFailure(reason, NotNow.HOST, LOCAL_TROUBLE))

    async def _run(self, route: str, work: Work) -> Ending:
        if route == RELAY:
            return await self._run_upstream(work)
        if route.startswith(HOST_PREFIX):
            name, port, tls = parse_host_route(route)
            return await self.run_host(name, port, cast(Tls, tls), work, "a [[forward]]")
        assert route.startswith(MX_PREFIX), route
        return await self._run_mx(route.removeprefix(MX_PREFIX), work)

    async def _run_upstream(self, work: Work) -> Ending:
        settings = self._settings
        if not settings.host:
            reason = "no SMTP host is set (smtp.host): mail for the Internet waits"
            self._log(f"warning: {reason}")
            return HostTrouble(TemporaryFailure(reason, NotNow.HOST, UNABLE_TO_ROUTE))
        try:
            hosts = await upstream_hosts(settings.host, settings.port, self._resolver)
        except NoHostError as error:
            assert isinstance(error.failure, TemporaryFailure)
            self._log(f"warning: {error}")
            return HostTrouble(error.failure, is_unfound=True)
        if literal_address(settings.host) is None and self._is_any_own(hosts):
            # So may the DNS of a router that has lost the Internet. What is sent there would come back to us.
            reason = f"the host {settings.host} of the settings is this server itself, says the DNS"
            self._log(f"warning: {reason}")
            return HostTrouble(TemporaryFailure(reason, NotNow.HOST, UNABLE_TO_ROUTE), is_unfound=True)
        way = _Way(settings.tls, is_ours=True, has_log_in=bool(settings.username))
        ending, _ = await self._try_hosts(_in_order(hosts), work, way)
        if isinstance(ending, HostTrouble):
            self._log(f"warning: {ending.failure.reason}")
        return ending

    async def run_host(self, name: str, port: int, tls: Tls, work: Work, whose: str) -> Ending:
        """One connection to a host that the settings name, in the table `whose`."""
        try:
            hosts = await upstream_hosts(name, port, self._resolver)
        except NoHostError as error:
            assert isinstance(error.failure, TemporaryFailure)
            return HostTrouble(error.failure, is_unfound=True)
        if self._is_any_own(hosts):
            reason = f"the host {name}:{port} of {whose} is this server itself"
            self._log(f"warning: {reason}")
            return HostTrouble(TemporaryFailure(reason, NotNow.HOST, ROUTING_LOOP))
        ending, _ = await self._try_hosts(
            _in_order(hosts), work, _Way(tls, is_ours=True, is_near=is_near(name))
        )
        return ending

    def _is_any_own(self, hosts: list[Host]) -> bool:
        return any(self._is_own_address(host.address, host.port) for host in hosts)

    async def _run_mx(self, domain: str, work: Work) -> Ending:
        router = MxRouter(self._resolver, self._entropy, self._hostname, self._is_own_address)
        hosts = router.hosts(domain, self._settings.advanced.outbound_port)
        # What is set for the upstream server is not for strangers.
        way = _Way("none" if self._settings.tls == "none" else "opportunistic", is_ours=False)
        try:
            ending, is_unreached = await self._try_hosts(hosts, work, way)
        except NoHostError as error:
            if isinstance(error.failure, PermanentFailure):
                return self._refusal(error.failure)
            ending, is_unreached = HostTrouble(error.failure), error.is_dns
        if is_unreached and self._settings.advanced.fallback_to_host and self._settings.host:
            self._log(f"info: {domain}: no mail host answers, going by {self._settings.host}")
            instead = await self._run_upstream(work)
            is_unfound = isinstance(instead, HostTrouble) and instead.is_unfound
            return ending if is_unfound else instead  # of two troubles theirs is the one that counts
        return ending

    def _refusal(self, failure: PermanentFailure) -> Ending:
        """A name that does not exist, asked while the link is down, may be a lie of the way there."""
        if self._is_offline():
            return HostTrouble(TemporaryFailure(failure.reason, NotNow.OFFLINE, failure.detail))
        return RouteRefusal(failure)

    async def _try_hosts(
        self, hosts: AsyncGenerator[Host, None], work: Work, way: _Way
    ) -> tuple[Ending, bool]:
        """The first host that works; else what to say of all, and whether none was even reached."""
        failures: list[TemporaryFailure] = []
        is_unreached = True
        async with aclosing(self._silent_last(hosts)) as ordered:
            async for host in ordered:
                try:
                    ending = await self._session(host, work, way)
                except OpenError as error:
                    failures.append(error.failure)
                    is_unreached = is_unreached and error.is_connection
                    if error.is_connection and error.failure.kind is not NotNow.OFFLINE:
                        self._note_silent(host, _SILENT_S)
                    continue
                if isinstance(ending, Finished) and ending.is_broken:
                    self._note_silent(host, _BROKEN_S)
                if isinstance(ending, Finished) and ending.closed_after:
                    self._habits.learn(host, ending.closed_after)
                if not isinstance(ending, HostTrouble) or ending.transactions_count:
                    return ending, False
                failures.append(ending.failure)
                is_unreached = False
        if not failures:
            return Finished(0), False
        return HostTrouble(_worst(failures)), is_unreached

    async def _silent_last(self, hosts: AsyncGenerator[Host, None]) -> AsyncGenerator[Host, None]:
        """A host that did not answer lately waits until the others were tried: with a dead first MX
        each connection would cost a time-out; and one that hangs up at the end of each message would
        get them all again, and no other host any (RFC 5321 §5.1)."""
        silent: list[Host] = []
        now = self._clock.monotonic()
        async with aclosing(hosts):
            async for host in hosts:
                if self._silent and self._silent.get(host, 0.0) > now:
                    silent.append(host)
                else:
                    yield host
        for host in silent:
            yield host

    def _note_silent(self, host: Host, seconds: float) -> None:
        if len(self._silent) >= _SILENT_MAX:
            self._silent.clear()
        self._silent[host] = self._clock.monotonic() + seconds

    async def _session(self, host: Host, work: Work, way: _Way) -> Ending:
        peer = await self._peer(host, way)
        is_open = True
        try:
            return await run_session(
                peer, work, self._clock.monotonic, self._blame, self._log, is_upstream=way.is_ours
            )
        except OpenError:
            is_open = False
            raise
        finally:
            if is_open and work.has_delivered:
                self.reached(host)

    async def _peer(self, host: Host, way: _Way) -> Peer:
        settings = self._settings
        advanced = settings.advanced
        fit = self._fit(host, way)
        messages_max = self._habits.messages_max(host, advanced.messages_per_connection)
        limits = session_limits(advanced.idle, messages_max, self._patience, fit)
        credentials = None
        if way.has_log_in:
            credentials = Credentials(settings.username, await self._read_password())
        return Peer(
            host,
            self._hostname,
            tls=way.tls,
            credentials=credentials,
            ca_file=self._ca_file,
            timeout=advanced.timeout,
            limits=replace(limits, fit_now=lambda: self._fit_now(host, way)),
            known=self._known.of(host, way.tls, has_log_in=way.has_log_in) if fit.rate else None,
            is_counted=not (way.is_near or host.address.is_loopback),
        )

    def _fit(self, host: Host, way: _Way) -> Fit:
        """Only a thin link is worth that a connection suits it."""
        orders = self._line()
        if not orders.is_thin or way.is_near or host.address.is_loopback:
            return FAST
        return Fit(orders.rate)

    def _fit_now(self, host: Host, way: _Way) -> Fit | None:
        """None where nothing may go: what is under way goes to its end as it began."""
        orders = self._line()
        is_nothing = max(orders.size_max, orders.urgent_size_max) < 0
        return None if is_nothing else self._fit(host, way)

    async def _read_password(self) -> str:
        try:
            return await asyncio.to_thread(self._password)  # it may be in a file
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else type(error).__name__
            reason = f"the password for {self._settings.host} cannot be read: {words}"
            raise OpenError(TemporaryFailure(reason, NotNow.HOST, LOCAL_TROUBLE)) from None


def session_limits(idle: timedelta, transactions_max: int, patience: float, fit: Fit = FAST) -> SessionLimits:
    """The limits of a session from settings."""
    return SessionLimits(idle.total_seconds(), transactions_max, patience, fit)


async def _in_order(hosts: list[Host]) -> AsyncGenerator[Host, None]:
    for host in hosts:
        yield host


def _worst(failures: list[TemporaryFailure]) -> TemporaryFailure:
    """A host that answered says more than one that there is no way to; else the last."""
    return next((f for f in reversed(failures) if f.kind is not NotNow.OFFLINE), failures[-1])
