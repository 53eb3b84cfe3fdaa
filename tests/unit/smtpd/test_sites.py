"""ETRN, ATRN and finger at the door: who may ask, each reply that there is, however it comes in packets."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import pytest

from cmail.delivery.site_settings import SiteSettings
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.policy.rates import Buckets
from cmail.protocol.cram_md5 import digest
from cmail.protocol.sasl import ScramKeys
from cmail.protocol.smtp.site_commands import parse_etrn
from cmail.smtpd.connection import Connection
from cmail.smtpd.etrn import answer_etrn, offer
from cmail.smtpd.facts import Session
from cmail.smtpd.finger import TOO_OFTEN, UNKNOWN, answer_finger
from cmail.smtpd.intake import Intake
from cmail.smtpd.odmr import NO_MAIL, NO_SITE, NOT_NOW, NOT_YOURS, answer_atrn
from cmail.smtpd.roles import Waiting
from cmail.storage.passwords import nobodys_keys
from tests.support.conversation import Conversation, check, conversations, split_replies
from tests.support.fake_sites import SHIP, FakeSites, FakeTurn
from tests.support.intake import make_context
from tests.support.transport import FakeTransport

NAME = print_queue_id(QueueId(1 << 60))


async def _play(conversation: Conversation, packets: list[bytes]) -> tuple[bytes, bool]:
    said = conversation.settings
    context = make_context(sites=FakeSites())
    intake = Intake(context)
    kind: Any = said.get("listener", "smtp")
    client = context.client(said.get("client", "127.0.0.1"))
    intake.admit(client, "smtpd")
    connection = Connection(intake, context.facts(kind), client, is_tls="tls" in said)
    transport = FakeTransport()
    connection.connection_made(transport)
    for packet in packets:
        for _ in range(100):
            if not transport.is_paused:
                break
            await asyncio.sleep(0)
        connection.data_received(packet)
    for _ in range(100):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await intake.stop(0.1)
    return transport.written, transport.is_closed


@pytest.mark.parametrize("conversation", conversations("sites"), ids=lambda c: c.name)
def test_a_conversation_goes_as_written(conversation: Conversation) -> None:
    """The replies are those of the file, turn by turn, all at once, and octet by octet."""
    sent = conversation.sent
    turns = [octets for octets, _ in conversation.turns]
    for packets in (turns, [sent], [sent[n : n + 1] for n in range(len(sent))]):
        written, is_closed = asyncio.run(_play(conversation, packets))
        check(conversation.expected, split_replies(written), is_closed)


def session(sites: FakeSites | None, kind: Any, username: str = "", address: str = "198.51.100.9") -> Session:
    """A session of that kind, logged in or not."""
    context = make_context(sites=sites)
    found = Session(context.facts(kind), context.client(address))
    found.username = username
    return found


@pytest.mark.parametrize(
    ("waiting", "code"),
    [(Waiting(2), b"253 2.0.0"), (Waiting(0), b"251"), (Waiting(2, False), b"252"), (None, b"458 4.3.0")],
)
def test_each_answer_to_etrn(waiting: Waiting | None, code: bytes) -> None:
    """RFC 1985 §5.2: so many, none, some, not now. The site counts as there whatever waits."""
    sites = FakeSites()
    sites.count = waiting
    user = session(sites, "submission", "ship@example.org")
    reply = asyncio.run(answer_etrn(sites, user, parse_etrn(b"ETRN ship.example")))
    assert reply.startswith(code + b" ")
    assert sites.came_there == ([("ship", "198.51.100.9")] if waiting is not None else [])


@pytest.mark.parametrize(
    ("kind", "username", "code"),
    [
        ("submission", "", b"530 "),
        ("submission", "anna@example.org", b"459 "),
        ("submission", "SHIP@example.org", b"253 "),
        ("smtp", "", b"459 "),
        ("smtp", "ship@example.org", b"253 "),
        ("lmtp", "", b"502 "),
    ],
)
def test_who_may_say_etrn(kind: str, username: str, code: bytes) -> None:
    """Its account anywhere, nobody else from elsewhere; on a submission listener nobody without a log-in."""
    sites = FakeSites()
    reply = asyncio.run(answer_etrn(sites, session(sites, kind, username), parse_etrn(b"ETRN ship.example")))
    assert reply.startswith(code)
    assert bool(sites.came_there) == (code == b"253 ")


def test_a_held_message_is_let_go_for_its_own_site_alone() -> None:
    """By its queue id after a log-in; one that is held for another, or that there is none of, is not found."""
    sites = FakeSites(SHIP, SiteSettings("boat", ("boat.example",), user="boat@example.org"))
    sites.held[NAME] = "ship"
    etrn = parse_etrn(b"ETRN #" + NAME.encode())
    by_network = session(sites, "smtp", address="192.0.2.7")
    assert asyncio.run(answer_etrn(sites, by_network, etrn)).startswith(b"459")
    boat = session(sites, "submission", "boat@example.org")
    assert asyncio.run(answer_etrn(sites, boat, etrn)).startswith(b"550")
    ship = session(sites, "submission", "ship@example.org")
    assert asyncio.run(answer_etrn(sites, ship, etrn)).startswith(b"250") and not sites.held
    assert asyncio.run(answer_etrn(sites, ship, etrn)).startswith(b"550")


@pytest.mark.parametrize(
    ("username", "domains", "waiting", "answer"),
    [
        ("", (), Waiting(1), b"530 5.7.0 Log in first\r\n"),
        ("anna@example.org", (), Waiting(1), NO_SITE),
        ("ship@example.org", ("ship.example", "boat.example"), Waiting(1), NOT_YOURS),
        ("ship@example.org", ("ship.example",), Waiting(0), NO_MAIL),
        ("ship@example.org", (), Waiting(0, False), NOT_NOW),
        ("ship@example.org", (), None, NOT_NOW),
        ("ship@example.org", (), Waiting(1, False), None),
        ("ship@example.org", ("ship.example",), Waiting(1), None),
    ],
)
def test_each_answer_to_atrn(
    username: str, domains: tuple[str, ...], waiting: Waiting | None, answer: bytes | None
) -> None:
    """RFC 2645 §5.2.1; None: the connection turns round."""
    sites = FakeSites()
    sites.count = waiting
    found = asyncio.run(answer_atrn(sites, session(sites, "odmr", username), domains))
    assert found == answer if answer is not None else isinstance(found, FakeTurn)
    assert ("turn ship" in sites.events) == (answer is None)


class Accounts:
    """Nobody has one; log-ins are counted."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, bool]] = []

    def at(self, _client_address: str) -> "Accounts":
        return self

    def scram_keys(self, username: str) -> ScramKeys | None:
        return nobodys_keys(username.lower(), b"secret")

    def scram_ended(self, username: str, _client_address: str, *, is_success: bool) -> None:
        self.ended.append((username, is_success))

    def knows(self, _place: str) -> bool:
        return False


