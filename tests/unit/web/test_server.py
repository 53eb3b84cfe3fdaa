"""The HTTP server of the admin address: on sockets that are bound, signals left alone."""

import asyncio
import signal
import socket

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router

from cmail.web.server import serve


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


def test_it_serves_on_a_socket_and_leaves_signals_alone() -> None:
    """On a socket that we bound it answers; the handlers of signals stay ours; cancelled, it ends."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    async def talk() -> bytes:
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        serving = asyncio.ensure_future(serve([listening], Router([Route("/health", hello)])))
        listening.listen()  # so that the connection below waits for the server, however late it is
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
        writer.close()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        return answer

    answer = asyncio.run(talk())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nok\n")
    assert b"server:" not in answer.lower()
