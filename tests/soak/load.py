"""The load of the soak, in a process of its own: clients of every kind, what mail arrives at, and the ledger.

    python -m tests.soak.load '{"smtp": 2525, "submission": 2587, "lmtp": 2424, "mailbox": "..."}'

It prints a JSON line a second, hears `rate N` (0: as fast as it goes) and `stop`, and tells at the end what
was acknowledged and did not arrive, or arrived twice. The ledger is an octet for each message."""

import asyncio
import base64
import contextlib
import json
import os
import random
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any, Final

CLIENTS: Final = 16
BEHIND_MAX: Final = 3000  # acknowledged and not arrived: then the clients wait, so the queue stays small
ARRIVE_S: Final = 120.0
OUTSIDERS: Final = 300  # other client addresses that mail for here comes from
STRANGERS: Final = 500  # addresses that are refused; more would fill caches (all are bounded) for an hour
HERE, THERE = "anna@example.org", "b@example.net"
LINE: Final = b"Hello, this is a line of the body of a message.\r\n"
_TLS: Final = ssl.create_default_context()
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE  # the server's own certificate


class Ledger:
    """A message is a number; two octets of memory each."""

    def __init__(self) -> None:
        self.acknowledged, self.arrived = bytearray(), bytearray()
        self.counts = dict.fromkeys(("acknowledged", "arrived", "refused", "broken"), 0)

    def new(self) -> int:
        """A number for a message."""
        self.acknowledged.append(0)
        self.arrived.append(0)
        return len(self.arrived) - 1

    def got_250(self, number: int) -> None:
        """It is the server's now."""
        self.acknowledged[number] = 1
        self.counts["acknowledged"] += 1

    def arrives(self, content: bytes) -> None:
        """At an end of its way."""
        start = content.index(b"Subject: n") + 10
        number = int(content[start : content.index(b"\n", start)])
        self.counts["arrived"] += not self.arrived[number]
        self.arrived[number] = min(255, self.arrived[number] + 1)

    def missing(self) -> list[int]:
        """Acknowledged, and not there."""
        both = enumerate(zip(self.acknowledged, self.arrived, strict=True))
        return [number for number, (was_taken, count) in both if was_taken and not count]

    def duplicated(self) -> list[int]:
        """There more often than once."""
        return [number for number, count in enumerate(self.arrived) if count > 1]


