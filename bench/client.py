"""CPU of the client path a relayed message: the machine alone, and with its session on a socket.

    .venv/bin/python bench/client.py

The sink runs in a process of its own, so that the figure is the client's: machine, session, socket calls.
What has to hold: under 25 us of the client path itself for a 4 KiB message on a kept connection. The figure
"without a kernel" is that path on a transport that throws away; "on a socket" adds its system calls."""

import asyncio
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from cmail.delivery.agent import Transaction
from cmail.delivery.line import SessionLimits
from cmail.delivery.session import Session
from cmail.delivery.settings import AdvancedSettings, SmtpSettings
from cmail.delivery.smtp import SmtpAgent
from cmail.mail.content import Content, from_wire
from cmail.mail.outcome import Outcome
from cmail.net.clock import RealClock
from cmail.protocol.smtp.client import SmtpClient
from cmail.protocol.smtp.client_delivery import Delivery
from cmail.protocol.smtp.client_offers import Offers
from tests.support.fake_dns import FakeResolver
from tests.support.memory_work import transaction

COUNT = 30_000
CONTENT = from_wire(b"Subject: x\r\n\r\n" + (b"x" * 62 + b"\r\n") * 64, b"Received: by here\r\n")
REPLIES = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
QUEUED = b"250 2.0.0 Ok: queued as 4711\r\n"
CHUNK_REPLIES = b"250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n" + QUEUED


class Endless:
    """Work that is `COUNT` times the same message, and costs nothing."""

    def __init__(self, content: Content, count: int) -> None:
        self.transaction = transaction(1, content=content)
        self.left = count
        self.settled = 0
        self.never: asyncio.Future[None] | None = None

    def take(self) -> Transaction | None:
        if not self.left:
            return None
        self.left -= 1
        return self.transaction

    def settle(self, transaction: Transaction, outcomes: Mapping[int, Outcome]) -> None:
        self.settled += 1

    def put_back(self, transaction: Transaction) -> None:
        raise AssertionError("nothing is put back here")

    def more(self) -> "asyncio.Future[None]":
        self.never = asyncio.get_running_loop().create_future()
        return self.never

    def pause(self) -> None:
        return None

    def goes_from(self, address: str, acknowledged: Callable[[], int] = lambda: 0) -> None:
        pass


class Sink(asyncio.Transport):
    """A transport that throws away what is written."""

    def write(self, data: object) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        pass


def machine(offers: Offers) -> float:
    client = SmtpClient(offers, "sink[127.0.0.1]:25")
    message = transaction(1, content=CONTENT).message
    recipients = message.envelope.recipients
    start = time.process_time()
    for _ in range(COUNT):
        delivery = Delivery(None, message.envelope, recipients, CONTENT)
        client.begin(delivery)
        b"".join(client.take_outgoing())
        if offers.has_chunking:
            client.receive(CHUNK_REPLIES[14:])
        else:
            client.receive(REPLIES)
            b"".join(client.take_outgoing())
            client.receive(QUEUED)
    return (time.process_time() - start) / COUNT * 1e6


def session(offers: Offers) -> float:
    async def main() -> float:
        work = Endless(CONTENT, COUNT)
        one = Session(asyncio.get_running_loop(), SessionLimits(transactions_max=COUNT + 1))
        one.connection_made(Sink())
        start = time.process_time()
        one.converse(SmtpClient(offers, "sink[127.0.0.1]:25"), work, time.monotonic, lambda t: False)
        if offers.has_chunking:
            one.data_received(CHUNK_REPLIES[14:])
            while work.settled < COUNT:
                one.data_received(CHUNK_REPLIES)
        else:
            one.data_received(REPLIES)
            while work.settled < COUNT - 1:
                one.data_received(QUEUED + REPLIES)
            one.data_received(QUEUED)
        return (time.process_time() - start) / COUNT * 1e6

    return uvloop.run(main())


