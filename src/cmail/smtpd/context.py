"""IntakeContext: all that intake is given by the house; replaced whole when settings or accounts change.

Sessions keep the context that they began with; the next one gets the new."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from cmail.mail import limits
from cmail.policy.places import place_of
from cmail.policy.rewriting import Directory
from cmail.policy.routing import RoutingTable
from cmail.protocol.cram_md5 import CRAM_MD5
from cmail.protocol.sasl import MECHANISMS
from cmail.protocol.smtp.extensions import Kind, ehlo_reply, offers
from cmail.protocol.smtp.server_states import Rules
from cmail.smtpd.offered import HOUR_MS, is_offered, offered_wishes
from cmail.smtpd.roles import Accounts, MailLog, SiteDesk
from cmail.smtpd.settings import IntakeSettings, RelaySettings
from cmail.storage.spool import Spool
from cmail.world import Clock, LinkClock

_CLIENTS_MAX: Final = 4096  # remembered; then all are forgotten
_REPLIES_MAX: Final = 100  # of EHLO, likewise
SERVICES: Final[Mapping[Kind, str]] = {
    "smtp": "smtpd",
    "submission": "submission/smtpd",
    "submissions": "submissions/smtpd",
    "lmtp": "lmtpd",
    "odmr": "odmr/smtpd",
    "finger": "fingerd",
}


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end, as far as its address says."""

    address: str  # as text, an IPv4 address as such; "" for a Unix socket
    name: str  # from the DNS, "unknown" without one
    is_loopback: bool
    may_relay: bool  # in relay.networks
    log_text: str
    place: str  # what limits of an address count by: the address, or its /64


@dataclass(frozen=True)
class IntakeContext:
    """What the sessions of one worker work with."""

    hostname: str
    domains: tuple[str, ...]
    routing: RoutingTable
    directory: Directory
    spool: Spool
    clock: Clock
    link_clock: LinkClock
    maillog: MailLog
    settings: IntakeSettings = field(default_factory=IntakeSettings)
    relay: RelaySettings = field(default_factory=RelaySettings)
    max_message_size: int = 50 * 2**20
    refuse_unknown_users: bool = True
    accounts: Accounts | None = None  # None: no log-in is offered
    tls_context: ssl.SSLContext | None = None  # None: no TLS is offered
    workers_count: int = 1  # who share what an address may have
    validation: bool = True  # policy.validation looks at every message
    sites: SiteDesk | None = None  # None: there is no [[site]]

    @cached_property
    def _networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(network, strict=False) for network in self.relay.networks)

    @cached_property
    def _clients(self) -> dict[str, Client]:
        return {}

    @cached_property
    def _parts(self) -> dict[Kind, "ListenerFacts"]:
        return {}

    def client(self, address: str) -> Client:
        """What an address says; remembered."""
        found = self._clients.get(address)
        if found is None:
            if len(self._clients) >= _CLIENTS_MAX:
                self._clients.clear()
            found = self._clients[address] = self._look_at(address)
        return found

    def _look_at(self, address: str) -> Client:
        if not address:  # a Unix socket: whoever may open it is from here
            return Client("", "localhost", True, True, "localhost[local]", "")
        ip = ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        may_relay = any(ip.version == network.version and ip in network for network in self._networks)
        name = "localhost" if ip.is_loopback else "unknown"
        return Client(str(ip), name, ip.is_loopback, may_relay, f"{name}[{ip}]", place_of(str(ip)))

    def facts(self, kind: Kind) -> "ListenerFacts":
        """What is the same for all sessions of a listener kind."""
        found = self._parts.get(kind)
        if found is None:
            found = self._parts[kind] = ListenerFacts(self, kind)
        return found


class ListenerFacts:
    """Rules, greeting and EHLO replies of a listener kind, made once."""

    def __init__(self, context: IntakeContext, kind: Kind) -> None:
        self.context = context
        self.kind = kind
        self.service = SERVICES[kind]
        settings = context.settings
        self.rules = Rules(
            kind,
            context.domains[0] if context.domains else context.hostname,
            context.max_message_size,
            settings.recipients,
            settings.errors,
            settings.idle_commands,
            context.tls_context is not None,
            limits.LINES_A_TURN,
        )
        word = "LMTP" if kind == "lmtp" else "ESMTP"
        self.greeting = f"220 {context.hostname} {word} CMail\r\n".encode()
        self.helo_reply = f"250 {context.hostname}\r\n".encode()
        self._ehlo_replies: dict[tuple[bool, bool, bool, int], bytes] = {}

    def mechanisms(self, *, is_private: bool) -> tuple[str, ...]:
        """What AUTH offers: only where nobody can listen, under TLS or on this machine (rule 19). A site
        whose password is in a file of its own may say its digest anywhere: that is good for ATRN alone."""
        context = self.context
        if context.accounts is None or self.kind == "lmtp":
            return ()
        has_digest = self.kind == "odmr" and context.sites is not None and context.sites.book.has_passwords
        return (MECHANISMS if is_private else ()) + ((CRAM_MD5,) if has_digest else ())

    def ehlo_reply(self, *, is_tls: bool, is_loopback: bool, is_logged_in: bool, may_relay: bool) -> bytes:
        """The reply to EHLO or LHLO. What says how late a message may be held is made anew each hour."""
        is_asked = is_offered(self.kind, is_logged_in=is_logged_in, may_relay=may_relay)
        now_ms = self.context.clock.wall_ms() if is_asked else 0
        key = (is_tls, is_loopback, is_logged_in, now_ms // HOUR_MS)
        found = self._ehlo_replies.get(key)
        if found is None:
            if len(self._ehlo_replies) >= _REPLIES_MAX:
                self._ehlo_replies.clear()
            is_starttls = self.context.tls_context is not None and not is_tls
            mechanisms = () if is_logged_in else self.mechanisms(is_private=is_tls or is_loopback)
            wishes = offered_wishes(self.context.settings, now_ms) if is_asked else ()
            keywords = offers(
                self.rules.size_max, is_starttls=is_starttls, mechanisms=mechanisms, scheduling=wishes
            )
            found = self._ehlo_replies[key] = ehlo_reply(self.context.hostname, keywords)
        return found
