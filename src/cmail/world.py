"""What pure code may ask of the outside, as Protocols: Clock, LinkClock, Resolver, Entropy."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

IPAddress = IPv4Address | IPv6Address


class Clock(Protocol):
    """Time. Wall time is for people and the spool, monotonic time for time-outs."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC; may jump when somebody sets the clock."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class LinkClock(Protocol):
    """The time that counts for mail that needs the link: it stands still while the link is down, while
    the machine sleeps and while the server is off, and nobody can set it."""

    def link_ms(self) -> int:
        """Lived milliseconds minus all the time that the link was down."""
        ...

    @property
    def down_for_ms(self) -> int:
        """How long it has been down now; 0 when it is not."""
        ...

    @property
    def is_down(self) -> bool:
        """Whether the link is known to be down now."""
        ...

    @property
    def periods(self) -> int:
        """How many times the link has come up (counts up at each link-up)."""
        ...


class DnsError(Exception):
    """A look-up that did not end in an answer. Temporary: SERVFAIL, time-out, no server reached."""

    def __init__(self, reason: str, *, is_unreachable: bool = False) -> None:
        super().__init__(reason)
        self.is_unreachable = is_unreachable  # no resolver answered at all: we may be off line


class NoSuchDomainError(Exception):
    """NXDOMAIN from a resolver that we trust: the name does not exist."""


@dataclass(frozen=True, slots=True)
class MxRecord:
    """One MX record (RFC 5321 §5.1); the exchange "" is a null MX (RFC 7505)."""

    preference: int
    exchange: str  # lower case, without the final dot


class Resolver(Protocol):
    """DNS. Each raises DnsError (temporary) or NoSuchDomainError; no records is an empty list."""

    async def mx(self, domain: str) -> Sequence[MxRecord]:
        """The MX records of a domain, in any order."""
        ...

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        """A and AAAA of a host name, in the order to try them."""
        ...

    async def ptr(self, address: IPAddress) -> str:
        """The host name of an address; "" when it has none or nobody answers."""
        ...


class Entropy(Protocol):
    """Chance, so that a test can choose it."""

    def jitter(self) -> float:
        """A number from 0.0 up to, not including, 1.0."""
        ...
