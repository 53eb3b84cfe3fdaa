"""One session of somebody who means harm: floods take turns, what is slow or silent ends, floods end early."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cmail.mail import limits
from cmail.smtpd.receive import PIECES_MAX
from cmail.smtpd.settings import IntakeSettings, RelaySettings
from tests.support.intake import ListLog
from tests.unit.smtpd.test_connection import BEGIN, Talk, play

STRANGERS = RelaySettings(())
ANNA = b"RCPT TO:<anna@example.org>\r\n"


def test_a_flood_takes_turns() -> None:
    """Of 1,000 pipelined commands some are answered at once, the others in later turns of the loop, all of
    them in order and none lost; meanwhile nothing more is read."""

    async def talk() -> None:
        session = Talk()
        session.hears(b"EHLO x\r\nMAIL FROM:<a@example.net>\r\n")
        first = session.hears(ANNA * 900)
        assert 0 < first.count("250") <= limits.LINES_A_TURN and session.transport.is_paused
        for _ in range(20):
            await asyncio.sleep(0)
        assert session.transport.written.count(b"250 2.1.5") == 900 and not session.transport.is_paused

    play(talk)


def test_recipients_without_end() -> None:
    """Beyond limits.recipients 452, one line of the log for all of them; a flood of them ends the session."""

    async def talk() -> None:
        session = Talk(settings=IntakeSettings(recipients=100))
        session.hears(b"EHLO x\r\nMAIL FROM:<a@example.net>\r\n", ANNA * 5000)
        for _ in range(100):
            await asyncio.sleep(0)
        written = session.transport.written
        assert written.count(b"452 4.5.3") == limits.RECIPIENTS_OVER_MAX + 1
        assert written.endswith(b"421 4.7.0 Too many commands without a message\r\n")
        log = session.context.maillog
        assert isinstance(log, ListLog)
        assert len(log.of("refused")) == 1

    play(talk)


def test_a_submission_session_without_log_in() -> None:
    """After limits.login_timeout 421 4.7.0, whatever it says meanwhile; one that has logged in goes on."""

    async def talk() -> None:
        settings = IntakeSettings(login_timeout=timedelta(minutes=1))
        for is_in in (False, True):
            session = Talk("submission", settings=settings)
            session.hears(b"EHLO x\r\n")
            session.connection.session.username = "anna@example.org" if is_in else ""
            said = "".join(session.passes(20) + session.hears(b"NOOP\r\n") * (n < 3) for n in range(3))
            ended = session.passes(20)
            assert ("421 4.7.0 You did not log in" in said + ended) is not is_in

    play(talk)


def test_content_that_trickles() -> None:
    """Content slower than limits.data_rate ends after limits.data_timeout; a slow link does not."""

    async def talk() -> None:
        settings = IntakeSettings(data_timeout=timedelta(seconds=30), data_rate=10)
        for octets, is_slow in ((b"x" * 20, True), (b"x" * 200, False)):
            session = Talk(settings=settings)
            session.hears(BEGIN, b"DATA\r\n")
            said = ""
            for _ in range(8):
                if not session.transport.is_closed:
                    said += session.hears(octets) + session.passes(10)
            assert ("421 4.4.2" in said) is is_slow

    play(talk)


def test_where_room_is_short_a_stranger_must_be_quick() -> None:
    """With its address nearly full, a stranger that says nothing has 10 s and not 5 minutes; one that has
    brought a message is left alone."""

    async def talk() -> None:
        session: Any = Talk(settings=IntakeSettings(sessions_per_address=1), relay=STRANGERS)
        assert "421 4.4.2" in session.passes(20)
        other: Any = Talk(settings=IntakeSettings(sessions_per_address=1), relay=STRANGERS)
        other.hears(BEGIN, b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n")
        await asyncio.sleep(0)
        assert other.passes(60) == ""

    play(talk)


def test_a_tls_hello_where_tls_does_not_begin() -> None:
    """Who has chosen the wrong kind of TLS hears so at once, in words, and the log says it too."""

    async def talk() -> None:
        session = Talk()
        said = session.hears(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert said.startswith("500 5.5.1 This port begins without TLS") and session.transport.is_closed
        log = session.context.maillog
        assert isinstance(log, ListLog)
        assert [event["stage"] for event in log.of("refused")] == ["CONNECT"]

    play(talk)


def test_tiny_packets_cost_no_memory() -> None:
    """Content in packets of two octets is kept in few pieces."""

    async def talk() -> None:
        session = Talk()
        session.hears(BEGIN, b"DATA\r\n", *[b"ab"] * 5000)
        receiver: Any = session.connection._receiver
        assert len(receiver._pieces) <= PIECES_MAX + 1 and len(receiver.whole()) >= 9990

    play(talk)


def test_tiny_chunks_are_play() -> None:
    """Chunks of one octet count as idle commands: a hundred, then 421."""

    async def talk() -> None:
        session = Talk()
        said = session.hears(BEGIN, *[b"BDAT 1\r\nx"] * 150)
        assert said.endswith("421 4.7.0 Too many commands without a message\r\n")

    play(talk)


def test_a_limit_of_messages() -> None:
    """450 4.7.0 at MAIL, and the session goes on; relay.networks are not bound by it."""

    async def talk() -> None:
        few = IntakeSettings(messages_per_minute=1)
        for relay, code in (
            (STRANGERS, "450 4.7.0"),
            (replace(STRANGERS, networks=("127.0.0.1/32",)), "250"),
        ):
            session = Talk(settings=few, relay=relay)
            session.hears(b"EHLO x\r\n", b"MAIL FROM:<a@example.net>\r\n", b"RSET\r\n")
            assert session.hears(b"MAIL FROM:<a@example.net>\r\n").startswith(code)

    play(talk)
