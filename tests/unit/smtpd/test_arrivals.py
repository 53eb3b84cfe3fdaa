"""Arrivals: which mail answers a kick; and whom we asked to send is not held up as a stranger would be."""

from typing import Any

from cmail.smtpd.arrivals import WATCHED_MAX, Arrivals
from cmail.smtpd.guests import TOO_MANY_MESSAGES, TOO_MANY_OF_YOU, TOO_MANY_RECIPIENTS, Guests
from cmail.smtpd.settings import IntakeSettings, RelaySettings
from cmail.smtpd.turned import as_stranger
from tests.support.intake import make_context

OWN = RelaySettings(("192.0.2.0/24",))


def house(**limits: Any) -> Guests:
    return Guests(make_context(settings=IntakeSettings(**limits), relay=OWN))


def test_which_mail_is_counted() -> None:
    """From outside always; from our own networks when we kicked that address, or over a turned connection."""
    context, arrivals = make_context(relay=OWN), Arrivals()
    assert not arrivals.is_on
    arrivals.watch(["192.0.2.1", "2001:db8::1"])
    assert arrivals.is_on
    counts = []
    for address in ("203.0.113.1", "192.0.2.9", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", ""):
        before = arrivals.count
        arrivals.note(context.client(address))
        counts.append(arrivals.count - before)
    assert counts == [1, 0, 1, 1, 1, 0]
    arrivals.watch([])
    arrivals.note(context.client("192.0.2.1"))
    assert arrivals.count == 4
    arrivals.note(as_stranger(context.client("192.0.2.1")))
    assert arrivals.count == 5 and arrivals.own_count == 3


def test_watched_addresses_are_bounded() -> None:
    """A host with a thousand addresses does not fill memory."""
    arrivals = Arrivals()
    arrivals.watch(f"203.0.{n // 250}.{n % 250}" for n in range(1000))
    context = make_context(relay=OWN)
    assert sum(arrivals.is_watched(context.client(f"203.0.0.{n}")) for n in range(250)) == WATCHED_MAX


def test_whom_we_asked_is_not_limited_as_a_stranger() -> None:
    """Five hundred messages that waited at the provider come in one minute; others have their limits."""
    guests = house(
        sessions_per_address=2, messages_per_minute=3, recipients_per_minute=3, connections_per_minute=3
    )
    asked, other = guests_client("203.0.113.1"), guests_client("203.0.113.2")
    guests.arrivals.watch(["203.0.113.1"])
    assert {guests.admit(asked, 0) for _ in range(9)} == {b""}
    assert {guests.take_message(asked, "", 0) for _ in range(9)} == {b""}
    assert {guests.take_recipient(asked, "", 0) for _ in range(9)} == {b""}
    assert [guests.admit(other, 0) for _ in range(3)] == [b"", b"", TOO_MANY_OF_YOU]
    assert [guests.take_message(other, "", 0) for _ in range(4)][-1] == TOO_MANY_MESSAGES
    assert [guests.take_recipient(other, "", 0) for _ in range(4)][-1] == TOO_MANY_RECIPIENTS


def guests_client(address: str):
    return make_context(relay=OWN).client(address)
