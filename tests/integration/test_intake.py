"""The real Intake on loopback: real clients, TLS, log-in, large content, limits, reload and stop."""

import asyncio
import base64
import contextlib
import os
import shutil
import smtplib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiosmtplib
import pytest
import trustme
import uvloop

from cmail.mail.limits import CONTENT_IN_MEMORY_MAX
from cmail.mail.queue_id import QueueId
from cmail.protocol.sasl import ScramKeys
from cmail.smtpd import login
from cmail.smtpd.settings import IntakeSettings, RelaySettings
from cmail.storage.spool import SpoolError, SpoolFullError
from tests.support.conversation import Conversation, check, context_changes, conversations, split_replies
from tests.support.intake import ListLog, make_context, running_intake
from tests.support.until import until

LOOPS: dict[str, Callable[..., Any]] = {"uvloop": uvloop.run, "asyncio": asyncio.run}
on_both_loops = pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS.keys())
MESSAGE = b"From: <anna@example.org>\r\nSubject: hello\r\n\r\n.dot\r\nbody\r\n"


class FakeAccounts:
    """anna's password is 'right'; a check may be held up."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def at(self, client_address: str) -> "FakeAccounts":
        return self

    def scram_keys(self, username: str) -> ScramKeys | None:
        return None

    def scram_ended(self, username: str, client_address: str, *, is_success: bool) -> None: ...

    def knows(self, place: str) -> bool:
        return False

    async def check_password(self, username: str, password: str, client_address: str) -> str | None:
        await self.may_answer.wait()
        known = username in ("anna", "anna@example.org") and password == "right"
        return "anna@example.org" if known else None


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server's and client's."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def kept(context: Any) -> list[Any]:
    """What the spool has."""
    return [m.new for m in context.spool._messages.values()]


def log_of(context: Any) -> ListLog:
    """What was logged."""
    log = context.maillog
    assert isinstance(log, ListLog)
    return log


def spool_folder(context: Any) -> str:
    """Where large content goes."""
    return os.path.dirname(context.spool.content_path(QueueId(0)))


@contextlib.asynccontextmanager
async def raw(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_reply(reader: asyncio.StreamReader) -> str:
    """The last line of the next reply."""
    while True:
        line = (await asyncio.wait_for(reader.readline(), 60)).decode()
        if not line or line[3:4] != "-":
            return line.rstrip("\r\n")


async def say(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], *lines: bytes) -> list[str]:
    """Say them in one write; a reply each."""
    streams[1].write(b"".join(lines))
    return [await read_reply(streams[0]) for _ in lines]


@on_both_loops
@pytest.mark.parametrize(
    "conversation", [c for c in conversations() if "client" not in c.settings], ids=lambda c: c.name
)
def test_conversations_on_loopback(conversation: Conversation, run: Callable[..., Any]) -> None:
    """The conversations hold over a socket too, said in one go and ended by a half-close."""

    async def play() -> tuple[bytes, bool]:
        context = make_context(**context_changes(conversation))
        kind: Any = conversation.settings.get("listener", "smtp")
        async with running_intake(context, kind) as (_, [port]), raw(port) as (reader, writer):
            writer.write(conversation.sent)
            writer.write_eof()
            written = await asyncio.wait_for(reader.read(), 60)
            return written, True

    check(conversation.expected, split_replies(run(play())[0]), True)


@on_both_loops
def test_smtplib_over_starttls_and_a_log_in(run: Callable[..., Any]) -> None:
    """A mail program submits: STARTTLS, AUTH, a message; the trace field says so and names nobody."""
    server, client = tls_contexts()

    def submit(port: int) -> None:
        with smtplib.SMTP("localhost", port, timeout=60) as smtp:
            smtp.starttls(context=client)
            smtp.login("anna", "right")
            smtp.sendmail("anna@example.org", ["bert@example.org", "x@example.com"], MESSAGE)

    async def play() -> None:
        context = make_context(accounts=FakeAccounts(), tls_context=server)
        async with running_intake(context, "submission") as (_, [port]):
            await asyncio.to_thread(submit, port)
        [new] = kept(context)
        prefix = new.content.prefix.decode()
        assert "with ESMTPSA id" in prefix and "for <" not in prefix and "anna" not in prefix
        assert "\r\nMessage-ID: <" in prefix and "\r\nDate: " in prefix
        assert new.content.octets == MESSAGE.replace(b"\r\n.", b"\r\n..")
        assert new.routes == ("local", "relay") and new.origin.startswith("anna@example.org from ")
        [accepted] = log_of(context).of("accepted")
        assert accepted["sasl_username"] == "anna@example.org" and accepted["tls"] == "TLSv1.3"

    run(play())


@on_both_loops
def test_aiosmtplib_with_implicit_tls(run: Callable[..., Any]) -> None:
    """submissions: TLS from the first octet, then the same."""
    server, client = tls_contexts()

    async def play() -> None:
        context = make_context(accounts=FakeAccounts(), tls_context=server)
        async with running_intake(context, "submissions") as (intake, [port]):
            await aiosmtplib.send(
                MESSAGE, sender="anna@example.org", recipients=["bert@example.org"], hostname="localhost",
                port=port, use_tls=True, tls_context=client, username="anna@example.org", password="right",
            )  # fmt: skip
            assert intake.handshakes.count == 0
        [new] = kept(context)
        assert b"for <bert@example.org>" in new.content.prefix

    run(play())


@pytest.mark.needs("swaks")
def test_swaks_sends_to_a_user_here() -> None:
    """swaks, as an administrator tries a server."""

    async def play() -> str:
        context = make_context()
        async with running_intake(context) as (_, [port]):
            process = await asyncio.create_subprocess_exec(
                "swaks", "--server", "127.0.0.1", "--port", str(port), "--to", "anna@example.org",
                "--from", "x@example.net", "--pipeline", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0 and len(kept(context)) == 1, output
        return output.decode()

    assert "queued as" in uvloop.run(play())


@on_both_loops
def test_octets_behind_starttls_close_the_session(run: Callable[..., Any]) -> None:
    """What comes with STARTTLS in one packet is never read, neither in the clear nor under TLS."""
    server, _ = tls_contexts()

    async def play() -> None:
        context = make_context(tls_context=server)
        async with running_intake(context) as (_, [port]), raw(port) as (reader, writer):
            writer.write(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<a@example.net>\r\n")
            written = await asyncio.wait_for(reader.read(), 60)
        assert written.endswith(b"421 4.7.0 Octets behind STARTTLS before TLS began\r\n")
        assert b"220 2.0.0" not in written

    run(play())


@on_both_loops
def test_octets_before_the_handshake_never_count(run: Callable[..., Any]) -> None:
    """Plain octets after the 220 are no handshake; the connection ends and nothing was obeyed."""
    server, _ = tls_contexts()

    async def play() -> None:
        context = make_context(tls_context=server)
        async with running_intake(context) as (intake, [port]), raw(port) as streams:
            await read_reply(streams[0])
            assert (await say(streams, b"EHLO x\r\n", b"STARTTLS\r\n"))[1].startswith("220 2.0.0")
            streams[1].write(b"EHLO x\r\nMAIL FROM:<a@example.net>\r\n" * 50)
            rest = await asyncio.wait_for(streams[0].read(), 60)
            assert b"250" not in rest
            await until(lambda: not intake.sessions_count)
        assert len(log_of(context).of("disconnected")) == 1

    run(play())


@on_both_loops
def test_after_starttls_nothing_said_before_counts(run: Callable[..., Any]) -> None:
    """HELO and MAIL are forgotten (RFC 3207 §4.2), and STARTTLS is not offered again."""
    server, client = tls_contexts()

    def talk(port: int) -> list[Any]:
        with smtplib.SMTP("localhost", port, timeout=60) as smtp:
            smtp.ehlo()
            smtp.mail("a@example.net")
            smtp.starttls(context=client)
            return [smtp.docmd("MAIL FROM:<a@example.net>")[0], smtp.ehlo()[1], smtp.docmd("STARTTLS")[0]]

    async def play() -> None:
        async with running_intake(make_context(tls_context=server)) as (_, [port]):
            mail, ehlo, again = await asyncio.to_thread(talk, port)
        assert (mail, again) == (503, 503) and b"STARTTLS" not in ehlo

    run(play())


@on_both_loops
def test_log_in_replies(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way a log-in can go, on loopback; a wrong one is logged without its password."""
    monkeypatch.setattr(login, "FAILURE_DELAY_S", 0.0)

    def plain(name: str, password: str) -> bytes:
        return b"AUTH PLAIN " + base64.b64encode(f"\0{name}\0{password}".encode()) + b"\r\n"

    b64 = base64.b64encode
    rows = [
        ([b"AUTH FOO\r\n"], ["504"]),
        ([b"AUTH PLAIN !\r\n"], ["501"]),
        ([b"AUTH PLAIN\r\n", b"*\r\n"], ["334", "501"]),
        ([plain("anna", "wrong")], ["535 5.7.8"]),
        ([b"AUTH LOGIN\r\n", b64(b"anna") + b"\r\n", b64(b"wrong") + b"\r\n"], ["334", "334", "535"]),
        ([b"AUTH PLAIN " + b64(b"nonsense") + b"\r\n"], ["501"]),
        ([b"NOOP\r\n"], ["250"]),
        ([b"AUTH LOGIN\r\n", b64(b"anna") + b"\r\n", b64(b"right") + b"\r\n"], ["334", "334", "235"]),
        ([plain("anna", "right")], ["503"]),
        ([b"MAIL FROM:<bert@example.org>\r\n"], ["553 5.7.1"]),
        ([b"MAIL FROM:<info@example.org>\r\n", b"RSET\r\n"], ["250", "250"]),
        ([b"MAIL FROM:<anna+x@example.org>\r\n", b"RSET\r\n"], ["250", "250"]),
        ([b"MAIL FROM:<>\r\n", b"RSET\r\n"], ["250", "250"]),
        ([b"MAIL FROM:<anna@elsewhere.example>\r\n"], ["250"]),
        ([b"AUTH PLAIN\r\n"], ["503"]),
    ]

    async def play() -> None:
        context = make_context(accounts=FakeAccounts())
        async with running_intake(context, "submission") as (_, [port]), raw(port) as streams:
            await read_reply(streams[0])
            await say(streams, b"EHLO x\r\n")
            for lines, wanted in rows:
                for line, begin in zip(lines, wanted, strict=True):
                    [reply] = await say(streams, line)
                    assert reply.startswith(begin), (line, reply)
        failed = log_of(context).of("login_failed")
        assert [f["username"] for f in failed] == ["anna", "anna", ""]
        assert "wrong" not in repr(log_of(context).events)

    run(play())


