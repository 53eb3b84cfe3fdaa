"""How fast the spool accepts and settles: a busy loop, N messages outstanding, on this disk.

`python bench/spool.py [--messages N] [--outstanding 1,20,100] [--size 4096] [--folder DIR]`. Each
message costs the loop --busy-us of work, is accepted, and then settled as a delivered one. `--file`
writes the content to a file as intake does with large content."""

import argparse
import asyncio
import os
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass, field

import uvloop

from cmail.mail.address import Address
from cmail.mail.content import Content, from_wire
from cmail.mail.envelope import Envelope, Recipient
from cmail.net.clock import RealClock
from cmail.storage.spool import Final, NewMessage, RecipientState, Settlement
from cmail.storage.spool_sqlite import SqliteSpool

ENVELOPE = Envelope(Address("anna", "example.org"), (Recipient(Address("bob", "example.net")),))
PREFIX = b"Received: from client.example.org by mail.example.org; Mon, 1 Jan 2027\r\n" * 2
DELIVERED = (Final(0, RecipientState.DELIVERED),)


@dataclass
class Run:
    """One measurement: so many messages, at most so many of them on their way at once."""

    spool: SqliteSpool
    left: int
    wire: bytes
    busy_s: float
    is_file: bool
    settled: "asyncio.Future[None]" = field(init=False)
    is_done: bool = False
    waits: list[float] = field(default_factory=list)

    async def lane(self) -> None:
        """One session: a message, its answer, its settlement, the next."""
        while self.left > 0:
            self.left -= 1
            _spin(self.busy_s)
            message = self._message()
            started = time.perf_counter()
            await self.spool.accept(message)
            self.waits.append(time.perf_counter() - started)
            self.settled = self.spool.settle(Settlement(message.queue_id, DELIVERED, is_whole=True))

    def never_idle(self) -> None:
        """Other work of the loop that is always there."""
        _spin(self.busy_s)
        if not self.is_done:
            asyncio.get_running_loop().call_soon(self.never_idle)

    def _message(self) -> NewMessage:
        queue_id = self.spool.new_queue_id()
        content = from_wire(self.wire, PREFIX)
        if self.is_file:
            path = self.spool.content_path(queue_id)
            with open(path, "xb", buffering=0) as file:
                file.write(self.wire)
            content = Content(PREFIX, b"", content.size_bytes, path, len(self.wire))
        return NewMessage(queue_id, ENVELOPE, content, ("relay",), 1, 1, origin="bench")


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def measure(folder: str, outstanding: int, options: argparse.Namespace) -> str:
    """One row of the table."""
    spool = SqliteSpool.open(folder, 0, RealClock())
    wire = os.urandom(options.size // 2).hex().encode()[: options.size - 2] + b"\r\n"
    count = options.messages if outstanding > 1 else min(options.messages, 2000)
    run = Run(spool, count, wire, options.busy_us / 1e6, options.file)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    if options.never_idle:
        asyncio.get_running_loop().call_soon(run.never_idle)
    await asyncio.gather(*(run.lane() for _ in range(outstanding)))
    await run.settled
    run.is_done = True
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    await spool.close()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    waits = sorted(run.waits)
    half, high = waits[len(waits) // 2] * 1e3, waits[len(waits) * 99 // 100] * 1e3
    return f"{outstanding:11} {count / took:9.0f}/s {half:9.2f} ms {high:9.2f} ms {cpu / count * 1e6:9.0f} us"


def raw_sync_ms(folder: str, size: int) -> float:
    """What one append of a message and its sync cost on this disk, the half of them."""
    octets, took = os.urandom(size), []
    with open(os.path.join(folder, "raw"), "wb", buffering=0) as file:
        for _ in range(200):
            started = time.perf_counter()
            file.write(octets)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    return sorted(took)[100] * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--outstanding", default="1,20,50,100")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--busy-us", type=float, default=30.0)
    parser.add_argument("--never-idle", action="store_true", help="the loop has always other work")
    parser.add_argument("--file", action="store_true")
    parser.add_argument("--folder", default="var")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    for outstanding in map(int, options.outstanding.split(",")):
        folder = tempfile.mkdtemp(prefix="bench-spool-", dir=options.folder)
        try:
            if outstanding == 1:
                print(f"one append and sync of {options.size} octets:", end=" ")
                print(f"{raw_sync_ms(folder, options.size):.2f} ms")
                print("outstanding  accept+settle  accept p50    accept p99   CPU a message")
            print(uvloop.run(measure(folder, outstanding, options)), flush=True)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
