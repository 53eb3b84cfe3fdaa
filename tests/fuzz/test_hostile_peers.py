"""What only a socket can show: hostile talk at a control socket, and a DNS server that sends garbage."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmail.net import control
from cmail.net.control import ControlClient, ControlServer
from cmail.net.dns_client import DnsClient
from cmail.net.settings import DnsSettings
from cmail.world import DnsError, NoSuchDomainError

WAIT_S: Final = 20.0
HOSTILE: Final = {
    "deep": b"[" * 500_000 + b"\n",
    "deep objects": b'{"a":' * 100_000 + b"\n",
    "too long": b"a" * (control.LINE_MAX + 100) + b"\n",
    "too long and valid": json.dumps({"ask": "echo", "a": "x" * control.LINE_MAX}).encode() + b"\n",
    "no end": b'{"ask": "echo"',
    "octets": bytes(range(256)) + b"\n",
    "not an object": b'["ask"]\n',
    "a question that is none": b'{"ask": {"a": [1]}}\n',
    "a question of a lone surrogate": b'{"ask": "\\ud800"}\n',
    "a number of many digits": b'{"ask": "echo", "n": ' + b"9" * 100_000 + b"}\n",
}


async def _echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"length": len(str(request))}


def _with_server(folder: Path, talk: Callable[[], Awaitable[None]]) -> list[str]:
    """Run talk() while a control server listens in a folder; what the server calls its own mistakes."""
    mistakes: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: mistakes.append(str(context)))  # what nobody caught
        server = ControlServer({"echo": _echo}, mistakes.append)
        await server.start(str(folder), "it")
        try:
            await asyncio.wait_for(talk(), WAIT_S)
        finally:
            await server.close()

    asyncio.run(run())
    return mistakes


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_talk_ends_and_the_next_is_served(tmp_path: Path, name: str) -> None:
    """An error in words or the end, never silence; and whoever asks next is answered."""

    async def talk() -> None:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "it.sock"), limit=2**22)
        writer.write(HOSTILE[name])
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        if answer:
            assert all(set(json.loads(line)) <= {"ok", "error", "code"} for line in answer.splitlines())
        assert (await ControlClient(str(tmp_path), "it").ask("echo")).ok["length"]

    assert not _with_server(tmp_path, talk)


class _Garbage(asyncio.DatagramProtocol):
    """A DNS server: the number of the question, then octets; the question itself is put in where `Q` stands."""

    def __init__(self) -> None:
        self.octets = b""
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked += 1
        self._transport.sendto(data[:2] + self.octets.replace(b"Q", data[12:])[:60_000], addr)


_HEAD: Final = b"\x81\x80\0\1\0\1\0\0\0\0Q"  # a response to the question, with one record
RECORDS: Final = st.sampled_from(
    [
        b"", _HEAD, _HEAD + b"\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\4\0\1\xc0\x0c", _HEAD + b"\xc0\x1d\0\x0f",
        _HEAD + b"\xc0\x0c\0\1\0\1\xff\xff\xff\xff\0\4\1\2\3", _HEAD + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\0\0\0\0",
        b"\x81\x83\0\1\0\0\0\0\0\0Q", b"\x81\x82\0\1\0\0\0\0\0\0Q", b"\x83\x80\0\1\0\0\0\0\0\0Q", b"\x81\x86\0\1\0\0\0\0\0\0Q", b"\xff" * 40,
    ]
)  # fmt: skip


@settings(max_examples=12)
@given(st.lists(RECORDS | st.binary(max_size=40), min_size=1, max_size=3).map(b"".join))
def test_garbage_from_a_dns_server(octets: bytes) -> None:
    """Records, or an error of the Resolver's own kinds, and within its time."""

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        server = _Garbage()
        server.octets = octets
        transport, _ = await loop.create_datagram_endpoint(lambda: server, ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        client = DnsClient(DnsSettings((f"127.0.0.1:{port}",)), lifetime_s=0.2, try_s=0.1)
        for question in (client.mx("example.org"), client.addresses("mx.example.org")):
            try:
                await asyncio.wait_for(question, WAIT_S)
            except (DnsError, NoSuchDomainError):
                pass
        transport.close()
        assert server.asked

    asyncio.run(ask())
