"""One session without a socket: time-outs, a least rate of content, mistakes of ours, a client that is gone."""

import asyncio
import ssl
from typing import Any

import pytest

from cmail.smtpd.connection import Connection
from cmail.smtpd.intake import Intake
from tests.support.intake import ListLog, make_context
from tests.support.transport import FakeTransport

BEGIN = b"EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<anna@example.org>\r\n"
BCC = b"Bcc: secret@example.com,\r\n more\r\n"


class Talk:
    """A session on a fake transport."""

    def __init__(self, kind: Any = "smtp", **changes: Any) -> None:
        self.context = make_context(**changes)
        self.intake = Intake(self.context)
        client = self.context.client("127.0.0.1")
        self.intake.admit(client, "smtpd")
        self.connection = Connection(self.intake, self.context.facts(kind), client, is_tls=False)
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)
        self.clock: Any = self.context.clock
        self.spool: Any = self.context.spool

    def hears(self, *packets: bytes) -> str:
        """What is written when they come."""
        before = len(self.transport.written)
        for packet in packets:
            self.connection.data_received(packet)
        return self.transport.written[before:].decode()

    def passes(self, seconds: float) -> str:
        """What is written when so much time goes by, looked at each ten seconds."""
        before = len(self.transport.written)
        while seconds > 0:
            self.clock.advance(min(seconds, 10.0))
            seconds -= 10.0
            self.intake._on_tick()
        return self.transport.written[before:].decode()


def play(test: Any) -> None:
    """Run it in a loop."""

    async def run() -> None:
        await test()

    asyncio.run(run())


def test_silence_between_commands_ends_the_session_after_five_minutes() -> None:
    """RFC 5321 §4.5.3.2.7; each command begins the time anew."""

    async def talk() -> None:
        session = Talk()
        assert session.passes(290) == ""
        assert session.hears(b"NOOP\r\n").startswith("250")
        assert session.passes(290) == ""
        assert session.passes(20).startswith("421 4.4.2")
        assert session.transport.is_closed

    play(talk)


def test_a_command_that_never_ends_is_silence() -> None:
    """An octet now and then does not keep a session."""

    async def talk() -> None:
        session = Talk()
        for _ in range(29):
            session.hears(b"x")
            assert session.passes(10) == ""
        session.hears(b"x")
        assert session.passes(30).startswith("421 4.4.2")

    play(talk)


def test_a_trickle_of_content_ends_the_session() -> None:
    """Less than the least rate over three minutes is as good as nothing; a slow link is above it."""

    async def talk() -> None:
        slow, trickle = Talk(), Talk()
        for session, octets in ((slow, 300), (trickle, 30)):
            session.hears(BEGIN, b"DATA\r\n")
            written = ""
            for _ in range(60):
                written += session.hears(b"x" * (octets - 2) + b"\r\n") if not written else ""
                written += session.passes(10)
            assert written.startswith("421 4.4.2") == (session is trickle)
            assert not session.spool._messages

    play(talk)


