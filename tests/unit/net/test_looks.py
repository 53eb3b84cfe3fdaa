"""What Checks look at: a time server, a greeting, a certificate, our addresses, TXT and PTR; on loopback."""

import asyncio
import contextlib
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme

from cmail.net import own_addresses
from cmail.net.dns_client import DnsClient
from cmail.net.greeting import greeting
from cmail.net.settings import DnsSettings
from cmail.net.sntp import ask_time
from cmail.net.tls_look import NoTlsError, Shown, shown_by
from cmail.world import DnsError, NoSuchDomainError
from tests.support.fake_dns import SERVFAIL, FakeDnsServer

HERE = ip_address("127.0.0.1")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class TimeServer(asyncio.DatagramProtocol):
    """Its clock is `ahead_s` ahead of ours; with `is_silent` it says nothing."""

    def __init__(self, ahead_s: float, *, is_silent: bool = False) -> None:
        self._ahead_s, self._is_silent = ahead_s, is_silent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        now = time.time() + self._ahead_s + 2_208_988_800
        stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
        if not self._is_silent:
            head = struct.pack("!BBbbII4s", 0x24, 1, 0, 0, 0, 0, b"GPS\0")
            self._transport.sendto(head + bytes(8) + data[40:48] + stamp + stamp, addr)  # type: ignore[attr-defined]


@pytest.mark.parametrize("ahead_s", [0.0, 600.0, -600.0])
def test_a_time_server_is_asked(ahead_s: float) -> None:
    """How wrong our clock is, over UDP."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(
            lambda: TimeServer(ahead_s), local_addr=("127.0.0.1", 0)
        )
        try:
            return (await ask_time(HERE, server.get_extra_info("sockname")[1], timeout_s=20)).offset_s
        finally:
            server.close()

    assert asyncio.run(main()) == pytest.approx(ahead_s, abs=5)


def test_a_time_server_that_does_not_answer() -> None:
    """Silence ends in time; a closed port at once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        silent = TimeServer(0, is_silent=True)
        server, _ = await loop.create_datagram_endpoint(lambda: silent, local_addr=("127.0.0.1", 0))
        port = server.get_extra_info("sockname")[1]
        with pytest.raises(TimeoutError):
            await ask_time(HERE, port, timeout_s=0.05)
        server.close()
        await asyncio.sleep(0)
        with pytest.raises((OSError, TimeoutError)):
            await ask_time(HERE, port, timeout_s=0.5)

    asyncio.run(main())


@contextlib.asynccontextmanager
async def listening(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback; its port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_a_greeting_is_read() -> None:
    """Its first line, as far as it can be shown, and QUIT; one that is silent ends in time."""
    heard: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.example ESMTP \x07\r\n")
        heard.append(await reader.readline())
        writer.close()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 100_000)
        await reader.read()
        writer.close()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> None:
        async with listening(greet) as port:
            assert await greeting(HERE, port, timeout_s=20) == "220 mx.example ESMTP ?"
        async with listening(flood) as port:
            assert await greeting(HERE, port, timeout_s=20) == ""
        async with listening(silence) as port:
            with pytest.raises(TimeoutError):
                await greeting(HERE, port, timeout_s=0.05)
        with pytest.raises(OSError, match="onnect"):
            await greeting(HERE, port, timeout_s=20)

    asyncio.run(main())
    assert heard == [b"QUIT\r\n"]


def starttls(context: ssl.SSLContext, offer: bytes = b"250 STARTTLS\r\n") -> Serve:
    """An SMTP server that can do STARTTLS and nothing else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220-hello\r\n220 there\r\n")
        for reply in (b"250-mx\r\n" + offer, b"220 go on\r\n"):
            await reader.readline()
            writer.write(reply)
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.start_tls(context)
            await reader.read()
        writer.close()

    return serve


@pytest.mark.parametrize("is_implicit", [False, True], ids=["STARTTLS", "TLS at once"])
def test_a_certificate_is_looked_at(tmp_path: Path, is_implicit: bool) -> None:
    """The one that is shown, and what who verifies it says: trusted, another name, an unknown authority."""
    authority = trustme.CA()
    ca_file = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = authority.issue_cert("mail.example.org")
    certificate.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async def main() -> None:
        serve = wait if is_implicit else starttls(context)
        async with listening(serve, context if is_implicit else None) as port:

            async def look(name: str, ca: str) -> Shown:
                return await shown_by("127.0.0.1", port, name, ca, is_implicit=is_implicit)

            assert await look("mail.example.org", ca_file) == Shown(der, "")
            other = await look("www.example.org", ca_file)
            assert other.der == der and "www.example.org" in other.refusal
            unknown = await look("mail.example.org", "")
            assert unknown.der == der and "issuer" in unknown.refusal

    asyncio.run(main())


def test_a_listener_without_tls() -> None:
    """It says no, or something that is no SMTP, or does not end: in words."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        await reader.readline()
        writer.write(b"250 mx\r\n")
        await reader.readline()
        writer.write(b"502 no\r\n")
        writer.close()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for _ in range(500):
                writer.write(b"220-on and on\r\n")
                await writer.drain()
        writer.close()

    async def main() -> None:
        for serve, words in ((refuse, "502 no"), (babble, "does not end")):
            async with listening(serve) as port:
                with pytest.raises(NoTlsError, match=words):
                    await shown_by("127.0.0.1", port, "mx", "", is_implicit=False)

    asyncio.run(main())


def test_our_addresses() -> None:
    """Loopback is ours and not public; what documentation uses is not ours; nothing is sent."""
    assert own_addresses.is_own(HERE) and not own_addresses.is_own(ip_address("192.0.2.77"))
    for text in (
        "127.0.0.1",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.1.1",
        "192.168.1.1",
        "::1",
        "fe80::1",
        "fd00::1",
    ):
        assert not own_addresses.is_public(ip_address(text)), text
    for text in ("8.8.8.8", "192.0.2.1", "172.32.0.1", "2001:db8::1", "2606:4700::1"):
        assert own_addresses.is_public(ip_address(text)), text
    assert all(own_addresses.is_own(each) for each in own_addresses.outgoing_addresses())


def test_txt_and_pointers() -> None:
    """TXT put together from its strings, PTR with all names, A and AAAA each by itself and without /etc/hosts."""
    records: dict[tuple[str, str], list[str] | str] = {
        ("example.org", "TXT"): ['"v=spf1 " "a -all"', '"b\\252"'],
        ("1.2.0.192.in-addr.arpa", "PTR"): ["A.example.org.", "b.example.org."],
        ("localhost", "A"): ["192.0.2.1"],
        ("down.example", "TXT"): SERVFAIL,
    }

    async def main() -> None:
        async with FakeDnsServer(records) as server:
            client = DnsClient(DnsSettings((server.address,)), lifetime_s=5)
            assert sorted(await client.txt("example.org")) == ["b\xfc", "v=spf1 a -all"]
            assert list(await client.txt("localhost")) == []
            assert sorted(await client.pointers(ip_address("192.0.2.1"))) == [
                "a.example.org",
                "b.example.org",
            ]
            assert [str(a) for a in await client.address_records("localhost", 4)] == ["192.0.2.1"]
            assert list(await client.address_records("localhost", 6)) == []
            with pytest.raises(NoSuchDomainError):
                await client.pointers(ip_address("192.0.2.2"))
            with pytest.raises(DnsError):
                await client.txt("down.example")

    asyncio.run(main())