def test_commands_behind_a_log_in_wait_for_it() -> None:
    """They are neither lost nor answered before it."""

    async def play() -> None:
        accounts = FakeAccounts()
        accounts.may_answer.clear()
        context = make_context(accounts=accounts)
        async with running_intake(context, "submission") as (_, [port]), raw(port) as (reader, writer):
            await read_reply(reader)
            secret = base64.b64encode(b"\0anna\0right")
            writer.write(b"EHLO x\r\nAUTH PLAIN " + secret + b"\r\nMAIL FROM:<anna@example.org>\r\nQUIT\r\n")
            assert (await read_reply(reader)).startswith("250")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readline(), 0.05)
            accounts.may_answer.set()
            assert [(await read_reply(reader))[:3] for _ in range(3)] == ["235", "250", "221"]

    uvloop.run(play())


@on_both_loops
@pytest.mark.parametrize("chunked", [False, True], ids=["DATA", "BDAT"])
def test_large_content_goes_to_a_file(run: Callable[..., Any], chunked: bool, tmp_path: Any) -> None:
    """Beyond the limit of memory it is in the file that the spool named, octet for octet, stuffed."""
    lines = b"".join(b".%d\r\n" % n + b"x" * 60 + b"\r\n" for n in range(20_000))
    plain = MESSAGE + lines
    wire = plain.replace(b"\r\n.", b"\r\n..")

    async def play() -> None:
        context = make_context()
        async with running_intake(context) as (intake, [port]), raw(port) as (reader, writer):
            writer.write(b"EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<anna@example.org>\r\n")
            if chunked:
                half = len(plain) // 2
                writer.write(b"BDAT %d\r\n" % half + plain[:half])
                writer.write(b"BDAT %d LAST\r\n" % (len(plain) - half) + plain[half:])
            else:
                writer.write(b"DATA\r\n" + wire + b".\r\n")
            replies = [await read_reply(reader) for _ in range(6)]
            assert replies[-1].startswith("250 2.0.0 Ok: queued as"), replies
            assert intake.budget.left == 64 * 2**20
        [new] = kept(context)
        content = new.content
        with open(content.path, "rb") as file:  # noqa: ASYNC230
            assert file.read() == wire
        assert content.wire_bytes == len(wire) and content.size_bytes == len(content.prefix) + len(plain)

    run(play())


