"""TLS sessions of hosts that we deliver to are taken up again, with asyncio and with uvloop."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from cmail.delivery.connections import OpenError, Peer, open_session
from cmail.delivery.hosts import Host
from cmail.world import IPAddress
from tests.support.ports import free_port
from tests.support.sink_mx import SinkMx

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


def server_context(authority: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    authority.issue_cert("mx.example.net").configure_cert(context)
    return context


def peer(port: int, folder: Path, **options: Any) -> Peer:
    from ipaddress import ip_address

    address: IPAddress = ip_address("127.0.0.1")
    named = {"tls": "required", "ca_file": str(folder / "ca.pem"), **options}
    return Peer(Host("mx.example.net", address, port), "mail.example.org", **named)


async def is_resumed(peer: Peer) -> bool:
    """Whether one more connection took up the session of another."""
    session, _ = await open_session(peer)
    tls = session._transport.get_extra_info("ssl_object")  # type: ignore[union-attr]
    await session.command(b"NOOP\r\n", "NOOP")  # with its reply come the tickets of TLS 1.3
    reused = bool(tls.session_reused)
    session.stop()
    return reused


def run(main: Callable[[], Awaitable[None]], make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())  # type: ignore[arg-type]


@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tls", ["required", "implicit", "opportunistic"])
def test_second_connection_takes_the_session_up(
    make: Callable[[], asyncio.AbstractEventLoop], version: ssl.TLSVersion, tls: str, tmp_path: Path
) -> None:
    """No certificates go over a thin link a second time, not after an outage either."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def main() -> None:
        context = server_context(authority, version)
        async with SinkMx(tls=context, is_implicit_tls=tls == "implicit") as sink:
            there = peer(sink.port, tmp_path, tls=tls)
            assert [await is_resumed(there) for _ in range(3)] == [False, True, True]
        async with SinkMx(
            tls=server_context(authority, version), is_implicit_tls=tls == "implicit"
        ) as other:  # it knows nothing of that session: a whole handshake, and no error
            assert not await is_resumed(peer(other.port, tmp_path, tls=tls))

    run(main, make)


def test_session_is_no_certificate(tmp_path: Path) -> None:
    """Who has nothing but the name and the port of a host that we knew is not taken for it."""
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def main() -> None:
        port = free_port()
        async with SinkMx(tls=server_context(authority, ssl.TLSVersion.TLSv1_3), port=port) as sink:
            await is_resumed(peer(sink.port, tmp_path))
        async with SinkMx(tls=server_context(stranger, ssl.TLSVersion.TLSv1_3), port=port) as sink:
            with pytest.raises(OpenError, match="certificate is not good"):
                await is_resumed(peer(sink.port, tmp_path))

    run(main, asyncio.new_event_loop)
