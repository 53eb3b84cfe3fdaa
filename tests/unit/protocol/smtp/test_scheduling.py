"""FUTURERELEASE, DELIVERBY, MT-PRIORITY: each form of each parameter, and what EHLO says."""

import pytest

from cmail.mail.date import read_timestamp
from cmail.protocol.smtp.client_offers import parse_offers
from cmail.protocol.smtp.client_replies import read_reply
from cmail.protocol.smtp.commands import CommandError, parse_mail
from cmail.protocol.smtp.extensions import ehlo_reply
from cmail.protocol.smtp.scheduling import Schedule, by_value, scheduling_keywords

EIGHT_MS = read_timestamp("2026-11-23T08:00:00Z")

TAKEN = {
    "HOLDFOR=0": Schedule(("HOLDFOR",)),
    "HOLDFOR=1": Schedule(("HOLDFOR",), hold_for_s=1),
    "holdfor=86400": Schedule(("HOLDFOR",), hold_for_s=86400),
    "HOLDFOR=000000007": Schedule(("HOLDFOR",), hold_for_s=7),
    "HOLDFOR=999999999": Schedule(("HOLDFOR",), hold_for_s=999_999_999),
    "HOLDUNTIL=2026-11-23T08:00:00Z": Schedule(("HOLDUNTIL",), hold_until_ms=EIGHT_MS),
    "HOLDUNTIL=2026-11-23t08:00:00z": Schedule(("HOLDUNTIL",), hold_until_ms=EIGHT_MS),
    "HOLDUNTIL=2026-11-23T09:30:00+01:30": Schedule(("HOLDUNTIL",), hold_until_ms=EIGHT_MS),
    "HOLDUNTIL=2026-11-23T00:00:00-08:00": Schedule(("HOLDUNTIL",), hold_until_ms=EIGHT_MS),
    "HOLDUNTIL=2026-11-23T08:00:00.25Z": Schedule(("HOLDUNTIL",), hold_until_ms=EIGHT_MS + 250),
    "HOLDUNTIL=2026-11-23T08:00:00.123456789012345678901Z": Schedule(
        ("HOLDUNTIL",), hold_until_ms=EIGHT_MS + 123
    ),
    "HOLDUNTIL=2016-12-31T23:59:60Z": Schedule(
        ("HOLDUNTIL",), hold_until_ms=read_timestamp("2017-01-01T00:00:00Z")
    ),
    "HOLDUNTIL=1969-01-01T00:00:00Z": Schedule(("HOLDUNTIL",), hold_until_ms=1),
    "BY=120;R": Schedule(("BY",), by_s=120, by_mode="R"),
    "by=+120;rt": Schedule(("BY",), by_s=120, by_mode="RT"),
    "BY=1;N": Schedule(("BY",), by_s=1, by_mode="N"),
    "BY=0;N": Schedule(("BY",), by_s=0, by_mode="N"),
    "BY=-999999999;NT": Schedule(("BY",), by_s=-999_999_999, by_mode="NT"),
    "MT-PRIORITY=0": Schedule(("MT-PRIORITY",), priority=0),
    "MT-PRIORITY=9": Schedule(("MT-PRIORITY",), priority=9),
    "mt-priority=-9": Schedule(("MT-PRIORITY",), priority=-9),
    "HOLDFOR=60 BY=30;N MT-PRIORITY=-1": Schedule(("HOLDFOR", "BY", "MT-PRIORITY"), 60, 0, 30, "N", -1),
}
REFUSED = (
    "HOLDFOR",
    "HOLDFOR=",
    "HOLDFOR=-1",
    "HOLDFOR=+1",
    "HOLDFOR=1.5",
    "HOLDFOR=1000000000",
    "HOLDFOR=1h",
    "HOLDFOR=1 HOLDFOR=2",
    "HOLDFOR=1 HOLDUNTIL=2026-11-23T08:00:00Z",
    "HOLDUNTIL=2026-11-23T08:00:00Z HOLDFOR=1",
    "HOLDUNTIL",
    "HOLDUNTIL=2026-11-23",
    "HOLDUNTIL=2026-11-23T08:00Z",
    "HOLDUNTIL=2026-11-23T08:00:00",
    "HOLDUNTIL=2026-11-23T08:00:00+0100",
    "HOLDUNTIL=2026-11-23T08:00:00+24:00",
    "HOLDUNTIL=2026-11-23T08:00:00.Z",
    "HOLDUNTIL=2026-13-23T08:00:00Z",
    "HOLDUNTIL=2026-02-29T08:00:00Z",
    "HOLDUNTIL=2026-11-23T24:00:00Z",
    "HOLDUNTIL=2026-11-23T08:00:61Z",
    "HOLDUNTIL=0000-01-01T00:00:00Z",
    "HOLDUNTIL=12026-11-23T08:00:00Z",
    "HOLDUNTIL=1795420800",
    "BY",
    "BY=",
    "BY=120",
    "BY=120;",
    "BY=;R",
    "BY=120;X",
    "BY=120;T",
    "BY=120;RX",
    "BY=120;RTT",
    "BY=120;TR",
    "BY=120,R",
    "BY=1.5;R",
    "BY=+-1;N",
    "BY=1000000000;N",
    "BY=0;R",
    "BY=-1;R",
    "BY=-0;RT",
    "MT-PRIORITY",
    "MT-PRIORITY=",
    "MT-PRIORITY=10",
    "MT-PRIORITY=-10",
    "MT-PRIORITY=+3",
    "MT-PRIORITY=-0",
    "MT-PRIORITY=00",
    "MT-PRIORITY=03",
    "MT-PRIORITY=urgent",
    "MT-PRIORITY=1 MT-PRIORITY=1",
)


