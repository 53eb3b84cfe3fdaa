"""Attackers: clients that mean harm, each kind from loopback addresses of its own; a process beside the server.

    with Attackers({"smtp": 2525, "submission": 2587}, seconds=10) as attackers:
        ...
    met = attackers.met()        # {"long lines": {"500": 12, "": 3}, ...}: replies by their code; "" is a hang-up

They run at a low priority: in life they have machines of their own."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[2]
NICENESS: Final = 10
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset
MILLION: Final = 1_000_000
RCPTS: Final = 100_000
PAUSE_S: Final = 0.05
PROCESSES: Final = 4


class Enemy:
    """One connection. What it reads is counted by code."""

    def __init__(self, field: "Field", name: str, port: int, source: str) -> None:
        self._field, self._name, self._port, self._source = field, name, port, source

    async def __aenter__(self) -> Self:
        opening = asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._source, 0))
        self.reader, self.writer = await asyncio.wait_for(opening, 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def hear(self, timeout_s: float = 15) -> str:
        """The code of the next reply; "" when it was hung up on."""
        line = b""
        with contextlib.suppress(OSError, ValueError, asyncio.TimeoutError):
            line = await asyncio.wait_for(self.reader.readline(), timeout_s)
            while line[3:4] == b"-":
                line = await self.reader.readline()
        code = line[:3].decode("ascii", "replace")
        self._field.met[self._name][code] += 1
        return code

    async def say(self, octets: bytes) -> str:
        """Send, and hear one reply."""
        await self.send(octets)
        return await self.hear()

    async def send(self, octets: bytes, timeout_s: float = 30) -> None:
        """Send; OSError when nobody takes it."""
        self.writer.write(octets)
        await asyncio.wait_for(self.writer.drain(), timeout_s)

    async def begin(self, *, upto: bytes = b"DATA") -> bool:
        """EHLO and a transaction; False: turned away."""
        if await self.hear() != "220":
            return False
        lines = b"EHLO evil.example", b"MAIL FROM:<e@evil.example>", b"RCPT TO:<anna@example.org>", b"DATA"
        for line in lines:
            code = await self.say(line + b"\r\n")
            if line.startswith(upto) or code[:1] not in ("2", "3"):
                break
        return code[:1] in ("2", "3")

    async def listen_to_end(self) -> None:
        """Everything that still comes, counted in one go."""
        met, rest = self._field.met[self._name], b""
        with contextlib.suppress(OSError):
            while some := await self.reader.read(1 << 16):
                *lines, rest = (rest + some).split(b"\r\n")
                met.update(line[:3].decode("ascii", "replace") for line in lines)
        met[""] += 1


class Field:
    """Where the server is, how long it lasts, and what all attackers met."""

    def __init__(self, ports: dict[str, int], seconds: float, idle_count: int) -> None:
        self.ports = ports
        self.idle_count = idle_count
        self.until = time.monotonic() + seconds
        self.met: dict[str, Counter[str]] = {}

    def enemy(self, name: str, source: str, kind: str = "smtp") -> Enemy:
        """A connection that is still to be made."""
        return Enemy(self, name, self.ports[kind], source)

    @property
    def left_s(self) -> float:
        """Until the end."""
        return max(0.0, self.until - time.monotonic())

    async def again(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        """Over and over, until the end."""
        while self.left_s > 0:
            with contextlib.suppress(OSError, asyncio.TimeoutError, EOFError):
                await asyncio.wait_for(once(), self.left_s + 0.1)
            await asyncio.sleep(PAUSE_S)


async def idle(field: Field, name: str, net: int) -> None:
    """2,000 connections (fewer in the quick part) from 32 addresses that say nothing and come back when ended."""

    async def one(source: str) -> None:
        async with field.enemy(name, source) as enemy:
            if await enemy.hear() == "220":
                await enemy.hear(field.left_s)
        await asyncio.sleep(2)

    def each(source: str) -> Awaitable[None]:
        return field.again(name, lambda: one(source))

    await asyncio.gather(*(each(f"127.{net}.0.{n % 32 + 1}") for n in range(field.idle_count)))


async def slow_writers(field: Field, name: str, net: int) -> None:
    """An octet a second: in commands, and in content."""

    async def trickle(source: str, *, in_content: bool) -> None:
        async with field.enemy(name, source) as enemy:
            if not await (enemy.begin() if in_content else enemy.begin(upto=b"EHLO")):
                return
            while field.left_s > 0:
                await enemy.send(b"N")
                await asyncio.sleep(1)

    def each(n: int) -> Awaitable[None]:
        return field.again(name, lambda: trickle(f"127.{net}.0.{n % 4 + 1}", in_content=n % 2 == 0))

    await asyncio.gather(*(each(n) for n in range(100)))


async def deaf(field: Field, name: str, net: int) -> None:
    """Send commands as fast as they are taken, and read no reply."""

    async def shout(source: str, line: bytes) -> None:
        async with field.enemy(name, source) as enemy:
            enemy.writer.transport.pause_reading()  # type: ignore[attr-defined]
            enemy.writer.write(b"EHLO evil.example\r\nMAIL FROM:<>\r\n")
            while field.left_s > 0:
                await enemy.send(line * 2000, 5)

    lines = (b"RCPT TO:<anna@example.org>\r\n", b"RCPT TO:<x@y.example>\r\n", b"EHLO x\r\n", b"HELP\r\n")

    def each(n: int) -> Awaitable[None]:
        return field.again(name, lambda: shout(f"127.{net}.0.1", lines[n % 4]))

    await asyncio.gather(*(each(n) for n in range(8)))


async def long_lines(field: Field, name: str, net: int) -> None:
    """A line of a million octets: as a command, and in content."""

    async def once() -> None:
        async with field.enemy(name, f"127.{net}.0.1") as enemy:
            if await enemy.hear() == "220":
                await enemy.say(b"A" * MILLION + b"\r\n")
                await enemy.say(b"EHLO " + b"b" * MILLION + b"\r\n")
        async with field.enemy(name, f"127.{net}.0.2") as enemy:
            if await enemy.begin():
                await enemy.say(b"X: y\r\n\r\n" + b"a" * MILLION + b"\r\n.\r\n")
        async with field.enemy(name, f"127.{net}.0.3") as enemy:
            if await enemy.begin():
                await enemy.say(b"X: " + b"a" * MILLION + b"\r\n.\r\n")

    await field.again(name, once)


async def many_recipients(field: Field, name: str, net: int) -> None:
    """100,000 RCPT in one message."""

    async def once() -> None:
        async with field.enemy(name, f"127.{net}.0.1") as enemy:
            if await enemy.begin(upto=b"MAIL"):
                hearing = asyncio.ensure_future(enemy.listen_to_end())
                with contextlib.suppress(OSError):
                    await enemy.send(b"RCPT TO:<anna@example.org>\r\n" * RCPTS)
                await hearing

    await field.again(name, once)


async def early(field: Field, name: str, net: int) -> None:
    """Say all before the greeting; some hang up behind it, some close their half."""

    async def once() -> None:
        for how in ("stay", "half", "abort"):
            async with field.enemy(name, f"127.{net}.0.1") as enemy:
                await enemy.send(
                    b"EHLO a\r\nMAIL FROM:<a@evil.example>\r\nRCPT TO:<nobody@example.org>\r\nQUIT\r\n"
                )
                if how == "half":
                    enemy.writer.write_eof()
                if how != "abort":
                    await enemy.listen_to_end()

    await field.again(name, once)


async def garbage(field: Field, name: str, net: int) -> None:
    """Noise, NULs, a TLS hello, HTTP, a screen full of dots."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="mail.example.org")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    noise = [
        outgoing.read(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(5000),
        b".\r\n" * 5000,
        b"\n" * 5000,
    ]

    async def once() -> None:
        for octets in (*noise, os.urandom(20_000)):
            async with field.enemy(name, f"127.{net}.0.1") as enemy:
                await enemy.send(octets)
                if await enemy.hear(2):
                    await enemy.hear(2)

    await field.again(name, once)


