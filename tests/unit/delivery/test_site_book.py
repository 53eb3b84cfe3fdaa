"""SiteBook: which sites an ETRN means, who may speak for them, and when one counts as there."""

from dataclasses import replace
from datetime import timedelta

from cmail.delivery.site_book import SiteBook, Way
from cmail.delivery.site_settings import SiteSettings
from cmail.policy.routing import is_internet
from cmail.protocol.smtp.site_commands import Etrn

SHIP = SiteSettings(
    "ship", ("ship.example", "crew.ship.example"), user="Ship@example.org", stays=timedelta(minutes=1)
)
FARM = SiteSettings(
    "farm", ("farm.example",), networks=("192.0.2.0/28", "2001:db8::/64"), host="farm.lan:2525"
)


class Time:
    """Monotonic seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def book_of(time: Time) -> SiteBook:
    """With both."""
    book = SiteBook(time)
    book.update((SHIP, FARM))
    return book


def test_who_may_speak_for_which() -> None:
    """By its account, whatever its letters; by its networks; nobody by an empty name."""
    book = book_of(Time())
    assert book.of_client("198.51.100.1", "SHIP@EXAMPLE.ORG") == [SHIP]
    assert book.of_client("192.0.2.15", "") == [FARM] == book.of_client("2001:db8::7", "")
    assert book.of_client("192.0.2.16", "") == [] == book.of_user("") == book.of_client("", "")
    moved = replace(FARM, networks=("192.0.2.16/28",))
    book.update((SHIP, moved))
    assert book.of_client("192.0.2.16", "") == [moved] and book.of_client("192.0.2.15", "") == []
    assert book.of_client("192.0.2.16", "ship@example.org") == [SHIP, moved]


def test_what_an_etrn_means() -> None:
    """RFC 1985 §5.3: a domain itself, one with all below it, a name."""
    book = book_of(Time())

    def names(option: str, node: str) -> list[str]:
        return [site.name for site in book.meant(Etrn(option, node), book.sites)]

    assert names("", "ship.example") == ["ship"] and names("", "example") == []
    assert names("@", "example") == ["ship", "farm"] and names("@", "ip.example") == []
    assert names("#", "SHIP") == ["ship"] and names("#", "ship.example") == []


def test_a_site_is_there_for_a_while() -> None:
    """Its route is open from when it came until it has gone; it is reached where it asked from, or at its host."""
    time = Time()
    book = book_of(time)
    assert not book.is_open("site:ship") and book.way("site:ship") is None
    assert book.is_open("relay") and not is_internet("site:ship")
    book.came(SHIP, "198.51.100.1", 1, "ETRN")
    book.came(FARM, "192.0.2.3", 1, "finger")
    assert book.way("site:ship") == Way("198.51.100.1", 25, "opportunistic")
    assert book.way("site:farm") == Way("farm.lan", 2525, "opportunistic")
    time.now += 59
    assert book.is_open("site:ship")
    time.now += 1
    assert not book.is_open("site:ship") and book.is_open("site:farm")


def test_one_that_was_seen_is_not_open_for_it() -> None:
    """ATRN takes its mail over its own connection: nobody may be connected to. Settings without it forget it."""
    book = book_of(Time())
    book.seen("ship", 7, "ATRN")
    book.seen("nobody", 7, "ATRN")
    assert not book.is_open("site:ship") and book.presence("ship").seen_wall_ms == 7
    book.update((FARM,))
    assert book.presence("ship").seen_wall_ms == 0 and book.way("site:ship") is None
