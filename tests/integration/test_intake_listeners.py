"""Listeners: a Unix socket for LMTP, no file descriptors left, Postfix's load tool."""

import asyncio
import errno
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cmail.smtpd import listener
from tests.conftest import PROGRAM_PATH
from tests.support.intake import ListLog, listening_socket, make_context, running_intake


def test_lmtp_on_a_unix_socket(tmp_path: Path) -> None:
    """Who may open it is from here; a reply for each recipient."""

    async def play() -> bytes:
        context = make_context()
        path = str(tmp_path / "lmtp")
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        sock.listen()
        async with running_intake(context) as (intake, _):
            intake.add("lmtp", sock)
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<anna>\r\nRCPT TO:<x@example.com>\r\n")
            writer.write(b"DATA\r\n.\r\nQUIT\r\n")
            written = await asyncio.wait_for(reader.read(), 60)
            writer.close()
        spool: Any = context.spool
        [kept] = spool._messages.values()
        assert b"(localhost [local])" in kept.new.content.prefix
        return written

    assert uvloop.run(play()).count(b"250 2.0.0 Ok: queued as") == 2


class Exhausted(socket.socket):
    """A socket that has no file descriptor for anyone, for a while."""

    refusals = 3

    def accept(self) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_without_file_descriptors_clients_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in the log (once), the loop does not spin, and service goes on by itself."""
    monkeypatch.setattr(listener, "REST_S", 0.01)

    async def play() -> None:
        context = make_context()
        async with running_intake(context) as (intake, _):
            plain = listening_socket()
            sock = Exhausted(fileno=plain.detach())
            port = sock.getsockname()[1]
            intake.add("smtp", sock)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"220 ")
            writer.close()
        log = context.maillog
        assert isinstance(log, ListLog)
        assert len(log.of("warned")) == 1

    uvloop.run(play())


@pytest.mark.needs("smtp-source")
@pytest.mark.parametrize("flags", [(), ("-d",)], ids=["a connection each", "connections reused"])
def test_smtp_source_loses_nothing(flags: tuple[str, ...]) -> None:
    """300 messages over 10 sessions: each is there once."""

    async def play() -> int:
        context = make_context()
        async with running_intake(context) as (_, [port]):
            process = await asyncio.create_subprocess_exec(
                str(shutil.which("smtp-source", path=PROGRAM_PATH)), *flags, "-s", "10", "-m", "300", "-l", "4096",
                "-t", "anna@example.org", f"inet:127.0.0.1:{port}",
            )  # fmt: skip
            assert await asyncio.wait_for(process.wait(), 60) == 0
        spool: Any = context.spool
        return len(spool._messages)

    assert uvloop.run(play()) == 300