class SinkServer(asyncio.Protocol):
    """Answers by counting line ends; knows nothing."""

    def __init__(self, is_chunking: bool) -> None:
        self.is_chunking = is_chunking
        self.is_in_data = False
        self.held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(b"220 sink\r\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        data = self.held + data
        out = []
        while True:
            if self.is_in_data:
                end = data.find(b"\r\n.\r\n")
                if end < 0:
                    data = data[-4:]  # enough to find a dot that is cut in two
                    break
                data = data[end + 5 :]
                self.is_in_data = False
                out.append(QUEUED)
                continue
            line, mark, rest = data.partition(b"\r\n")
            if not mark:
                break
            verb = line[:4]
            if verb == b"BDAT":
                size = int(line.split()[1])
                if len(rest) < size:
                    break
                rest = rest[size:]
                out.append(QUEUED)
            elif verb == b"DATA":
                out.append(b"354 End data with <CR><LF>.<CR><LF>\r\n")
                self.is_in_data = True
            elif verb == b"EHLO":
                out.append(b"250-sink\r\n250-PIPELINING\r\n" + b"250-CHUNKING\r\n" * self.is_chunking)
                out.append(b"250 8BITMIME\r\n")
            else:
                out.append(b"250 2.1.0 Ok\r\n")
            data = rest
        self.held = data
        if out:
            self.transport.write(b"".join(out))  # type: ignore[attr-defined]


def serve(listener: socket.socket, is_chunking: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SinkServer(is_chunking), sock=listener)
        await server.serve_forever()

    uvloop.run(main())


def over_socket(
    is_chunking: bool, connections: int, content: Content = CONTENT, count: int = COUNT
) -> tuple[float, float]:
    """us of CPU, user and system, and messages/s of wall time."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    port = listener.getsockname()[1]
    server = multiprocessing.get_context("fork").Process(target=serve, args=(listener, is_chunking))
    server.start()

    async def main() -> tuple[float, float]:
        advanced = AdvancedSettings(messages_per_connection=count + 1, idle=timedelta(milliseconds=1))
        settings = SmtpSettings(host="127.0.0.1", port=port, advanced=advanced)
        agent = SmtpAgent(settings, "bench.example", lambda: "", FakeResolver(), RealClock(), Middle(), "")
        work = Endless(content, count)
        cpu, wall = os.times(), time.monotonic()
        await asyncio.gather(*(agent.run("relay", work) for _ in range(connections)))
        after = os.times()
        spent = after.user + after.system - cpu.user - cpu.system
        assert work.settled == count
        return spent / count * 1e6, count / (time.monotonic() - wall)

    try:
        return uvloop.run(main())
    finally:
        server.terminate()
        server.join()


class Middle:
    """Entropy without any."""

    def jitter(self) -> float:
        return 0.5


def in_file(octets_count: int, folder: str) -> Content:
    """Content that stands in a file."""
    line = b"x" * 76 + b"\r\n"
    wire = b"Subject: large\r\n\r\n" + line * (octets_count // len(line))
    path = Path(folder, str(octets_count))
    path.write_bytes(wire)
    return Content(b"", b"", len(wire), str(path), len(wire))


if __name__ == "__main__":
    PIPELINING = Offers(has_pipelining=True, has_size=True, has_8bitmime=True)
    CHUNKING = Offers(has_pipelining=True, has_chunking=True, has_8bitmime=True)
    for name, offers in (("DATA pipelined", PIPELINING), ("BDAT", CHUNKING)):
        alone, without = machine(offers), session(offers)
        print(f"{name}: machine {alone:.1f} us, with its session, without a kernel: {without:.1f} us")
        for connections in (1, 20):
            cpu_us, rate = over_socket(offers.has_chunking, connections)
            where = f"{name}: on a socket, {connections} connections"
            print(f"{where}: {cpu_us:.1f} us CPU a message, {rate:,.0f} messages/s")
    with tempfile.TemporaryDirectory() as folder:
        for octets_count, count in ((100_000, 3000), (1_000_000, 500)):
            for connections in (1, 20):
                content = in_file(octets_count, folder)
                cpu_us, rate = over_socket(False, connections, content, count)
                where = f"{octets_count // 1000} kB in a file, {connections} connections"
                print(f"{where}: {cpu_us:.0f} us CPU a message, {rate:,.0f} messages/s")