def test_what_is_given_up_leaves_no_file() -> None:
    """A client that goes away in the middle, content that turns out bad or too large: nothing stays."""
    big = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 3000
    begin = b"EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n"
    endings = {
        "gone": b"",
        "bare": b"\n\r\n.\r\nQUIT\r\n",
        "large": b"z" * 300_000 + b"\r\n.\r\nQUIT\r\n",
    }

    async def play(ending: bytes) -> list[str]:
        context = make_context(max_message_size=400_000)
        async with running_intake(context) as (intake, [port]), raw(port) as (reader, writer):
            writer.write(begin + big + ending)
            writer.write_eof()
            written = await asyncio.wait_for(reader.read(), 60)
            await until(lambda: not intake.sessions_count)
        assert not kept(context) and (not ending or b"\r\n55" in written)
        folder = spool_folder(context)
        left = os.listdir(folder)
        shutil.rmtree(folder)
        return left

    for name, ending in endings.items():
        assert uvloop.run(play(ending)) == [], name


def test_a_header_without_end_is_refused() -> None:
    """A header section beyond the limit is not kept in memory: 552, and the session goes on."""
    header = b"X: " + b"x" * 70 + b"\r\n"

    async def play() -> list[str]:
        context = make_context()
        async with running_intake(context) as (_, [port]), raw(port) as (reader, writer):
            writer.write(b"EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n")
            writer.write(header * 4000 + b"\r\n.\r\nNOOP\r\n")
            return [(await read_reply(reader))[:9] for _ in range(7)]

    assert uvloop.run(play())[-2:] == ["552 5.3.4", "250 2.0.0"]


