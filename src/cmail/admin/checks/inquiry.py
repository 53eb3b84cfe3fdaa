"""Inquiry: what a check is given - the settings it judges by, and everything outside that it may ask."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Protocol, TypeVar

from cmail.admin.checks.finding import OFFLINE, Finding, NotKnownError, State
from cmail.admin.checks.settings import CheckSettings
from cmail.delivery.settings import SmtpSettings
from cmail.net import own_addresses
from cmail.net.dns_client import parse_server
from cmail.net.greeting import greeting
from cmail.net.settings import DnsSettings, TlsSettings
from cmail.net.sntp import ask_time
from cmail.net.tls_look import shown_by
from cmail.policy.msgauth.spf import SpfDns
from cmail.world import DnsError, IPAddress, NoSuchDomainError, Resolver

Value = TypeVar("Value")
Listener = tuple[str, str]  # kind and address, as `status` of the supervisor says them


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose checks they are: the settings that hold now."""

    hostname: str
    domains: Sequence[str]
    data_dir: str
    free_min: int  # limits.free_space
    smtp: SmtpSettings = field(default_factory=SmtpSettings)
    smtp_password: str = field(default="", repr=False)
    tls: TlsSettings = field(default_factory=TlsSettings)
    dns: DnsSettings = field(default_factory=DnsSettings)
    checks: CheckSettings = field(default_factory=CheckSettings)

    @property
    def is_mx(self) -> bool:
        """Whether we send to the whole world by ourselves."""
        return self.smtp.delivery == "mx"


class CheckDns(SpfDns, Resolver, Protocol):
    """The DNS as checks need it."""

    def forget(self) -> None:
        """Ask anew."""
        ...

    def update(self, settings: DnsSettings) -> None:
        """Other servers."""
        ...


async def _nobody() -> Sequence[Listener]:
    return ()


@dataclass(frozen=True, slots=True)
class Reach:
    """The outside; a test puts its own in."""

    dns: CheckDns
    is_down: Callable[[], Awaitable[bool]]
    listeners: Callable[[], Awaitable[Sequence[Listener]]] = _nobody
    wall_s: Callable[[], float] = time.time
    is_own: Callable[[IPAddress], bool] = own_addresses.is_own
    outgoing: Callable[[], Sequence[IPAddress]] = own_addresses.outgoing_addresses
    greeting: Callable[..., Awaitable[str]] = greeting
    ask_time: Callable[..., Awaitable[object]] = ask_time
    shown_by: Callable[..., Awaitable[object]] = shown_by


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One check at one moment."""

    subject: Subject
    reach: Reach
    is_down: bool

    @property
    def is_cut(self) -> bool:
        """Whether the DNS need not be asked: off line, and no name server of this machine is set, which
        would know our own zone. A question to another might dial."""
        return self.is_down and not self._has_near_dns

    @property
    def _has_near_dns(self) -> bool:
        servers = self.subject.dns.servers
        return bool(servers) and all(ip_address(parse_server(text)[0]).is_loopback for text in servers)

    def need_line(self) -> None:
        """NotKnownError while the line is down."""
        if self.is_down:
            raise NotKnownError(OFFLINE)

    def need_dns(self) -> None:
        """NotKnownError while nobody can be asked."""
        if self.is_cut:
            raise NotKnownError(OFFLINE)

    def doubt(self) -> None:
        """Before something is called missing or wrong: off line nobody can know."""
        self.need_line()

    async def ask(self, question: Callable[[], Awaitable[Sequence[Value]]]) -> Sequence[Value]:
        """Records; none when there is no such name. NotKnownError: there is no answer now."""
        self.need_dns()
        try:
            return await question()
        except NoSuchDomainError:
            return ()
        except DnsError as error:
            raise NotKnownError(no_answer(self, error)) from None

    async def addresses(self, host: str) -> list[IPAddress]:
        """A and AAAA as the world sees them. Half an answer is enough."""
        asked = (self.ask(partial(self.reach.dns.address_records, host, version)) for version in (4, 6))
        found: list[IPAddress] = []
        trouble: NotKnownError | None = None
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, NotKnownError):
                trouble = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += answer
        if trouble is not None and not found:
            raise trouble
        return found

    async def public_addresses(self) -> list[IPAddress]:
        """Those that the world sees us by: of our name, and those that we send from."""
        found = await self.addresses(self.subject.hostname) if "." in self.subject.hostname else []
        found += self.reach.outgoing()
        return [each for each in dict.fromkeys(found) if own_addresses.is_public(each)]


def no_answer(inquiry: Inquiry, error: DnsError) -> Finding:
    """The DNS did not answer: off line, or the name server is in trouble."""
    if inquiry.is_down:
        return OFFLINE
    servers = ", ".join(inquiry.subject.dns.servers) or "those of the system"
    if error.is_unreachable:
        found = (
            "No name server answers: this machine is off line, or they are down. It cannot be checked now."
        )
        advice = (
            f"If the line is up, look at the name servers ({servers}), on the page Advanced SMTP"
            " Configuration (servers under [dns] in cmail.toml)."
        )
    else:
        found = f"The DNS gave no answer ({error})."
        advice = (
            "Often it is over in a minute. If it stays, whoever runs the DNS of the domain has to see to it."
        )
    return Finding(State.UNKNOWN, found, advice=advice, raw=(str(error),))
