"""The admin address: figures, health, status; for who asks by our name, and for reading only."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

from cmail.observe import maillog
from cmail.observe.metrics import METRICS, Snapshot
from cmail.observe.settings import LogSettings
from cmail.web.server import WebContext, application, is_own_host, serve

FIGURES: Final[Snapshot] = {
    "cmail_messages_accepted_total": {"": 4711},
    "cmail_recipients_delivered_total": {"smtp": 3, "local": 4},
    "cmail_queue_messages": {"": 12},
    "cmail_queue_recipients": {"queued": 15, "held": 2},
    "cmail_link_up": {"": 1},
}


async def figures() -> Snapshot:
    return FIGURES


def context(source: Callable[[], Awaitable[Snapshot]] = figures) -> WebContext:
    return WebContext(source, "9.8.7", 1_800_000_000_000, "mx.example.org")


def ask(
    path: str, method: str = "GET", host: bytes | None = b"mx.example.org", told: WebContext | None = None
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of one request, without a socket."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", host)] if host is not None else [],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8025),
    }
    asyncio.run(application(told or context())(scope, receive, send))  # type: ignore[arg-type]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


def test_metrics_are_what_prometheus_reads() -> None:
    """Every figure of the table is there, with the sums of all processes, and Prometheus parses it."""
    status, headers, body = ask("/metrics")
    assert status == 200
    assert headers[b"content-type"].startswith(b"text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert {name.removesuffix("_total") for name in METRICS} <= families.keys()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["cmail_messages_accepted_total",] == 4711
    assert samples["cmail_recipients_delivered_total", "local"] == 4
    assert samples["cmail_queue_recipients", "held"] == 2
    assert samples["cmail_info", "9.8.7"] == 1


def test_the_status_page_says_how_it_goes() -> None:
    """Version, queue and link in words; links to the figures; no script, nothing from elsewhere."""
    status, headers, body = ask("/")
    page = body.decode()
    assert status == 200
    for words in ("mx.example.org", "9.8.7", "<td>12", "<td>15", "<td>up", 'href="/metrics"'):
        assert words in page
    assert "<script" not in page
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'")
    assert headers[b"cache-control"] == b"no-store"


async def silence() -> Snapshot:
    raise ConnectionError("nobody is there")


def test_workers_that_do_not_answer(tmp_path: object) -> None:
    """The figures say 503, the page says so, and health is still ok."""
    maillog.open(LogSettings("postfix", f"{tmp_path}/log"))
    try:
        assert ask("/metrics", told=context(silence))[0] == 503
        assert b"did not answer" in ask("/", told=context(silence))[2]
        assert ask("/health", told=context(silence))[::2] == (200, b"ok\n")
    finally:
        maillog.open(LogSettings())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(method: str) -> None:
    """Every path answers GET and HEAD alone."""
    assert {ask(path, method)[0] for path in ("/", "/metrics", "/health")} == {405}
    assert ask("/nowhere")[0] == 404
    assert ask("/", "HEAD")[0] == 200


HOSTS = [
    ("our name", "mx.example.org", True),
    ("with a port", "MX.example.org:8025", True),
    ("with its final dot", "mx.example.org.:8025", True),
    ("localhost", "localhost:8025", True),
    ("an address", "127.0.0.1:8025", True),
    ("an address of the network", "192.0.2.1", True),
    ("IPv6", "[::1]:8025", True),
    ("a name that somebody made lead here", "evil.example", False),
    ("one that begins like ours", "mx.example.org.evil.example", False),
    ("one that ends like an address", "x127.0.0.1", False),
    ("an open bracket", "[::1", False),
    ("a port that is none", "localhost:x", False),
    ("nothing", "", False),
]


@pytest.mark.parametrize(("host", "is_ours"), [row[1:] for row in HOSTS], ids=[row[0] for row in HOSTS])
def test_only_our_names_are_answered(host: str, is_ours: bool) -> None:
    """A page elsewhere whose name was made to lead to us (DNS rebinding) reads nothing."""
    assert is_own_host(host, frozenset(["mx.example.org"])) == is_ours
    status, _, body = ask("/metrics", host=host.encode())
    assert (status == 200) == is_ours
    assert (b"4711" in body) == is_ours


def test_a_request_without_host_is_not_answered() -> None:
    """A name is asked for, also of HTTP/1.0."""
    assert ask("/metrics", host=None)[0] == 421


def test_it_serves_on_a_socket_and_leaves_signals_alone() -> None:
    """On a socket that we bound it answers; the handlers of signals stay ours; cancelled, it ends."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    async def talk() -> bytes:
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        serving = asyncio.ensure_future(serve([listening], context()))
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