def test_without_tls_a_site_logs_in_by_a_digest_alone() -> None:
    """Where its password is in a file, at the ODMR listener; no other log-in is offered or taken there in clear, none at all
    elsewhere, and each counts for the brakes."""
    sites, accounts = FakeSites(), Accounts()
    sites.book.update([replace(SHIP, password_file="f")], {"f": "digested"})

    async def main() -> None:
        context = make_context(sites=sites, accounts=accounts)
        assert context.facts("smtp").mechanisms(is_private=False) == ()
        intake, client = Intake(context), context.client("198.51.100.9")
        intake.admit(client, "smtpd")
        connection = Connection(intake, context.facts("odmr"), client, is_tls=False)
        transport = FakeTransport()
        connection.connection_made(transport)

        def says(line: bytes) -> bytes:
            before = len(transport.written)
            connection.data_received(line + b"\r\n")
            return bytes(transport.written[before:])

        assert b"AUTH CRAM-MD5\r\n" in says(b"EHLO ship.example")
        assert says(b"AUTH PLAIN AGEAYg==").startswith(b"538") and says(b"AUTH X").startswith(b"538")
        challenge = base64.b64decode(says(b"AUTH CRAM-MD5")[4:])
        answer = base64.b64encode(b"ship@example.org " + digest("digested", challenge))
        assert says(answer).startswith(b"235")
        assert accounts.ended == [("ship@example.org", True)]
        assert says(b"MAIL FROM:<a@ship.example>").startswith(b"502")
        connection.connection_lost(None)
        await intake.stop(0.1)

    asyncio.run(main())


def test_no_site_no_command() -> None:
    """Where the settings name none, neither is there."""
    user = session(None, "submission", "ship@example.org")
    assert asyncio.run(answer_etrn(None, user, parse_etrn(b"ETRN ship.example"))).startswith(b"502")
    assert isinstance(found := asyncio.run(answer_atrn(None, user, ())), bytes) and found.startswith(b"502")


def test_a_keyword_more_stands_before_the_last() -> None:
    """Of a reply of one line and of several."""
    assert offer(b"250-a\r\n250-B\r\n250 C\r\n", b"ETRN") == b"250-a\r\n250-B\r\n250-ETRN\r\n250 C\r\n"
    assert offer(b"250-a\r\n250 C\r\n", b"ATRN") == b"250-a\r\n250-ATRN\r\n250 C\r\n"


@pytest.mark.parametrize(
    ("line", "address", "answer"),
    [
        (b"ship.example\r", "192.0.2.7", b"3 messages for ship.example: on the way.\r\n"),
        (b"/W SHIP.example", "192.0.2.7", b"3 messages for ship.example: on the way.\r\n"),
        (b"ship.example", "198.51.100.9", UNKNOWN),
        (b"boat.example", "192.0.2.7", UNKNOWN),
        (b"", "192.0.2.7", UNKNOWN),
        (b"\xff\0", "192.0.2.7", UNKNOWN),
        (b"@ship.example", "192.0.2.7", UNKNOWN),
    ],
)
def test_finger(line: bytes, address: str, answer: bytes) -> None:
    """A site's own domain from its own network; everything else has one answer. Only so often."""
    sites = FakeSites()
    context = make_context(sites=sites)
    client, kicks = context.client(address), Buckets(1, 1)
    assert asyncio.run(answer_finger(context, client, line, kicks)) == answer
    assert bool(sites.came_there) == (answer != UNKNOWN)
    assert asyncio.run(answer_finger(context, client, line, kicks)) == TOO_OFTEN
