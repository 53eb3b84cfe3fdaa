"""The sockets that mail comes in by."""

import socket
import stat
from pathlib import Path

import pytest

from cmail.app.ports import PortError, bind, bind_all
from cmail.settings import Endpoint, parse_endpoint
from cmail.smtpd.settings import ListenerSettings


def test_a_socket_for_each_worker() -> None:
    """Workers have sockets of their own on one port; each knows that it is TCP (or Nagle stays on)."""
    port = bind("smtp", "127.0.0.1:0", 3)
    assert len({bound.getsockname() for bound in port.sockets}) == 1
    assert port.endpoint.port == port.sockets[0].getsockname()[1] != 0
    assert [port.of_worker(n) for n in range(3)] == port.sockets
    assert {bound.proto for bound in port.sockets} == {socket.IPPROTO_TCP}
    port.close()


@pytest.mark.parametrize("sockets_count", [1, 2])
def test_taken_port(sockets_count: int) -> None:
    """A port that anybody has is refused, also one that we share among ourselves."""
    first = bind("smtp", "127.0.0.1:0", sockets_count)
    with pytest.raises(PortError, match="another program has that port") as taken:
        bind("smtp", f"127.0.0.1:{first.endpoint.port}", sockets_count)
    assert taken.value.code == 69
    first.close()
    bind("smtp", f"127.0.0.1:{first.endpoint.port}", sockets_count).close()


def test_all_or_none() -> None:
    """When one cannot be bound those before it are free again."""
    other = bind("smtp", "127.0.0.1:0", 1)
    free = bind("smtp", "127.0.0.1:0", 1)
    free.close()
    listeners = [ListenerSettings("smtp", str(port.endpoint)) for port in (free, other)]
    with pytest.raises(PortError):
        bind_all(listeners, 2, {})
    bind("smtp", str(free.endpoint), 1).close()
    other.close()


def test_unix_socket(tmp_path: Path) -> None:
    """A stale socket is taken over, one that is served is not; closing removes it."""
    path = tmp_path / "lmtp"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    port = bind("lmtp", f"unix:{path}", 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    with pytest.raises(PortError, match="another program"):
        bind("lmtp", f"unix:{path}", 2)
    port.close()
    assert not path.exists()


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    """What is no socket is never removed."""
    path = tmp_path / "precious"
    path.write_text("x")
    with pytest.raises(PortError):
        bind("lmtp", f"unix:{path}", 1)
    assert path.read_text() == "x"


ENDPOINTS = {
    "127.0.0.1:25": Endpoint("127.0.0.1", 25),
    "[::1]:25": Endpoint("::1", 25),
    "[2001:0db8::0001]:25": Endpoint("2001:db8::1", 25),
    "localhost:2525": Endpoint("localhost", 2525),
    "unix:/run/x": Endpoint(path="/run/x"),
}


@pytest.mark.parametrize("text", ENDPOINTS)
def test_endpoints(text: str) -> None:
    """Every way to write an address, and back."""
    assert parse_endpoint(text) == ENDPOINTS[text]
    assert parse_endpoint(str(ENDPOINTS[text])) == ENDPOINTS[text]


DEFAULTED = {
    "127.0.0.1": Endpoint("127.0.0.1", 53),
    "::1": Endpoint("::1", 53),
    "[::1]": Endpoint("::1", 53),
    "[::1]:5353": Endpoint("::1", 5353),
    "ns.example": Endpoint("ns.example", 53),
}


@pytest.mark.parametrize("text", DEFAULTED)
def test_endpoints_with_a_default_port(text: str) -> None:
    """Where a port has a default it may be left out."""
    assert parse_endpoint(text, 53) == DEFAULTED[text]


FAULTY = [
    "",
    ":25",
    "127.0.0.1",
    "127.0.0.1:",
    "a:b",
    "a:70000",
    "::1:25",
    "[::1",
    "[::1]25",
    "[x]:1",
    "unix:x",
]


@pytest.mark.parametrize("text", [*FAULTY, "1.2.3.4.5:1", "300.1.1.1:1", "a b:1", "a:٣"])
def test_what_is_no_endpoint(text: str) -> None:
    """Everything else is refused."""
    with pytest.raises(ValueError, match=r"\w"):
        parse_endpoint(text)
