"""SiteBook: which sites there are, who may speak for them, and which of them are there now."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from cmail.delivery.site_settings import SITE_PORT, SiteSettings
from cmail.policy.routing import SITE_PREFIX
from cmail.protocol.smtp.site_commands import QUEUE, WHOLE_DOMAIN, Etrn

_ADDRESSES_MAX: Final = 4096  # remembered; then all are forgotten


@dataclass(slots=True)
class Presence:
    """When and how a site was here last, and where it is reached while it stays."""

    until: float = 0.0  # monotonic; it counts as there until then
    host: str = ""
    port: int = SITE_PORT
    seen_wall_ms: int = 0
    how: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """How to come to a site."""

    host: str
    port: int
    tls: str


class SiteBook:
    """One for a worker. Times are given by who calls; nothing here waits."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._sites: dict[str, SiteSettings] = {}
        self._networks: dict[str, tuple[IPv4Network | IPv6Network, ...]] = {}
        self._names_at: dict[str, frozenset[str]] = {}  # address -> sites in whose networks it is
        self._presences: dict[str, Presence] = {}
        self._passwords: dict[str, str] = {}  # of users, in lower case

    def update(self, sites: Iterable[SiteSettings], passwords: Mapping[str, str] | None = None) -> None:
        """Other settings; `passwords` by the paths of their files. Who is there stays there."""
        self._sites = {site.name: site for site in sites}
        known = passwords or {}
        found = {
            site.user.lower(): known.get(site.password_file, "") for site in self.sites if site.password_file
        }
        self._passwords = {user: password for user, password in found.items() if user and password}
        self._networks = {
            name: tuple(ip_network(text, strict=False) for text in site.networks)
            for name, site in self._sites.items()
        }
        self._names_at = {}
        self._presences = {name: p for name, p in self._presences.items() if name in self._sites}

    @property
    def sites(self) -> Sequence[SiteSettings]:
        """All of them."""
        return tuple(self._sites.values())

    def named(self, name: str) -> SiteSettings | None:
        """A site by its name."""
        return self._sites.get(name)

    # Who may speak for which.

    def of_client(self, address: str, username: str) -> list[SiteSettings]:
        """The sites that a client may ask for: by its log-in, or by where it comes from."""
        near = self._near(address)
        if not (near or username):
            return []
        wanted = username.lower()
        return [site for site in self.sites if site.name in near or (wanted and site.user.lower() == wanted)]

    def of_user(self, username: str) -> list[SiteSettings]:
        """The sites of an account."""
        wanted = username.lower()
        return [site for site in self.sites if wanted and site.user.lower() == wanted]

    @property
    def has_passwords(self) -> bool:
        """Whether anybody may log in by CRAM-MD5."""
        return bool(self._passwords)

    def password_of(self, username: str) -> str:
        """The password of a site for CRAM-MD5; "": nobody has it."""
        return self._passwords.get(username.lower(), "")

    def _near(self, address: str) -> frozenset[str]:
        """Remembered: every EHLO asks."""
        found = self._names_at.get(address)
        if found is None:
            if len(self._names_at) >= _ADDRESSES_MAX:
                self._names_at.clear()
            found = self._names_at[address] = self._look(address)
        return found

    def _look(self, address: str) -> frozenset[str]:
        if not address:
            return frozenset()
        ip = ip_address(address)
        return frozenset(
            name
            for name, networks in self._networks.items()
            if any(ip.version == network.version and ip in network for network in networks)
        )

    def meant(self, etrn: Etrn, sites: Iterable[SiteSettings]) -> list[SiteSettings]:
        """Those of some sites that an ETRN names (RFC 1985 §5.3)."""
        if etrn.option == QUEUE:
            return [site for site in sites if site.name.lower() == etrn.node.lower()]
        if etrn.option == WHOLE_DOMAIN:
            ending = "." + etrn.node
            return [s for s in sites if any(d == etrn.node or d.endswith(ending) for d in s.domains)]
        return [site for site in sites if etrn.node in site.domains]

    # Who is there.

    def came(self, site: SiteSettings, address: str, wall_ms: int, how: str) -> Presence:
        """It has asked for its mail: it counts as there for a while."""
        endpoint = site.endpoint
        presence = self._presences.setdefault(site.name, Presence())
        presence.host, presence.port = (endpoint.host, endpoint.port) if endpoint else (address, SITE_PORT)
        presence.until = self._monotonic() + site.stays.total_seconds() if presence.host else 0.0
        presence.seen_wall_ms, presence.how = wall_ms, how
        return presence

    def seen(self, name: str, wall_ms: int, how: str) -> None:
        """It was here, and nothing is to be sent because of it."""
        if name in self._sites:
            presence = self._presences.setdefault(name, Presence())
            presence.seen_wall_ms, presence.how = wall_ms, how

    def presence(self, name: str) -> Presence:
        """What is known of a site."""
        return self._presences.get(name) or Presence()

    def is_open(self, route: str) -> bool:
        """Whether connections may be opened to the site of a route now; every other route is open."""
        if not route.startswith(SITE_PREFIX):
            return True
        presence = self._presences.get(route.removeprefix(SITE_PREFIX))
        return presence is not None and presence.until > self._monotonic()

    def way(self, route: str) -> Way | None:
        """How to come to the site of a route; None while it is not there."""
        name = route.removeprefix(SITE_PREFIX)
        site = self._sites.get(name)
        if site is None or not self.is_open(route):
            return None
        presence = self._presences[name]
        return Way(presence.host, presence.port, site.tls)
