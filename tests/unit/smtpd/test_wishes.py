"""What a message gets of what its sender asked: deadline, release, priority; from whom it is heard."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cmail.mail.address import parse_address
from cmail.mail.envelope import Envelope, Recipient
from cmail.smtpd.connection import Connection
from cmail.smtpd.drop_file import print_envelope
from cmail.smtpd.drop_read import read_drop
from cmail.smtpd.intake import Intake
from cmail.smtpd.settings import IntakeSettings
from tests.support.clock import START_WALL_MS
from tests.support.intake import make_context
from tests.support.transport import FakeTransport

NOW = START_WALL_MS
BODY = b"Subject: hello\r\n\r\nHow are you?\r\n"


async def _hand_in(
    said: str, content: bytes, client: str, kind: Any, username: str, changes: dict[str, Any]
) -> tuple[Envelope, bytes, bytes]:
    context = make_context(**changes)
    intake = Intake(context)
    peer = context.client(client)
    intake.admit(peer, "smtpd")
    connection = Connection(intake, context.facts(kind), peer, is_tls=False)
    transport = FakeTransport()
    connection.connection_made(transport)
    connection.session.username = username
    hello = "LHLO" if kind == "lmtp" else "EHLO"
    talk = f"{hello} client.example\r\nMAIL FROM:<> {said}\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n"
    connection.data_received(talk.encode())
    for at in range(0, len(content), 100_000):
        connection.data_received(content[at : at + 100_000])
        await asyncio.sleep(0.001)
    connection.data_received(b".\r\n")
    spool: Any = context.spool
    for _ in range(2000):
        if spool._messages or b"\r\n5" in transport.written:
            break
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    await intake.stop(0.1)
    (kept,) = [message.new for message in spool._messages.values()]
    octets = kept.content.octets
    if kept.content.path:
        octets = Path(kept.content.path).read_bytes()  # noqa: ASYNC240
        assert len(octets) == kept.content.wire_bytes
    assert kept.content.size_bytes == len(kept.content.prefix) + len(octets)
    return kept.envelope, octets, transport.written


def hand_in(
    said: str = "",
    content: bytes = BODY,
    *,
    client: str = "127.0.0.1",
    kind: str = "smtp",
    username: str = "",
    **changes: Any,
) -> tuple[Envelope, bytes, bytes]:
    """One message; its envelope and content in the spool, and all that was answered."""
    return asyncio.run(_hand_in(said, content, client, kind, username, changes))


WISHES: dict[str, tuple[int, int, str, int]] = {
    "": (0, 0, "", 0),
    "HOLDFOR=0": (0, 0, "", 0),
    "HOLDFOR=60": (0, 0, "", NOW + 60_000),
    "HOLDUNTIL=2027-01-15T08:01:00Z": (0, 0, "", NOW + 60_000),
    "HOLDUNTIL=2027-01-15T07:59:59Z": (0, 0, "", 0),
    "BY=60;R": (0, NOW + 60_000, "R", 0),
    "BY=-60;NT": (0, NOW - 60_000, "NT", 0),
    "MT-PRIORITY=-9": (-9, 0, "", 0),
    "HOLDFOR=60 BY=120;RT MT-PRIORITY=3": (3, NOW + 180_000, "RT", NOW + 60_000),
}


@pytest.mark.parametrize("said", WISHES)
def test_wishes_of_who_is_known(said: str) -> None:
    """A deadline counts from the release, on link-up time; a release is wall time."""
    envelope, octets, written = hand_in(said)
    found = (envelope.priority, envelope.deliver_by_ms, envelope.by_mode, envelope.hold_until_ms)
    assert found == WISHES[said]
    assert octets == BODY and b"250 2.0.0 Ok: queued as" in written


@pytest.mark.parametrize(
    ("said", "field", "priority"),
    [
        ("", b"Priority: urgent\r\n", 4),
        ("", b"MT-Priority: 7\r\n", 7),
        ("MT-PRIORITY=0", b"Priority: urgent\r\n", 0),
        ("MT-PRIORITY=-2", b"MT-Priority: 7\r\n", -2),
        ("HOLDFOR=60", b"X-Priority: 5\r\n", -4),
    ],
)
def test_the_header_counts_where_mail_says_nothing(said: str, field: bytes, priority: int) -> None:
    """RFC 6758: and MT-Priority is not passed on, whatever becomes of it."""
    envelope, octets, _ = hand_in(said, field + BODY)
    assert envelope.priority == priority
    assert octets == (BODY if field.startswith(b"MT") else field + BODY)


@pytest.mark.parametrize(
    ("said", "field", "client", "is_fixed"),
    [
        ("MT-PRIORITY=0", b"Priority: urgent\r\n", "127.0.0.1", True),
        ("", b"Priority: urgent\r\n", "192.0.2.7", True),
        ("MT-PRIORITY=0", b"", "127.0.0.1", False),
        ("MT-PRIORITY=2", b"Priority: urgent\r\n", "127.0.0.1", False),
        ("", b"Priority: urgent\r\n", "127.0.0.1", False),
        ("", b"", "192.0.2.7", False),
    ],
)
def test_that_the_header_does_not_count_is_known(
    said: str, field: bytes, client: str, is_fixed: bool
) -> None:
    """The next server would believe the header where MAIL says nothing."""
    envelope, _, _ = hand_in(said, field + BODY, client=client)
    assert envelope.is_priority_fixed is is_fixed and (not is_fixed or envelope.priority == 0)


@pytest.mark.parametrize(
    ("client", "kind", "username", "priority"),
    [
        ("127.0.0.1", "smtp", "", 4),
        ("192.0.2.7", "smtp", "", 0),
        ("192.0.2.7", "smtp", "anna@example.org", 4),
        ("192.0.2.7", "submission", "anna@example.org", 4),
        ("127.0.0.1", "lmtp", "", 0),
    ],
)
def test_whose_header_is_believed(client: str, kind: str, username: str, priority: int) -> None:
    """Who has logged in or is of relay.networks; nobody else, and programs neither."""
    content = b"Priority: urgent\r\n" + BODY
    envelope, _, _ = hand_in("", content, client=client, kind=kind, username=username)
    assert envelope.priority == priority


def test_a_priority_of_a_stranger_is_the_usual_one() -> None:
    """It is told so (RFC 6710), and its MT-Priority goes no further."""
    envelope, octets, written = hand_in("MT-PRIORITY=9", b"MT-Priority: 9\r\n" + BODY, client="192.0.2.7")
    assert envelope.priority == 0 and octets == BODY
    assert b"250 2.3.6 0 is the priority that it has here: queued as" in written


def test_a_large_message_is_no_exception(tmp_path: Path) -> None:
    """Content in a file: the header is looked at, and MT-Priority taken out, before it is written."""
    large = b"x" * 76 + b"\r\n"
    content = b"MT-Priority: 5\r\n" + BODY + large * 20_000
    envelope, octets, _ = hand_in("", content)
    assert envelope.priority == 5 and octets == BODY + large * 20_000


def test_the_bounds_are_settings() -> None:
    """A shorter deadline and a longer hold than usual, where the settings say so."""
    settings = IntakeSettings(future_release=timedelta(days=90), deliver_by=timedelta(0))
    envelope, _, written = hand_in("BY=1;R HOLDFOR=5184000", settings=settings)
    assert envelope.hold_until_ms == NOW + 5_184_000_000
    assert b"250-FUTURERELEASE 7776000 2027-04-15T08:00:00Z\r\n250-DELIVERBY\r\n" in written


def test_mail_left_by_programs_here_may_be_urgent(tmp_path: Path) -> None:
    """sendmail and the API: who may leave a file is believed, and MT-Priority is taken out."""
    path = tmp_path / "dropped"
    header = b"MT-Priority: 3\nSubject: x\n"
    envelope = Envelope(None, (Recipient(parse_address(b"anna@example.org")),))
    path.write_bytes(print_envelope(envelope) + header + b"\nHello\n")
    dropped = read_drop(str(path), str(tmp_path / "content"), 10_000)
    assert dropped.envelope.priority == 3
    assert dropped.content.octets == b"Subject: x\r\n\r\nHello\r\n"