async def guess(field: Field, name: str, net: int) -> None:
    """Guess anna's password, and those of people who are not there, from many addresses."""
    users = ("anna@example.org", "root", "admin@example.org", "anna@example.org")

    async def once(n: int) -> None:
        async with field.enemy(name, f"127.{net}.0.{n % 20 + 1}", "submission") as enemy:
            if await enemy.begin(upto=b"EHLO"):
                for count in range(20):
                    secret = b64encode(f"\0{users[n % 4]}\0guess{count}".encode())
                    if not await enemy.say(b"AUTH PLAIN " + secret + b"\r\n"):
                        return

    def each(n: int) -> Awaitable[None]:
        return field.again(name, lambda: once(n))

    await asyncio.gather(*(each(n) for n in range(40)))


async def half_closed(field: Field, name: str, net: int) -> None:
    """Close their half in every state, and stay."""
    stages = (b"EHLO", b"MAIL", b"RCPT", b"DATA")

    async def once(n: int) -> None:
        async with field.enemy(name, f"127.{net}.0.{n + 1}") as enemy:
            await enemy.begin(upto=stages[n])
            enemy.writer.write(b"MA")
            enemy.writer.write_eof()
            await enemy.listen_to_end()

    def each(n: int) -> Awaitable[None]:
        return field.again(name, lambda: once(n))

    await asyncio.gather(*(each(n) for n in range(4)))