def test_a_loop_is_refused() -> None:
    """More than 100 Received fields: 554; exactly 100 are taken."""

    async def play(count: int) -> str:
        context = make_context()
        async with running_intake(context) as (_, [port]), raw(port) as (reader, writer):
            writer.write(b"EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n")
            writer.write(b"received : from x\r\n\tby y\r\n" * count + b"\r\nReceived: no field\r\n.\r\n")
            return [await read_reply(reader) for _ in range(6)][-1][:9]

    assert uvloop.run(play(101)) == "554 5.4.6"
    assert uvloop.run(play(100)) == "250 2.0.0"


@pytest.mark.parametrize(
    "error, at_mail, at_end",
    [
        (SpoolFullError("no space"), "452 4.3.1", "452 4.3.1"),
        (SpoolError("a sync failed"), "451 4.3.0", "451 4.3.0"),
    ],
    ids=["full", "broken"],
)
def test_trouble_with_the_spool_is_temporary(error: SpoolError, at_mail: str, at_end: str) -> None:
    """Known before: at MAIL. Found out when it is kept: after content. The session goes on."""

    async def play() -> None:
        context = make_context()
        spool: Any = context.spool
        async with running_intake(context) as (_, [port]), raw(port) as streams:
            await read_reply(streams[0])
            spool.refuse_with(error)
            assert (await say(streams, b"EHLO x\r\n", b"MAIL FROM:<>\r\n"))[1].startswith(at_mail)
            spool.refuse_with(None)
            spool.fail_with(error)
            begin = (b"MAIL FROM:<>\r\n", b"RCPT TO:<anna>\r\n", b"DATA\r\n")
            lines = (*begin, b"Subject: x\r\n\r\n.\r\n", b"NOOP\r\n")
            replies = await say(streams, *lines)
            assert replies[3].startswith(at_end) and replies[4].startswith("250")
        assert not kept(context)

    uvloop.run(play())


