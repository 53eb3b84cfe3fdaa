"""The methods of a kick over real sockets: they say their line, and never hang or fill memory."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from cmail.link.kick import Kicks, Ourselves
from cmail.link.kicks.command import command
from cmail.link.kicks.connect import connect
from cmail.link.kicks.etrn import etrn
from cmail.link.kicks.finger import finger
from cmail.link.kicks.string import string
from cmail.link.kicks.target import ANSWER_OCTETS_MAX, KickResult, Target, Verdict
from cmail.link.settings import KickSettings
from cmail.protocol.sasl_client import Credentials
from cmail.world import DnsError, IPAddress, NoSuchDomainError
from tests.support.atrn_hub import hub_context
from tests.support.house import wait_for
from tests.support.sink_mx import CLOSE, HANG, LEAVES, SinkMx

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HERE = (ip_address("127.0.0.1"),)


class Names:
    """A Resolver that knows one name."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        if self.error is not None:
            raise self.error
        return HERE

    async def mx(self, domain: str):
        raise NotImplementedError

    async def ptr(self, address: IPAddress) -> str:
        raise NotImplementedError


def target(port: int, text: str = "example.org", timeout_s: float = 5.0, **more) -> Target:
    return Target("it", "smtp.isp.example", HERE, (port,), text, "mail.example.org", timeout_s, **more)


def kicked(serve: Serve, method=finger, **more) -> KickResult:
    async def whole() -> KickResult:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await method(target(server.sockets[0].getsockname()[1], **more))

    return asyncio.run(whole())


# Finger, connect, string.


def test_it_sends_the_domain_and_says_what_came_back() -> None:
    """RFC 1288: one line out, text in, the end of the connection is the end."""
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.write(b"3 messages for example.org\r\nsending\x07 now\r\n")
        writer.close()

    result = kicked(serve)
    assert heard == [b"example.org\r\n"]
    assert result.is_sent
    assert result.words.endswith("said: 3 messages for example.org sending? now")


def test_a_server_that_says_nothing_is_no_failure() -> None:
    """Only mail that arrives proves that it worked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    result = kicked(serve)
    assert result.is_sent and result.words.endswith("said: nothing")


async def _hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def _talks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"x" * ANSWER_OCTETS_MAX)
        await asyncio.sleep(0)
    writer.close()


def test_a_server_that_hangs_is_given_up() -> None:
    """All of it is bounded in time."""
    result = kicked(_hangs, timeout_s=0.05)
    assert not result.is_sent and "did not answer" in result.words


@pytest.mark.parametrize("method", [finger, connect, string])
def test_a_server_that_never_stops_talking_is_cut_off(method) -> None:
    """All of it is bounded in size, and one line of it is shown."""
    result = kicked(_talks, method)
    assert result.is_sent and len(result.words) < 400


@contextlib.contextmanager
def silent_at(address: str, port: int) -> Iterator[None]:
    """Nobody takes connections there: the kernel's queue is full, and what comes is not answered."""
    with socket.socket() as server, contextlib.ExitStack() as stack:
        server.bind((address, port))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        yield