class Sink(asyncio.Protocol):
    """An SMTP or LMTP server that forgets what it takes."""

    def __init__(self, ledger: Ledger, is_lmtp: bool) -> None:
        self._ledger, self._is_lmtp = ledger, is_lmtp
        self._octets = bytearray()
        self._recipients_count, self._is_in_data = 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._octets += data
        mark = b"\r\n.\r\n" if self._is_in_data else b"\r\n"
        while (end := self._octets.find(mark)) >= 0:
            piece = bytes(self._octets[:end])
            del self._octets[: end + len(mark)]
            self._transport.write(self._content(piece) if self._is_in_data else self._command(piece))
            mark = b"\r\n.\r\n" if self._is_in_data else b"\r\n"

    def _content(self, content: bytes) -> bytes:
        self._ledger.arrives(content)
        count, self._recipients_count, self._is_in_data = self._recipients_count, 0, False
        return b"250 2.0.0 ok\r\n" * (count if self._is_lmtp else 1)

    def _command(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO" | b"LHLO":
                return b"250-sink\r\n250 PIPELINING\r\n"
            case b"RCPT":
                self._recipients_count += 1
            case b"DATA":
                self._is_in_data = True
                return b"354 go on\r\n"
            case b"QUIT":
                self._transport.close()
        return b"250 2.0.0 ok\r\n"


class Session:
    """A connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, word: str = "EHLO", source: str = "127.0.0.1") -> "Session":
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        session = cls(reader, writer)
        try:
            await session.expect(await session.reply(), "220")
            await session.ask(f"{word} load.example.net", "250")
        except BaseException:
            session.close()
            raise
        return session

    async def reply(self) -> bytes:
        while (line := await self._reader.readuntil(b"\r\n"))[3:4] == b"-":
            pass
        return line

    async def expect(self, line: bytes, code: str) -> None:
        if not line.startswith(code.encode()):
            raise ValueError(line.decode())

    async def ask(self, command: str, code: str) -> None:
        self._writer.write(command.encode() + b"\r\n")
        await self.expect(await self.reply(), code)

    async def start_tls(self) -> None:
        await self.ask("STARTTLS", "220")
        await self._writer.start_tls(_TLS)
        await self.ask("EHLO load.example.net", "250")

    async def send(self, number: int, to: str, size: int, *, is_cut: bool = False) -> bool:
        """One message, MAIL, RCPT and DATA in one write; whether it got its 250. Cut: we hang up in it."""
        self._writer.write(f"MAIL FROM:<>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode())
        replies = [await self.reply() for _ in range(3)]
        if not replies[2].startswith(b"354"):
            await self.ask("RSET", "250")
            return False
        content = f"From: a@example.com\r\nSubject: n{number}\r\n\r\n".encode() + LINE * (size // len(LINE))
        self._writer.write(content)
        if is_cut:
            return False
        self._writer.write(b".\r\n")
        await self._writer.drain()
        return (await self.reply()).startswith(b"250")

    def close(self) -> None:
        self._writer.close()


class Load:
    """All clients; each message comes in one of the ways that there are."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports, self.ledger = ports, Ledger()
        self.rate = 0.0
        self.is_stopping = False
        self._due = 0.0
        self._chance = random.Random(7)
        self._ways: list[tuple[Callable[[], Any], int]] = [
            (self._reused, 25),
            (self._plain, 40),
            (self._outsider, 20),
            (self._lmtp, 10),
            (self._refused, 10),
            (self._encrypted, 6),
            (self._logged_in, 6),
            (self._cut, 3),
            (self._wrong_password, 1),
        ]

    async def run(self) -> None:
        """A client: one thing after the other, at the pace that was set."""
        ways, weights = zip(*self._ways, strict=True)
        while not self.is_stopping:
            await self._pace()
            try:
                async with asyncio.timeout(30):
                    await self._chance.choices(ways, weights)[0]()
            except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.ledger.counts["broken"] += 1
                print(json.dumps({"words": f"{error!r:.100}"}), flush=True)
                await asyncio.sleep(0.1)

    async def _pace(self) -> None:
        counts = self.ledger.counts
        if counts["acknowledged"] - counts["arrived"] > BEHIND_MAX:
            await asyncio.sleep(1)
        if self.rate:
            self._due = max(self._due + 1 / self.rate, time.monotonic() - 0.2)
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))

    def _size(self) -> int:
        return 200_000 if self._chance.random() < 0.01 else self._chance.choice((500, 1500, 4000, 16_000))

    async def _send(self, session: Session, to: str) -> None:
        number = self.ledger.new()
        if await session.send(number, to, self._size()):
            self.ledger.got_250(number)
        else:
            self.ledger.counts["refused"] += 1

    def _anybody(self) -> str:
        return self._chance.choice((HERE, THERE))

    @contextlib.asynccontextmanager
    async def _session(self, kind: str = "smtp", **more: Any) -> Any:
        session = await Session.open(self.ports[kind], **more)
        try:
            yield session
        finally:
            session.close()

    async def _plain(self) -> None:
        async with self._session() as session:
            await self._send(session, self._anybody())
            await session.ask("QUIT", "221")

    async def _reused(self) -> None:
        async with self._session() as session:
            for _ in range(20):
                await self._send(session, self._anybody())
                await self._pace()

    async def _outsider(self) -> None:
        address = self._chance.randrange(OUTSIDERS)
        async with self._session(source=f"127.9.{address >> 8}.{address & 255}") as session:
            await self._send(session, HERE)

    async def _lmtp(self) -> None:
        async with self._session("lmtp", word="LHLO") as session:
            await self._send(session, HERE)

    async def _refused(self) -> None:
        async with self._session(source="127.8.1.1") as session:
            await self._send(session, f"nobody{self._chance.randrange(STRANGERS)}@example.org")
            await self._send(session, f"x@example{self._chance.randrange(STRANGERS)}.net")
            await self._send(session, HERE)

    async def _encrypted(self) -> None:
        async with self._session() as session:
            await session.start_tls()
            await self._send(session, self._anybody())

    async def _logged_in(self) -> None:
        async with self._session("submission") as session:
            await session.ask("AUTH PLAIN " + _plain("secret"), "235")
            await self._send(session, self._anybody())

    async def _wrong_password(self) -> None:
        async with self._session("submission") as session:
            await session.ask("AUTH PLAIN " + _plain(f"wrong{self._chance.randrange(1 << 40)}"), "535")

    async def _cut(self) -> None:
        async with self._session() as session:
            await session.send(self.ledger.new(), HERE, self._size(), is_cut=True)


def _plain(password: str) -> str:
    return base64.b64encode(f"\0{HERE}\0{password}".encode()).decode()


def empty(folder: str, ledger: Ledger) -> None:
    """Take what is in a mailbox out of it."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with open(entry.path, "rb") as file:
                ledger.arrives(file.read(8192))
            os.unlink(entry.path)


async def main(places: dict[str, Any]) -> None:
    """Until it hears `stop`."""
    loop = asyncio.get_running_loop()
    load = Load(places)
    ledger = load.ledger
    sinks = {
        name: await loop.create_server(lambda name=name: Sink(ledger, name == "lmtp"), "127.0.0.1", 0)  # type: ignore[misc]
        for name in ("smtp", "lmtp")
    }
    print(json.dumps({name: sink.sockets[0].getsockname()[1] for name, sink in sinks.items()}), flush=True)
    words = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    places.update(json.loads(await words.readline()))
    clients = [asyncio.create_task(load.run()) for _ in range(CLIENTS)]
    hearing = asyncio.create_task(_hear(words, load))
    while not load.is_stopping:
        await asyncio.sleep(1)
        empty(places["mailbox"], ledger)
        print(json.dumps(ledger.counts), flush=True)
    await asyncio.gather(*clients, hearing)
    until = time.monotonic() + ARRIVE_S
    while ledger.missing() and time.monotonic() < until:
        empty(places["mailbox"], ledger)
        await asyncio.sleep(0.2)
    end = {"missing": ledger.missing(), "duplicated": ledger.duplicated()}
    print(json.dumps({**ledger.counts, **end}), flush=True)


async def _hear(words: asyncio.StreamReader, load: Load) -> None:
    while not load.is_stopping:
        line = (await words.readline()).split()
        if line[:1] == [b"rate"]:
            load.rate = float(line[1])
        elif line[:1] in ([b"stop"], []):
            load.is_stopping = True


if __name__ == "__main__":
    asyncio.run(main({}))
