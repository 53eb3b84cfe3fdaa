"""HTTP listener of the admin address: /metrics, /health and a status page. Reads only, knows no secret.

The admin process alone imports it: what it needs takes 30 MB that no worker shall have."""

import asyncio
import contextlib
import html
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmail.observe import maillog
from cmail.observe.metrics import Snapshot
from cmail.web.exposition import CONTENT_TYPE, expose

CONNECTIONS_MAX: Final = 100
IDLE_S: Final = 5
STOP_S: Final = 5.0
FIGURES_S: Final = 5.0  # a process that does not answer must not hang the page

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(frozen=True, slots=True)
class WebContext:
    """What the pages are told; they reach nothing by themselves."""

    figures: Callable[[], Awaitable[Snapshot]]  # of all processes, added up; may fail
    version: str
    started_wall_ms: int
    hostname: str
    hosts: frozenset[str] = frozenset()  # further names that browsers may use for us
    troubles: Callable[[], Awaitable[Sequence[str]]] | None = None  # what is wrong now, in words


async def serve(sockets: Sequence[socket.socket], context: WebContext) -> None:
    """Serve on sockets that are bound (with proto=IPPROTO_TCP, or Nagle delays each page) until
    cancelled; then what is asked is answered, for a few seconds, and all is closed."""
    config = uvicorn.Config(
        application(context),
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
    )
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


def application(context: WebContext) -> ASGIApp:
    """The pages, for who asks by a name of ours, and only for reading."""

    async def health(_: Request) -> Response:
        found = await _troubles(context)
        if found:
            return PlainTextResponse("".join(f"{words}\n" for words in found), 503)
        return PlainTextResponse("ok\n")

    async def metrics(_: Request) -> Response:
        figures = await _figures(context)
        if figures is None:
            return PlainTextResponse("the workers did not answer\n", 503)
        text = expose(figures, context.version, context.started_wall_ms / 1000)
        return Response(text, media_type=CONTENT_TYPE)

    async def status(_: Request) -> Response:
        return HTMLResponse(_status_page(context, await _figures(context), await _troubles(context)))

    routes = [
        Route("/", status, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
    return _Gate(Starlette(routes=routes), context.hosts | {context.hostname.lower()})


class _Gate:
    """Answers a request only when its Host is a name of ours: a foreign page that makes its own name
    lead to our address (DNS rebinding) learns nothing. Adds the headers that every page has."""

    def __init__(self, inner: ASGIApp, hosts: frozenset[str]) -> None:
        self._inner = inner
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        given = [value for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1 or not is_own_host(given[0].decode("latin-1"), self._hosts):
            words = "This address is not known here. Use the address of the machine, or its host name.\n"
            await PlainTextResponse(words, 421)(scope, receive, send_with_headers)
        else:
            await self._inner(scope, receive, send_with_headers)


def is_own_host(given: str, hosts: frozenset[str]) -> bool:
    """Whether a Host field names us: a name of ours, localhost, or any address (an address cannot be
    made to lead elsewhere, and who reaches us by one has reached us)."""
    name = given.lower()
    if name.startswith("["):
        name, closed, port = name[1:].partition("]")
        port = port.removeprefix(":") if closed else "x"
    else:
        name, _, port = name.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return False
    name = name.removesuffix(".")
    if name in hosts or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


async def _figures(context: WebContext) -> Snapshot | None:
    try:
        return await asyncio.wait_for(_asked(context), FIGURES_S)
    except TimeoutError:
        return None
    except Exception:
        maillog.failed("the figures for the admin page")
        return None


async def _troubles(context: WebContext) -> Sequence[str]:
    if context.troubles is None:
        return ()
    try:
        async with asyncio.timeout(FIGURES_S):
            return await context.troubles()
    except TimeoutError:
        return ()


async def _asked(context: WebContext) -> Snapshot:
    return await context.figures()


def _status_page(context: WebContext, figures: Snapshot | None, troubles: Sequence[str]) -> str:
    rows = [
        ("Version", context.version),
        ("Running for", _duration(time.time() - context.started_wall_ms / 1000)),
        *(("Trouble", words) for words in troubles),
        *(_figure_rows(figures) if figures is not None else [("Workers", "did not answer")]),
    ]
    table = "".join(f"<tr><th>{html.escape(a)}<td>{html.escape(b)}" for a, b in rows)
    name = html.escape(context.hostname)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>CMail on {name}</title>'
        "<style>body{font:16px sans-serif;margin:2em}th{text-align:left;padding-right:2em}</style>"
        f"<h1>CMail on {name}</h1><table>{table}</table>"
        '<p>Figures for Prometheus: <a href="/metrics">/metrics</a>. For the queue: '
        "<code>cmail queue list</code>.</p></html>\n"
    )


def _figure_rows(figures: Snapshot) -> list[tuple[str, str]]:
    def one(name: str, value: str = "") -> int:
        return figures.get(name, {}).get(value, 0)

    return [
        ("Messages in the queue", str(one("cmail_queue_messages"))),
        ("Recipients waiting", str(one("cmail_queue_recipients", "queued"))),
        ("Recipients held", str(one("cmail_queue_recipients", "held"))),
        ("Messages accepted", str(one("cmail_messages_accepted_total"))),
        ("Recipients delivered", str(sum(figures.get("cmail_recipients_delivered_total", {}).values()))),
        ("Link to the Internet", "up" if one("cmail_link_up") else "down"),
    ]


def _duration(seconds: float) -> str:
    minutes = max(0, int(seconds)) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min"