def test_limits_of_sessions() -> None:
    """So many of an address, so many in all: 421; relay.networks are not bound by the first."""

    async def play(settings: IntakeSettings, networks: tuple[str, ...]) -> list[str]:
        context = make_context(settings=settings, relay=RelaySettings(networks))
        greetings = []
        async with running_intake(context) as (intake, [port]), contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                reader, _ = await stack.enter_async_context(raw(port))
                greetings.append((await read_reply(reader))[:9].strip())
            assert intake.sessions_count >= 2
        return [greeting[:3] if greeting.startswith("220") else greeting for greeting in greetings]

    few = IntakeSettings(sessions_per_address=2)
    assert uvloop.run(play(few, ())) == ["220", "220", "421 4.7.0"]
    assert uvloop.run(play(few, ("127.0.0.0/8",))) == ["220", "220", "220"]
    assert uvloop.run(play(IntakeSettings(sessions=2), ("127.0.0.0/8",))) == ["220", "220", "421 4.3.2"]


def test_settings_change_between_two_messages_of_a_session() -> None:
    """No session is dropped; who is new is known from the next transaction on."""

    async def play() -> None:
        context = make_context()
        changed = make_context(spool=context.spool, clock=context.clock, refuse_unknown_users=False)
        async with running_intake(context) as (intake, [port]), raw(port) as streams:
            await read_reply(streams[0])
            lines = (b"MAIL FROM:<>\r\n", b"RCPT TO:<carla>\r\n", b"RSET\r\n")
            assert [r[:3] for r in await say(streams, b"EHLO x\r\n", *lines)] == ["250", "250", "550", "250"]
            intake.update(changed)
            assert [r[:3] for r in await say(streams, *lines)] == ["250", "250", "250"]

    uvloop.run(play())


def test_stop_lets_a_message_end_and_dismisses_who_is_idle() -> None:
    """The idle hear 421; who is in the middle of a message gets its 250."""

    async def play() -> None:
        context = make_context()
        async with running_intake(context) as (intake, [port]), raw(port) as idle, raw(port) as busy:
            await read_reply(idle[0])
            await read_reply(busy[0])
            lines = (b"EHLO x\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<anna>\r\n", b"DATA\r\n")
            assert (await say(busy, *lines))[-1].startswith("354")
            stopping = asyncio.create_task(intake.stop(5))
            assert (await read_reply(idle[0])).startswith("421 4.3.2")
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
            assert (await say(busy, b"Subject: x\r\n\r\n.\r\n"))[0].startswith("250")
            assert (await read_reply(busy[0])).startswith("421 4.3.2")
            await stopping
        assert len(kept(context)) == 1

    uvloop.run(play())


def test_a_silent_client_is_dismissed() -> None:
    """After the time-out it hears 421; time is the clock's."""

    async def play() -> None:
        context = make_context()
        clock: Any = context.clock
        async with running_intake(context) as (intake, [port]), raw(port) as (reader, _):
            await read_reply(reader)
            clock.advance(299)
            intake._on_tick()
            assert intake.sessions_count == 1
            clock.advance(2)
            intake._on_tick()
            assert (await read_reply(reader)).startswith("421 4.4.2")
            assert await asyncio.wait_for(reader.read(), 5) == b""

    uvloop.run(play())


def test_content_in_memory_is_bounded_by_the_budget() -> None:
    """With the worker's budget spent, small content goes to a file too."""

    async def play() -> None:
        context = make_context()
        async with running_intake(context) as (intake, [port]), raw(port) as streams:
            intake.budget.left = 10
            await read_reply(streams[0])
            lines = (b"EHLO x\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<anna>\r\n", b"DATA\r\n")
            await say(streams, *lines)
            streams[1].write(b"Subject: x\r\n\r\n")
            await until(lambda: bool(os.listdir(spool_folder(context))))
            assert (await say(streams, b"body\r\n.\r\n"))[0].startswith("250")
            assert intake.budget.left == 10
        [new] = kept(context)
        assert new.content.path and CONTENT_IN_MEMORY_MAX > new.content.size_bytes

    uvloop.run(play())