@pytest.mark.parametrize("method", [finger, connect, string])
def test_an_address_that_is_silent_does_not_take_all_the_time(method: Any) -> None:
    """A host with an address that leads nowhere, as new ones do in many places, and one that answers: it is kicked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\r\n")
        writer.close()

    async def whole() -> KickResult:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            with silent_at("127.0.0.2", port):
                both = (ip_address("127.0.0.2"), *HERE)
                return await method(replace(target(port, timeout_s=6.0), addresses=both))

    result = asyncio.run(whole())
    assert result.is_sent and "hello" in result.words, result.words


def test_connect_says_nothing() -> None:
    """A connection is enough for servers that go by the address; who greets is heard."""
    heard, ended = [], asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello you\r\n")
        heard.append(await reader.read())
        writer.close()
        ended.set()

    async def quick(to: Target) -> KickResult:
        try:
            return await connect(to, quiet_s=0.5)
        finally:
            await ended.wait()

    result = kicked(serve, quick)
    assert heard == [b""] and result.is_sent and result.words.endswith("said: hello you")


def test_string_says_its_text_to_who_never_closes() -> None:
    """Lines as the settings have them; silence behind an answer is its end."""
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline() + await reader.readline())
        writer.write(b"+OK flushing\r\n")
        await reader.read()
        writer.close()

    async def quick(to: Target) -> KickResult:
        return await string(to, quiet_s=0.5)

    result = kicked(serve, quick, text=r"USER me\r\nFLUSH")
    assert heard == [b"USER me\r\nFLUSH\r\n"]
    assert result.is_sent and result.words.endswith("said: +OK flushing")


def test_trouble_is_said_in_words() -> None:
    """Nobody listens; no such host; no DNS; a text that is no line; no host at all."""

    async def test() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()

        async def nobody(_addresses: Sequence[str]) -> int:
            return 0

        async def words(
            host: str = "smtp.isp.example", text: str = "", error: Exception | None = None
        ) -> str:
            ourselves = Ourselves("mail.example.org", "example.org", "", 5.0, lambda path: "")
            kicks = Kicks(ourselves, Names(error), nobody, None, lambda: False, set())  # type: ignore[arg-type]
            result = await kicks.kick(KickSettings("finger", host, port, text))
            assert not result.is_sent
            return result.words

        assert "cannot be reached" in await words()
        assert "no host" in await words(error=NoSuchDomainError())
        assert "SERVFAIL" in await words(error=DnsError("SERVFAIL"))
        assert "one line" in await words(text="a\r\nb")
        assert "smtp.host is not set" in await words(host="")

    asyncio.run(test())


# A program.


def run_command(*arguments: str, timeout_s: float = 20.0) -> KickResult:
    return asyncio.run(command(target(0, timeout_s=timeout_s, command=arguments)))


def test_a_command_gets_its_arguments_as_they_are() -> None:
    """No shell looks at them; what it says is shown, and 0 means that it worked."""
    result = run_command(sys.executable, "-c", "import sys; print(sys.argv[1:])", "$HOME; ls", "*")
    assert result.is_sent and "['$HOME; ls', '*']" in result.words


def test_a_command_that_fails_is_said_so() -> None:
    """By its exit code, with its last words; one that is not there is not tried again."""
    result = run_command(sys.executable, "-c", "import sys; sys.exit('no carrier')")
    assert (
        result.verdict is Verdict.NOT_NOW and "ended with 1" in result.words and "no carrier" in result.words
    )
    result = run_command("/nowhere/dial")
    assert result.verdict is Verdict.REFUSED and "No such file" in result.words


def test_a_command_that_hangs_is_stopped(tmp_path: Path) -> None:
    """And all that it has started."""
    pid_file = tmp_path / "pid"
    code = (
        f"import os, subprocess as s; p = s.Popen(['sleep', '600']); open({str(pid_file) + '.new'!r}, 'w')"
        f".write(str(p.pid)); os.rename({str(pid_file) + '.new'!r}, {str(pid_file)!r}); p.wait()"
    )
    result = run_command(sys.executable, "-c", code, timeout_s=8.0)
    assert result.verdict is Verdict.NOT_NOW and "did not end" in result.words
    wait_for(lambda: is_gone(int(pid_file.read_text())), "its child to be gone")


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it buried or not."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_command_that_talks_for_ever_fills_nothing() -> None:
    """Its words are read to the end, and the beginning is kept."""
    result = run_command(
        sys.executable, "-c", "import sys\nfor _ in range(200): sys.stdout.write('x' * 65536)"
    )
    assert result.is_sent and len(result.words) < 400


# ETRN.


def etrn_with(
    script, text: str = "example.org", tls=None, offers=("ETRN",), way="none", **more
) -> tuple[KickResult, SinkMx]:
    async def whole() -> tuple[KickResult, SinkMx]:
        sink = SinkMx(script, extensions=offers, tls=tls, users={"anna": "secret"})
        async with sink:
            return await etrn(target(sink.port, text, tls=way, **more)), sink

    return asyncio.run(whole())


def test_etrn_says_its_line() -> None:
    """EHLO, ETRN, QUIT; the reply is in the words."""
    result, sink = etrn_with({"ETRN": b"250 2.0.0 Queuing started\r\n"})
    assert sink.heard == ["EHLO mail.example.org", "ETRN example.org", "QUIT"]
    assert result.is_sent and "Queuing started" in result.words


@pytest.mark.parametrize("text", ["@example.org", "#office"])
def test_etrn_in_all_its_forms(text: str) -> None:
    """As the settings have it."""
    assert etrn_with({"ETRN": b"250 ok\r\n"}, text)[1].heard[1] == f"ETRN {text}"


def test_etrn_with_who_wants_the_name_of_a_queue() -> None:
    """The same connection, the same name as that of a queue; and no third time."""
    wants = {"ETRN": b"501 argument must begin with #\r\n"}
    result, sink = etrn_with({**wants, "ETRN#1": b"458 Already processing #example.org\r\n"})
    assert sink.lines("ETRN") == ["ETRN example.org", "ETRN #example.org"] and sink.connections == 1
    assert result.is_sent and "already" in result.words
    result, sink = etrn_with(wants, "@example.org")
    assert sink.lines("ETRN") == ["ETRN @example.org", "ETRN #example.org"]
    assert result.verdict is Verdict.REFUSED


def test_etrn_under_tls_with_a_log_in() -> None:
    """The password goes over TLS alone; a wrong one is said and not tried again."""
    more: dict[str, Any] = {"tls": hub_context()[0], "offers": ("ETRN", "AUTH PLAIN")}
    script = {"ETRN": b"250 ok\r\n"}
    result, sink = etrn_with(script, credentials=Credentials("anna", "secret"), way="opportunistic", **more)
    assert result.is_sent
    assert [line.split()[0] for line in sink.heard] == ["EHLO", "STARTTLS", "EHLO", "AUTH", "ETRN", "QUIT"]
    result, _ = etrn_with(script, credentials=Credentials("anna", "wrong"), way="opportunistic", **more)
    assert result.verdict is Verdict.REFUSED and "log-in" in result.words and "wrong" not in result.words


def test_a_server_that_goes_when_tls_begins() -> None:
    """It is said that it has: a sentence that ends with a colon tells nothing."""
    more: dict[str, Any] = {"tls": hub_context()[0], "offers": ("ETRN",)}
    result, _ = etrn_with({"STARTTLS": LEAVES}, way="required", **more)
    assert result.verdict is Verdict.NOT_NOW and result.words.endswith("the connection was closed"), (
        result.words
    )


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ({"connect": b"554 go away\r\n"}, Verdict.REFUSED),
        ({"connect": CLOSE}, Verdict.NOT_NOW),
        ({"EHLO": b"421 busy\r\n"}, Verdict.NOT_NOW),
        ({"ETRN": CLOSE}, Verdict.NOT_NOW),
        ({"ETRN": b"HTTP/1.1 400 what\r\n"}, Verdict.NOT_NOW),
        ({"ETRN": b"250 ok\r\n", "QUIT": HANG}, Verdict.SENT),
        ({"ETRN": b"250 ok\r\n", "QUIT": CLOSE}, Verdict.SENT),
        ({}, Verdict.REFUSED),  # 500
    ],
)
def test_etrn_with_bad_servers(script, verdict: Verdict) -> None:
    """Each ends in time, as what it is, with words; what is said behind the reply is no matter."""
    result, _ = etrn_with(script)
    assert result.verdict is verdict and result.words.startswith("kick: smtp.isp.example")
