"""The HTTP server of the admin address: uvicorn, in the admin process alone, on sockets that are bound.

What it needs takes 40 MB that no worker shall have."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final

import uvicorn
from starlette.types import ASGIApp

CONNECTIONS_MAX: Final = 200
IDLE_S: Final = 5
STOP_S: Final = 5.0
HEADER_OCTETS_MAX: Final = 64 * 1024


async def serve(
    sockets: Sequence[socket.socket], application: ASGIApp, tls: ssl.SSLContext | None = None
) -> None:
    """Serve on sockets that are bound (with proto=IPPROTO_TCP, or Nagle delays each page) until
    cancelled; then what is asked is answered, for a few seconds, and all is closed."""
    config = uvicorn.Config(
        application,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(STOP_S),
        h11_max_incomplete_event_size=HEADER_OCTETS_MAX,
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=list(sockets)), name="web server")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(serving, STOP_S + 1)
        raise


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's own, not the web server's."""
        yield