def test_a_slow_disk_is_not_the_clients_silence() -> None:
    """While its message waits for the disk a client may be silent for ten minutes."""

    async def talk() -> None:
        session = Talk()
        future = asyncio.get_running_loop().create_future()
        session.spool.accept = lambda message: future
        session.hears(BEGIN, b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n")
        assert session.passes(590) == ""
        future.set_result(None)
        await asyncio.sleep(0)
        assert session.transport.written.endswith(b"\r\n") and b"queued as" in session.transport.written

    play(talk)


def test_a_client_that_is_gone_has_still_sent_its_message() -> None:
    """What the spool was given before the connection was lost is accepted, and logged so."""

    async def talk() -> None:
        session = Talk()
        session.hears(BEGIN, b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n")
        session.connection.connection_lost(None)
        for _ in range(5):
            await asyncio.sleep(0)
        log = session.context.maillog
        assert isinstance(log, ListLog)
        assert len(session.spool._messages) == 1 and len(log.of("accepted")) == 1
        assert session.intake.sessions_count == 0 and session.intake.budget.left == 64 * 2**20

    play(talk)


def test_a_client_that_has_said_all_still_hears_what_it_is_owed() -> None:
    """Commands, QUIT and the end of its half of the connection in one go: the 250 comes when the disk has it."""

    async def talk() -> None:
        session = Talk()
        session.hears(BEGIN + b"DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n")
        assert session.connection.eof_received(), "our half stays open"
        for _ in range(5):
            await asyncio.sleep(0)
        written = session.transport.written.decode().split("\r\n")
        assert written[-3].startswith("250 2.0.0 Ok: queued as") and written[-2].startswith("221 ")
        assert session.transport.is_closed

    play(talk)


@pytest.mark.parametrize("where", ["resolve", "new_queue_id", "accept"])
def test_a_mistake_of_ours_delays_mail_and_never_loses_it(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """451 whatever raises, once in the log, and nothing is left behind."""

    async def talk() -> None:
        session = Talk()

        def raises(*_: Any) -> None:
            raise RuntimeError("a mistake")

        if where == "resolve":
            monkeypatch.setattr(type(session.context.directory), where, raises)
        else:
            monkeypatch.setattr(session.spool, where, raises)
        session.hears(BEGIN + b"DATA\r\nSubject: x\r\n\r\n.\r\n")
        await asyncio.sleep(0)
        written = session.transport.written.decode()
        assert "\r\n451 4.3.0" in written and "queued" not in written
        log = session.context.maillog
        assert isinstance(log, ListLog)
        assert len(log.of("failed")) == 1 and session.intake.budget.left == 64 * 2**20

    play(talk)


def test_a_client_that_does_not_read_is_not_read_either() -> None:
    """Its replies do not pile up: input waits until it reads again."""

    async def talk() -> None:
        session = Talk()
        session.connection.pause_writing()
        assert session.transport.is_paused
        assert session.hears(b"NOOP\r\n" * 5) == ""
        before = len(session.transport.written)
        session.connection.resume_writing()
        assert session.transport.written[before:].count(b"250 ") == 5 and not session.transport.is_paused

    play(talk)


def test_commands_and_errors_are_counted_for_the_log() -> None:
    """disconnected() has the commands; too many errors name the last one."""

    async def talk() -> None:
        session = Talk()
        session.hears(BEGIN + b"RCPT TO:<nobody@example.org>\r\n" * 30)
        session.connection.connection_lost(None)
        log = session.context.maillog
        assert isinstance(log, ListLog)
        [gone] = log.of("disconnected")
        assert gone["args"][2] == {"ehlo": 1, "mail": 1, "rcpt": 21}
        assert log.of("too_many_errors") == [{"args": ("smtpd", "localhost[127.0.0.1]"), "stage": "RCPT"}]
        assert len(log.of("refused")) == 20

    play(talk)


def test_bcc_is_taken_out_and_what_is_missing_added_on_submission_only() -> None:
    """Date and Message-ID come on top where they are missing; nothing else is touched."""

    async def talk() -> None:
        content = b"From: a\r\n" + BCC + b"Subject: x\r\n\r\nBcc: body\r\n"
        for kind, kept in (("smtp", content), ("submission", content.replace(BCC, b""))):
            session = Talk(kind)
            session.connection.session.username = "anna@example.org"
            session.hears(BEGIN + b"DATA\r\n" + content + b".\r\n")
            await asyncio.sleep(0)
            [found] = session.spool._messages.values()
            new = found.new
            assert new.content.octets == kept, kind
            assert new.content.size_bytes == len(new.content.prefix) + len(kept)
            is_added = b"\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n" in new.content.prefix
            assert is_added == (kind == "submission") == (b"\r\nMessage-ID: <" in new.content.prefix)

    play(talk)


@pytest.mark.parametrize("kind", ["smtp", "submission"])
def test_bcc_is_taken_out_of_a_large_message_too(kind: str) -> None:
    """What was written to a file is shown to the recipients as well: no Bcc in it, and its size is right."""

    async def talk() -> None:
        content = b"From: a\r\n" + BCC + b"Subject: x\r\n\r\n" + b"Bcc: body\r\n" * 20_000
        session = Talk(kind)
        session.connection.session.username = "anna@example.org"
        session.hears(BEGIN + b"DATA\r\n")
        for at in range(0, len(content), 50_000):
            session.hears(content[at : at + 50_000])
        session.hears(b".\r\n")
        while not session.spool._messages:  # noqa: ASYNC110 - a thread writes the file
            await asyncio.sleep(0.001)
        [found] = session.spool._messages.values()
        kept = content if kind == "smtp" else content.replace(BCC, b"", 1)
        with open(found.new.content.path, "rb") as file:  # noqa: ASYNC230
            assert file.read() == kept
        assert found.new.content.size_bytes == len(found.new.content.prefix) + len(kept)
        assert found.new.content.wire_bytes == len(kept)

    play(talk)


def test_reading_stops_before_the_220_of_starttls_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same callback (rule 7): no packet can come between the two."""

    async def talk() -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        session = Talk(tls_context=server)
        states: list[tuple[bytes, bool]] = []
        transport, intake = session.transport, session.intake
        monkeypatch.setattr(transport, "write", lambda data: states.append((data, transport.is_paused)))
        monkeypatch.setattr(intake, "start_tls", lambda connection: None)
        session.connection.data_received(b"EHLO x\r\n")
        session.connection.data_received(b"STARTTLS\r\n")
        assert [paused for _, paused in states] == [False, True]
        assert states[1][0].startswith(b"220 2.0.0")

    play(talk)
