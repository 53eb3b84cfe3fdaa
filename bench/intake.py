"""What one core costs a message on its way in: machine, callbacks and receive, without the disk.

    python bench/intake.py                    the machine alone, then the server under smtp-source
    python bench/intake.py --profile          where the time goes (cProfile)

The spool is fake and answers in the next turn of the loop; the load tool (Postfix's smtp-source, when it is
there) runs as its own process, and only our CPU time counts."""

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Final

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cmail.mail.queue_id import QueueId, QueueIds
from cmail.net.clock import RealClock
from cmail.observe import maillog
from cmail.protocol.smtp import content as smtp_content
from cmail.smtpd.connection import Connection
from cmail.smtpd.context import IntakeContext
from cmail.smtpd.intake import Intake
from cmail.storage.spool import NewMessage
from tests.support.intake import ListLog, listening_socket, make_context

SIZE: Final = 4096
SMTP_SOURCE: Final = shutil.which("smtp-source", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class QuickSpool:
    """Keeps nothing: every message is durable in the next turn of the loop."""

    shard = 0

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self.new_queue_id = QueueIds(0, RealClock().wall_ms).new

    def content_path(self, queue_id: QueueId) -> str:
        return f"/tmp/bench-intake-{queue_id}"

    def refusal(self) -> None:
        return None

    def accept(self, message: NewMessage) -> "asyncio.Future[None]":
        self.count += 1
        future = self._loop.create_future()
        self._loop.call_soon(future.set_result, None)
        return future


class QuietLog(ListLog):
    """Says nothing, at no cost."""

    def __getattr__(self, name: str) -> Any:
        return _nothing


def _nothing(*args: Any, **named: Any) -> None:
    pass


class LinkClockToo(RealClock):
    """The link is up all the time."""

    is_down = False
    periods = 1

    def link_ms(self) -> int:
        return time.time_ns() // 1_000_000


class NullTransport:
    """Takes what is written."""

    def write(self, data: bytes) -> None:
        self.last = data

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def get_extra_info(self, name: str) -> None:
        return None


def bench_context(log: Any) -> IntakeContext:
    clock = LinkClockToo()
    return make_context(spool=QuickSpool(), clock=clock, link_clock=clock, maillog=log, validation=True)


def message(size: int = SIZE) -> bytes:
    head = b"Received: from x\r\nFrom: <a@example.org>\r\nMessage-Id: <1@x>\r\nSubject: x\r\n\r\n"
    lines = b"".join(b"x" * 78 + b"\r\n" for _ in range((size - len(head)) // 80))
    return head + lines + b"\r\n.\r\n"


async def callbacks(count: int, log: Any, *, is_each: bool) -> float:
    """Microseconds a message in our callbacks alone, no sockets: one command a packet."""
    context = bench_context(log)
    intake = Intake(context)
    facts, client = context.facts("smtp"), context.client("127.0.0.1")
    body = message()
    packets = (b"MAIL FROM:<foo@mail.example.org>\r\n", b"RCPT TO:<anna@example.org>\r\n", b"DATA\r\n", body)
    connection: Any = None
    began = time.process_time()
    for _ in range(count):
        if connection is None or is_each:
            intake.admit(client, facts.service)
            connection = Connection(intake, facts, client, is_tls=False)
            connection.connection_made(NullTransport())
            connection.data_received(b"HELO host\r\n")
        for packet in packets:
            connection.data_received(packet)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if is_each:
            connection.data_received(b"QUIT\r\n")
            connection.connection_lost(None)
    spent = time.process_time() - began
    assert context.spool.count == count  # type: ignore[attr-defined]
    await intake.stop(0.1)
    return spent / count * 1e6


async def loaded(count: int, sessions: int, log: Any, *, is_each: bool) -> tuple[float, float]:
    """CPU microseconds a message, and messages a second, under smtp-source."""
    context = bench_context(log)
    intake = Intake(context)
    sock = listening_socket()
    port = sock.getsockname()[1]
    intake.add("smtp", sock)
    flags = [] if is_each else ["-d"]
    before, began = _cpu(), time.monotonic()
    process = await asyncio.create_subprocess_exec(
        str(SMTP_SOURCE), *flags, "-s", str(sessions), "-m", str(count), "-l", str(SIZE),
        "-f", "foo@mail.example.org", "-t", "anna@example.org", f"inet:127.0.0.1:{port}",
    )  # fmt: skip
    await process.wait()
    spent, took = _cpu() - before, time.monotonic() - began
    assert context.spool.count == count, context.spool.count  # type: ignore[attr-defined]
    await intake.stop(0.1)
    return spent / count * 1e6, count / took


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(work: Any) -> Any:
    gc.collect()
    gc.freeze()
    return uvloop.run(work)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--count", type=int, default=20_000)
    options.add_argument("--sessions", type=int, default=20)
    options.add_argument("--profile", action="store_true")
    options.add_argument("--log", action="store_true", help="with the real log, to /dev/null")
    asked = options.parse_args()
    log: Any = QuietLog()
    if asked.log:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        log = maillog
    print(f"compiled helper: {'yes' if smtp_content.IS_COMPILED else 'no'}")
    for is_each in (False, True):
        name = "a connection each" if is_each else "connections reused"
        work = callbacks(asked.count, log, is_each=is_each)
        if asked.profile:
            profile = cProfile.Profile()
            profile.runcall(run, work)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            continue
        print(f"{name}: {run(work):6.1f} us a message in callbacks")
        if SMTP_SOURCE:
            cpu, rate = run(loaded(asked.count, asked.sessions, log, is_each=is_each))
            print(f"{name}: {cpu:6.1f} us CPU a message with the kernel's part, {rate:,.0f}/s")


if __name__ == "__main__":
    main()
