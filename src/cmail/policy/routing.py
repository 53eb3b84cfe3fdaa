"""Routing table -> the route of an address: whose it is and which way it goes; first match wins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final, Literal

from cmail.mail.address import Address

LOCAL: Final = "local"  # a mailbox here
LMTP: Final = "lmtp"  # the LMTP server of [local]
RELAY: Final = "relay"  # the upstream server of [smtp]
MX_PREFIX: Final = "mx:"  # mx:example.org, mx:[192.0.2.1]
HOST_PREFIX: Final = "host:"  # host:mail.branch.example:25/opportunistic: what a [[forward]] names
SITE_PREFIX: Final = "site:"  # site:ship: a server that comes and goes, as a [[site]] names it

# No server of the Internet has such a name (RFC 6762 §3, RFC 8375 §3).
_NEAR_ENDS: Final = (".localhost", ".local", ".lan", ".internal", ".home.arpa")
_NEAR_NETWORKS: Final = [  # RFC 1918 §3, RFC 4193 §3
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Which way each domain goes. A route is a short text that stands in the spool; what it means
    (which host, which port) is looked up when it is used, so a changed host needs no new route."""

    hostname: str
    domains: frozenset[str]  # lower case
    local_delivery: Literal["maildir", "lmtp"]
    delivery: Literal["smarthost", "mx"]
    own_literals: frozenset[str] = field(default_factory=frozenset)  # "[127.0.0.1]"
    forwards: Mapping[str, str] = field(default_factory=dict)  # domain (of a site too), lower case -> route

    def is_local(self, domain: str) -> bool:
        """Whether mail for the domain is ours; the host name always is."""
        return domain in self.domains or domain == self.hostname or domain in self.own_literals

    def is_taken(self, domain: str) -> bool:
        """Whether mail for the domain is taken from anybody: ours, or of a host or site that gets it from
        us."""
        return self.is_local(domain) or domain in self.forwards

    def route(self, address: Address) -> str:
        """The route of a forward-path."""
        domain = address.domain
        if self.is_local(domain):
            return LOCAL if self.local_delivery == "maildir" else LMTP
        if domain in self.forwards:
            return self.forwards[domain]
        return RELAY if self.delivery == "smarthost" else MX_PREFIX + address.domain


def is_internet(route: str) -> bool:
    """Whether mail on it is mail for the Internet: batch and windows hold it. A site comes to us, over
    whatever there is."""
    if route.startswith(SITE_PREFIX):
        return False
    if route.startswith(HOST_PREFIX):
        return not is_near(parse_host_route(route)[0])
    return route not in (LOCAL, LMTP)


def host_route(host: str, port: int, tls: str) -> str:
    """The route to a host that a [[forward]] names. It says all that there is to know, so that mail which
    waits never goes to the new host with what was set for the old one."""
    return f"{HOST_PREFIX}{host}:{port}/{tls}"


def site_route(name: str) -> str:
    """The route to a [[site]]. Where it is says what it asked from, or the settings, when it is there."""
    return SITE_PREFIX + name


@lru_cache(maxsize=1000)
def parse_host_route(route: str) -> tuple[str, int, str]:
    """Host (an IPv6 address without brackets), port and tls of such a route."""
    endpoint, _, tls = route.removeprefix(HOST_PREFIX).rpartition("/")
    host, _, port = endpoint.rpartition(":")
    return host, int(port), tls


@lru_cache(maxsize=1000)
def is_near(host: str) -> bool:
    """Whether a host is within our own walls as far as its name or address says it: the line to the
    Internet does not matter to it. What only the DNS could tell is not asked."""
    try:
        address = ip_address(host)
    except ValueError:
        name = host.lower().removesuffix(".")
        return "." not in name or name.endswith(_NEAR_ENDS)
    if address.is_loopback or address.is_link_local:
        return True
    return any(address.version == network.version and address in network for network in _NEAR_NETWORKS)