async def storm(field: Field, name: str, net: int) -> None:
    """Connect and close, connect and reset, as fast as one can from 50 addresses."""
    loop = asyncio.get_running_loop()
    count = 0
    while field.left_s > 0:
        burst = []
        for _ in range(20):
            count += 1
            sock = socket.socket()
            sock.setblocking(False)
            sock.bind((f"127.{net}.0.{count % 50 + 1}", 0))
            if count % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            burst.append(sock)
        address = ("127.0.0.1", field.ports["smtp"])
        made = await asyncio.gather(*(loop.sock_connect(s, address) for s in burst), return_exceptions=True)
        field.met[name]["connected"] += sum(one is None for one in made)
        for sock in burst:
            sock.close()
        await asyncio.sleep(0.02)


async def shake_hands(field: Field, name: str, net: int) -> None:
    """STARTTLS over and over: a whole handshake, half of one, none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def once(n: int) -> None:
        async with field.enemy(name, f"127.{net}.0.{n + 1}") as enemy:
            if not await enemy.begin(upto=b"EHLO") or await enemy.say(b"STARTTLS\r\n") != "220":
                return
            if n % 3 == 0:
                await enemy.send(b"\x16\x03\x01\x02\x00\x01\x00")
                await enemy.hear(3)
            elif n % 3 == 1:
                await asyncio.wait_for(enemy.writer.start_tls(context), 20)
                field.met[name]["shaken"] += 1
            else:
                await enemy.hear(3)

    def each(n: int) -> Awaitable[None]:
        return field.again(name, lambda: once(n))

    await asyncio.gather(*(each(n) for n in range(30)))


async def floods(field: Field, name: str, net: int) -> None:
    """Thousands of commands that bring nothing, read or not."""
    lines = (
        b"MAIL FROM:<e@evil.example>\r\nRSET\r\n",
        b"NOOP\r\n",
        b"HELP\r\n",
        b"VRFY x\r\n",
        b"EHLO " + b"x" * 2000 + b"\r\n",
        b"EHLO " + "ü".encode() * 200 + b"\r\n",
    )

    async def once(n: int) -> None:
        async with field.enemy(name, f"127.{net}.0.{n + 1}") as enemy:
            await enemy.begin(upto=b"EHLO")
            with contextlib.suppress(OSError):
                await enemy.send(lines[n] * 5000)
            await enemy.listen_to_end()

    def each(n: int) -> Awaitable[None]:
        return field.again(name, lambda: once(n))

    await asyncio.gather(*(each(n) for n in range(len(lines))))


async def odd_chunks(field: Field, name: str, net: int) -> None:
    """BDAT of nothing, of one octet, of far too much, of no number, before its time."""
    chunks = (
        b"BDAT 0\r\n" * 5000,
        b"BDAT 1\r\nx" * 5000,
        b"BDAT 99999999999999\r\n" + b"x" * MILLION,
        b"BDAT 52428800\r\nx",
        b"BDAT -1\r\nx",
        b"BDAT x LAST\r\n",
        b"BDAT 5\r\nabcdeDATA\r\nBDAT 3 LAST\r\n\r\n.",
    )

    async def once(n: int) -> None:
        async with field.enemy(name, f"127.{net}.0.{n + 1}") as enemy:
            await enemy.begin(upto=b"EHLO" if n == 6 else b"RCPT")
            with contextlib.suppress(OSError):
                await enemy.send(chunks[n])
            await enemy.hear(5)
            await enemy.hear(2)

    def each(n: int) -> Awaitable[None]:
        return field.again(name, lambda: once(n))

    await asyncio.gather(*(each(n) for n in range(len(chunks))))


# Name: (what it does, the codes that it must meet, "" being a hang-up).
ATTACKS: Final[dict[str, tuple[Callable[[Field, str, int], Awaitable[None]], frozenset[str]]]] = {
    "idle": (idle, frozenset(("220",))),
    "slow writers": (slow_writers, frozenset(("354",))),
    "deaf": (deaf, frozenset()),
    "long lines": (long_lines, frozenset(("500", "250"))),
    "many recipients": (many_recipients, frozenset(("452", ""))),
    "early": (early, frozenset(("220", "550"))),
    "garbage": (garbage, frozenset(("500",))),
    "guess": (guess, frozenset(("535", "454"))),
    "half closed": (half_closed, frozenset(("354", ""))),
    "storm": (storm, frozenset(("connected",))),
    "handshakes": (shake_hands, frozenset(("shaken",))),
    "floods": (floods, frozenset(("421", "501"))),
    "odd chunks": (odd_chunks, frozenset(("501", "503"))),
}


async def attack(
    ports: dict[str, int], seconds: float, names: list[str], idle_count: int
) -> dict[str, Counter[str]]:
    """All of them at once; what they met."""
    field = Field(ports, seconds, idle_count)
    for name in names:
        field.met[name] = Counter()
    nets = {name: 10 + n for n, name in enumerate(ATTACKS)}
    tasks = [asyncio.ensure_future(ATTACKS[name][0](field, name, nets[name])) for name in names]
    _, late = await asyncio.wait(tasks, timeout=seconds + 10)
    for task in late:
        task.cancel()
    for task in tasks:
        if task.done() and (error := task.exception()):
            raise error
    return field.met


class Attackers:
    """Processes that attack, a few kinds each; they end by themselves, or with the block."""

    def __init__(
        self,
        ports: dict[str, int],
        seconds: float,
        names: Sequence[str] = tuple(ATTACKS),
        idle_count: int = 2000,
        niceness: int = NICENESS,
    ) -> None:
        self._seconds = seconds
        said = {"ports": ports, "seconds": seconds, "idle_count": idle_count, "niceness": niceness}
        shares = [names[n::PROCESSES] for n in range(PROCESSES) if names[n::PROCESSES]]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.fault.attackers", json.dumps({**said, "names": list(share)})],
                stdout=subprocess.PIPE,
                cwd=ROOT,
            )
            for share in shares
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def met(self) -> dict[str, dict[str, int]]:
        """Wait for the end of it."""
        found: dict[str, dict[str, int]] = {}
        for process in self._processes:
            out, _ = process.communicate(timeout=self._seconds + 60)
            found |= json.loads(out)
        return found


def missing(met: dict[str, dict[str, int]]) -> list[str]:
    """What should have been met and was not, in words."""
    return [
        f"{name} met {sorted(codes)}, not {sorted(ATTACKS[name][1] - set(codes))}"
        for name, codes in met.items()
        if not ATTACKS[name][1] <= set(codes)
    ]


def _main() -> None:
    said: dict[str, Any] = json.loads(sys.argv[1])
    os.nice(said.pop("niceness"))
    print(json.dumps(asyncio.run(attack(**said))))


if __name__ == "__main__":
    _main()
