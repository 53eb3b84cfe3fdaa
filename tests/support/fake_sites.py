"""FakeSites: a desk for sites in memory; notes who came and what was let go."""

from collections.abc import Iterable

from cmail.delivery.site_book import SiteBook
from cmail.delivery.site_settings import SiteSettings
from cmail.delivery.turned import TurnedPipe
from cmail.smtpd.roles import Waiting
from cmail.storage.spool import SpoolError

SHIP = SiteSettings("ship", ("ship.example",), user="ship@example.org", networks=("192.0.2.0/28",))


class FakeTurn:
    """Nothing is sent."""

    async def run(self, pipe: TurnedPipe) -> None:
        """At once at its end."""


class FakeSites:
    """See smtpd.roles.SiteDesk."""

    def __init__(self, *sites: SiteSettings, waiting: Waiting | None = None) -> None:
        self.book = SiteBook(lambda: 0.0)
        self.book.update(sites or (SHIP,))
        self.count: Waiting | None = waiting if waiting is not None else Waiting(3)
        self.came_there: list[tuple[str, str]] = []
        self.events: list[str] = []
        self.held: dict[str, str] = {}  # queue id -> the site that it is held for

    async def waiting(self, sites: Iterable[SiteSettings]) -> Waiting:
        """As it was set; None: the spool fails."""
        if self.count is None:
            raise SpoolError("a fault")
        return self.count

    async def came(self, site: SiteSettings, address: str, how: str) -> None:
        """Noted."""
        self.came_there.append((site.name, address))

    def seen(self, site: SiteSettings, how: str) -> None:
        """Noted."""
        self.events.append(f"seen {site.name}")

    async def release(self, queue_id: str, sites: Iterable[SiteSettings]) -> int:
        """Of `held`."""
        is_theirs = self.held.get(queue_id) in [site.name for site in sites]
        return int(is_theirs and bool(self.held.pop(queue_id)))

    def turn(self, sites: Iterable[SiteSettings], client: str) -> FakeTurn:
        """Noted."""
        self.events.append("turn " + ",".join(site.name for site in sites))
        return FakeTurn()

    def refusal(self, domain: str, size_bytes: int) -> bytes:
        """There is always room."""
        return b""

    def took(self, routes: Iterable[str], size_bytes: int) -> None:
        """Not counted."""

    def logged_in(self, username: str, address: str) -> None:
        """Noted."""
        self.events.append(f"log-in {username}")
