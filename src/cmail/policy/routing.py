"""Routing table -> the route of an address: whose it is and which way it goes; first match wins."""

from dataclasses import dataclass, field
from typing import Final, Literal

from cmail.mail.address import Address

LOCAL: Final = "local"  # a mailbox here
LMTP: Final = "lmtp"  # the LMTP server of [local]
RELAY: Final = "relay"  # the upstream server of [smtp]
MX_PREFIX: Final = "mx:"  # mx:example.org, mx:[192.0.2.1]


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Which way each domain goes. A route is a short text that stands in the spool; what it means
    (which host, which port) is looked up when it is used, so a changed host needs no new route."""

    hostname: str
    domains: frozenset[str]  # lower case
    local_delivery: Literal["maildir", "lmtp"]
    delivery: Literal["smarthost", "mx"]
    own_literals: frozenset[str] = field(default_factory=frozenset)  # "[127.0.0.1]"

    def is_local(self, domain: str) -> bool:
        """Whether mail for the domain is ours; the host name always is."""
        return domain in self.domains or domain == self.hostname or domain in self.own_literals

    def route(self, address: Address) -> str:
        """The route of a forward-path."""
        if self.is_local(address.domain):
            return LOCAL if self.local_delivery == "maildir" else LMTP
        return RELAY if self.delivery == "smarthost" else MX_PREFIX + address.domain


def is_internet(route: str) -> bool:
    """Whether mail on it is mail for the Internet: batch and windows hold it."""
    return route not in (LOCAL, LMTP)
