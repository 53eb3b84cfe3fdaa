"""Guests: who may come in, by all sessions, by address, by minute; for whom room is kept."""

from typing import Any

from cmail.smtpd.context import Client
from cmail.smtpd.guests import TOO_MANY, TOO_MANY_OF_YOU, TOO_MANY_RECIPIENTS, TOO_OFTEN, Guests
from cmail.smtpd.settings import IntakeSettings, RelaySettings
from tests.support.intake import make_context

OWN = RelaySettings(("192.0.2.0/24",))


class House:
    """Guests of a server whose own network is 192.0.2.0/24; somebody has logged in from 198.51.100.7."""

    def __init__(self, workers: int = 1, **limits: Any) -> None:
        self.context = make_context(
            settings=IntakeSettings(**limits), relay=OWN, workers_count=workers, accounts=self
        )
        self.guests = Guests(self.context)

    def knows(self, place: str) -> bool:
        return place == "198.51.100.7"

    def client(self, address: str) -> Client:
        return self.context.client(address)

    def admit(self, address: str, now: int = 0) -> bytes:
        return self.guests.admit(self.client(address), now)


def test_sessions_of_one_address() -> None:
    """So many and no more; whoever leaves makes room; others and our own networks are not touched."""
    house = House(sessions_per_address=3)
    assert [house.admit("203.0.113.1") for _ in range(4)] == [b"", b"", b"", TOO_MANY_OF_YOU]
    assert house.admit("203.0.113.2") == b""
    assert {house.admit("192.0.2.1") for _ in range(50)} == {b""}
    house.guests.depart(house.client("203.0.113.1"))
    assert house.admit("203.0.113.1") == b""


def test_one_ipv6_network_is_one_client() -> None:
    """Who has a /64 has all of its addresses; the next /64 is somebody else."""
    house = House(sessions_per_address=2)
    assert house.admit("2001:db8::1") == house.admit("2001:db8::2") == b""
    assert house.admit("2001:db8::3") == TOO_MANY_OF_YOU
    assert house.admit("2001:db8:0:1::1") == b""


def test_the_last_tenth_is_for_our_own() -> None:
    """Strangers from everywhere take nine tenths; our networks and places of log-ins still come in, until
    nothing is left."""
    house = House(sessions=20)
    assert {house.admit(f"203.0.113.{n}") for n in range(18)} == {b""}
    assert house.admit("203.0.113.99") == TOO_MANY
    assert house.admit("198.51.100.7") == house.admit("192.0.2.1") == b""
    assert house.admit("192.0.2.1") == TOO_MANY


def test_connections_that_bring_nothing() -> None:
    """So many a minute; who brings a message or logs in may come as often as it likes."""
    house = House(connections_per_minute=60)
    anybody = house.client("203.0.113.1")

    def come(*, brings: bool, now: int) -> bytes:
        refusal = house.admit("203.0.113.1", now)
        if not refusal:
            if brings:
                house.guests.proved(anybody)
            house.guests.depart(anybody)
        return refusal

    assert {come(brings=True, now=0) for _ in range(500)} == {b""}
    assert [come(brings=False, now=0) for _ in range(61)] == [b""] * 60 + [TOO_OFTEN]
    assert come(brings=False, now=1) == b""
    assert come(brings=False, now=1) == TOO_OFTEN


def test_messages_and_recipients_a_minute() -> None:
    """By address; who has logged in is counted by account, so an office behind one address is many."""
    house = House(messages_per_minute=2, recipients_per_minute=3)
    office = house.client("203.0.113.1")
    taken: Any = house.guests.take_message
    assert [bool(taken(office, "", 0)) for _ in range(3)] == [False, False, True]
    assert [bool(taken(office, f"user{n}", 0)) for n in range(9)] == [False] * 9
    replies = [house.guests.take_recipient(office, "anna", 0) for _ in range(4)]
    assert replies == [b"", b"", b"", TOO_MANY_RECIPIENTS]
    assert house.guests.take_recipient(office, "anna", 20) == b""


def test_shares_of_workers() -> None:
    """Each worker hands out its part and some more, as chance spreads connections; never more than all."""
    house = House(workers=4, sessions_per_address=100)
    replies = [house.admit("203.0.113.1") for _ in range(100)]
    assert 25 < replies.count(b"") < 50
    one = House(workers=4, sessions_per_address=1)
    assert [one.admit("203.0.113.1") for _ in range(2)] == [b"", TOO_MANY_OF_YOU]


def test_when_it_is_crowded() -> None:
    """With three quarters taken, in all or of the address, strangers must be quick; our own need not."""
    house = House(sessions=8, sessions_per_address=4)
    for address in ["203.0.113.1"] * 2 + ["192.0.2.1"]:
        house.admit(address)
    assert not house.guests.is_crowded(house.client("203.0.113.1"))
    house.admit("203.0.113.1")
    assert house.guests.is_crowded(house.client("203.0.113.1"))
    assert not house.guests.is_crowded(house.client("203.0.113.2"))
    house.admit("192.0.2.1")
    house.admit("192.0.2.1")
    assert house.guests.is_crowded(house.client("203.0.113.2"))
    assert not house.guests.is_crowded(house.client("192.0.2.1"))


def test_other_settings() -> None:
    """A new limit holds for who comes next; who is here stays counted."""
    house = House(sessions_per_address=1)
    house.admit("203.0.113.1")
    house.guests.update(make_context(settings=IntakeSettings(sessions_per_address=2), relay=OWN))
    assert house.admit("203.0.113.1") == b""
    assert house.admit("203.0.113.1") == TOO_MANY_OF_YOU