@pytest.mark.parametrize("said", TAKEN)
def test_what_mail_may_say(said: str) -> None:
    """Each form that the standards know is read as what it means."""
    assert parse_mail(f"MAIL FROM:<anna@example.org> {said}".encode(), "example.org").schedule == TAKEN[said]


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_wish(said: str) -> None:
    """Everything else is 501 5.5.4, and is said what it should be."""
    with pytest.raises(CommandError) as refusal:
        parse_mail(f"MAIL FROM:<anna@example.org> {said}".encode(), "example.org")
    assert refusal.value.reply.startswith(b"501 5.5.4 ")
    assert refusal.value.reply.isascii() and refusal.value.reply.endswith(b"\r\n")


def test_mail_without_wishes_carries_none() -> None:
    """The usual line costs nothing more."""
    assert parse_mail(b"MAIL FROM:<anna@example.org> SIZE=7", "example.org").schedule is None


@pytest.mark.parametrize(
    ("by_s", "mode", "said"),
    [(120, "R", "120;R"), (-3, "NT", "-3;NT"), (0, "N", "0;N"), (10**12, "N", "999999999;N")],
)
def test_what_is_left_is_said_as_it_was_read(by_s: int, mode: str, said: str) -> None:
    """BY as a client says it; never more than nine digits."""
    assert by_value(by_s, mode) == said
    if abs(by_s) < 10**9:
        read = parse_mail(f"MAIL FROM:<> BY={said}".encode(), "example.org").schedule
        assert read is not None and (read.by_s, read.by_mode) == (by_s, mode)


def test_what_ehlo_says() -> None:
    """Longest hold in seconds and as a time; shortest deadline; no name of a profile."""
    said = scheduling_keywords(86400, EIGHT_MS + 999, 60)
    assert said == ("FUTURERELEASE 86400 2026-11-24T08:00:00Z", "DELIVERBY 60", "MT-PRIORITY")
    assert scheduling_keywords(0, EIGHT_MS, 0) == ("DELIVERBY", "MT-PRIORITY")


@pytest.mark.parametrize(
    ("line", "deliverby", "min_s", "priority"),
    [
        ("DELIVERBY", True, 0, False),
        ("DELIVERBY 60", True, 60, False),
        ("deliverby 60,other", True, 60, False),
        ("DELIVERBY ,other", True, 0, False),
        ("DELIVERBY -60", True, 0, False),
        ("DELIVERBY 1234567890", True, 0, False),
        ("MT-PRIORITY", False, 0, True),
        ("MT-PRIORITY MIXER", False, 0, True),
        ("DELIVERBYX 60", False, 0, False),
    ],
)
def test_what_a_peer_offers(line: str, deliverby: bool, min_s: int, priority: bool) -> None:
    """As EHLO may say it."""
    reply = ehlo_reply("peer.example", [line]).replace(b"\r\n", b"\n").removesuffix(b"\n")
    found = parse_offers(read_reply(reply))
    assert (found.has_deliverby, found.by_min_s, found.has_mt_priority) == (deliverby, min_s, priority)
