"""The outside of Checks as tables: DNS, addresses, greetings, time, certificates; a test changes a line of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from cmail.admin.checks.board import CheckBoard
from cmail.admin.checks.inquiry import Inquiry, Listener, Reach, Subject
from cmail.delivery.settings import SmtpSettings
from cmail.net.settings import DnsSettings
from cmail.protocol.sntp import Reading
from cmail.world import DnsError, IPAddress, MxRecord, NoSuchDomainError

SERVFAIL = "SERVFAIL"
UNREACHABLE = "UNREACHABLE"
NOW_S = 1_800_000_000.0


@dataclass
class FakeDns:
    """CheckDns and SpfDns: (name, kind) -> values, or a trouble. A name in no row does not exist."""

    records: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    servers: tuple[str, ...] = ()

    def _find(self, name: str, kind: str) -> Sequence[str]:
        name = name.lower().removesuffix(".")
        self.asked.append(f"{kind} {name}")
        found = self.records.get((name, kind))
        if isinstance(found, str):
            raise DnsError(found, is_unreachable=found == UNREACHABLE)
        if found is None:
            if any(known == name for known, _ in self.records):
                return ()
            raise NoSuchDomainError(name)
        return found

    async def txt(self, name: str) -> Sequence[str]:
        return self._find(name, "TXT")

    async def mx(self, domain: str) -> Sequence[MxRecord]:
        pairs = [text.split(" ") for text in self._find(domain, "MX")]
        return [MxRecord(int(preference), exchange.rstrip(".")) for preference, exchange in pairs]

    async def address_records(self, host: str, version: int) -> Sequence[IPAddress]:
        return [ip_address(text) for text in self._find(host, "A" if version == 4 else "AAAA")]

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        try:
            return [ip_address(host)]
        except ValueError:
            return [*await self.address_records(host, 4), *await self.address_records(host, 6)]

    async def pointers(self, address: IPAddress) -> Sequence[str]:
        return self._find(address.reverse_pointer, "PTR")

    async def ptr(self, address: IPAddress) -> str:
        return ""

    def forget(self) -> None:
        self.asked.append("forget")

    def update(self, settings: DnsSettings) -> None:
        self.servers = settings.servers


OFFICE = Subject(
    hostname="mail.example.org",
    domains=("example.org",),
    data_dir="/nonexistent",
    free_min=64 << 20,
    smtp=SmtpSettings(delivery="mx"),
)
ALL_RIGHT: dict[tuple[str, str], Sequence[str] | str] = {
    ("example.org", "MX"): ["10 mail.example.org."],
    ("example.org", "TXT"): ["v=spf1 mx -all"],
    ("_dmarc.example.org", "TXT"): ["v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org"],
    ("mail.example.org", "A"): ["192.0.2.1"],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mail.example.org"],
    ("gmail.com", "MX"): ["5 mx.gmail.example."],
    ("mx.gmail.example", "A"): ["198.51.100.25"],
    ("time.cloudflare.com", "A"): ["198.51.100.123"],
}


@dataclass
class World:
    """A machine at 192.0.2.1 where all is right; `reach` is made of it."""

    dns: FakeDns = field(default_factory=lambda: FakeDns(dict(ALL_RIGHT)))
    own: Sequence[str] = ("192.0.2.1",)
    outgoing: Sequence[str] = ("192.0.2.1",)
    is_down: bool = False
    greeting: Any = "220 mx.gmail.example ESMTP"  # or an exception
    offsets_s: dict[str, float] = field(default_factory=lambda: {"198.51.100.123": 0.1})
    listeners: Sequence[Listener] = ()
    shown: Any = None

    @property
    def reach(self) -> Reach:
        async def is_down() -> bool:
            return self.is_down

        async def listeners() -> Sequence[Listener]:
            return self.listeners

        async def greeting(address: IPAddress, port: int, *, timeout_s: float) -> str:
            if isinstance(self.greeting, BaseException):
                raise self.greeting
            return str(self.greeting)

        async def ask_time(address: IPAddress, port: int, *, timeout_s: float) -> Reading:
            if str(address) not in self.offsets_s:
                raise TimeoutError
            return Reading(self.offsets_s[str(address)], 0.01)

        async def shown_by(host: str, port: int, name: str, ca_file: str, *, is_implicit: bool) -> Any:
            if self.shown is None:
                raise ConnectionRefusedError
            return self.shown

        return Reach(
            self.dns,
            is_down,
            listeners,
            lambda: NOW_S,
            lambda address: str(address) in self.own,
            lambda: [ip_address(text) for text in self.outgoing],
            greeting,
            ask_time,
            shown_by,
        )

    def inquiry(self, **changes: Any) -> Inquiry:
        """What a check is given, of the office with these changes."""
        return Inquiry(replace(OFFICE, **changes), self.reach, self.is_down)


def fake_board(world: World | None = None, **changes: Any) -> CheckBoard:
    """A board of the office."""
    return CheckBoard(lambda: replace(OFFICE, **changes), (world or World()).reach)
