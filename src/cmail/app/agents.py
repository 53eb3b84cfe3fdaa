"""The delivery agents of a worker: one for mailboxes here, one for LMTP, one for SMTP, with what they ask."""

import os
import random
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from cmail.app.snapshot import Snapshot
from cmail.delivery.agent import DeliveryAgent
from cmail.delivery.lmtp import LmtpAgent
from cmail.delivery.local import LocalAgent
from cmail.delivery.settings import FORWARD_PORT
from cmail.delivery.smtp import SmtpAgent
from cmail.link.clock import LinkView
from cmail.mail.address import Address
from cmail.net.dns_client import DnsClient
from cmail.observe import maillog
from cmail.policy.routing import LOCAL, is_internet
from cmail.settings import parse_endpoint
from cmail.storage.mailboxes import MaildirStore
from cmail.world import Clock, IPAddress

LOCAL_LANES: Final = 2  # each takes many messages a thread hop
THIN_CONNECTIONS: Final = 2  # on a thin link: one that streams fills it, and the other is for small mail


class Chance:
    """world.Entropy, in earnest."""

    def jitter(self) -> float:
        """A number from 0.0 up to, not including, 1.0."""
        return random.random()


class Agents:
    """Made once; update() brings other settings, from the next connection on."""

    def __init__(
        self,
        snapshot: Snapshot,
        workers_count: int,
        own_ports: frozenset[int],
        mailbox_of: Callable[[Address], Address | None],
        clock: Clock,
        link_clock: LinkView,
    ) -> None:
        self._snapshot = snapshot
        self._link_clock = link_clock
        self._workers_count = workers_count
        self._own_ports = own_ports
        self._mailbox_of = mailbox_of
        settings = snapshot.settings
        host = settings.host
        self.resolver = DnsClient(settings.dns)
        self.resolver.ours = _hosts_of(snapshot)
        self._smtp = SmtpAgent(
            settings.smtp,
            host.hostname,
            self._password,
            self.resolver,
            clock,
            Chance(),
            settings.tls.ca_file,
            _log,
            self._is_own_address,
            lambda: link_clock.is_down,
            line=lambda: link_clock.orders,
        )
        self.smtp = self._smtp  # which sites are reached by, too
        self._lmtp = LmtpAgent(settings.local, host.hostname, clock, self.resolver, _log)
        store = MaildirStore(os.path.join(host.data_dir, "mail"))
        self._local = LocalAgent(store, mailbox_of, host.hostname, clock, _log)
        self.by_kind: Mapping[str, DeliveryAgent] = {
            "local": self._local,
            "lmtp": self._lmtp,
            "relay": self._smtp,
            "mx": self._smtp,
            "host": self._smtp,
        }

    def update(self, snapshot: Snapshot) -> None:
        """Other settings."""
        self._snapshot = snapshot
        settings = snapshot.settings
        hostname = settings.host.hostname
        self.resolver.update(settings.dns)
        self.resolver.ours = _hosts_of(snapshot)
        self._smtp.update(settings.smtp, hostname, self._password, settings.tls.ca_file)
        self._lmtp.update(settings.local, hostname)
        self._local.update(self._mailbox_of, hostname)

    def close(self) -> None:
        """End the threads of local delivery."""
        self._local.close()

    def connections_max(self, route: str) -> int:
        """This worker's share of the connections to a next hop."""
        if route == LOCAL:
            return LOCAL_LANES
        if self._link_clock.orders.is_thin and is_internet(route):
            return max(1, THIN_CONNECTIONS // self._workers_count)
        return max(1, self._snapshot.settings.smtp.advanced.connections // self._workers_count)

    def _password(self) -> str:
        return self._snapshot.smtp_password

    def _is_own_address(self, address: IPAddress, port: int) -> bool:
        return port in self._own_ports and _is_of_this_machine(address)


def _hosts_of(snapshot: Snapshot) -> frozenset[str]:
    """The hosts that the settings name: what is wrong with them bounces nothing."""
    settings = snapshot.settings
    forwards = (parse_endpoint(each.host, FORWARD_PORT).host for each in settings.forward)
    sites = (site.endpoint.host for site in settings.site if site.endpoint is not None)
    return frozenset((settings.smtp.host, *forwards, *sites))


@lru_cache(maxsize=1000)
def _is_of_this_machine(address: IPAddress) -> bool:
    """Whether an address is one of this machine's: only then can a socket be bound to it."""
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _log(line: str) -> None:
    """What agents say comes as `warning: ...` or `error: ...`."""
    maillog.warned(line.removeprefix("warning: ").removeprefix("error: "))
