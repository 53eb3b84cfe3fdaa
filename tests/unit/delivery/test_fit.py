"""What a socket is told so that its connection suits a link; what can be read from it."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from cmail.delivery.fit import (
    FAST,
    Fit,
    acknowledged,
    drop_unsent,
    keep_little,
    never_sent,
    round_trip_s,
    still_answers,
    unacknowledged,
)

PACING, NOTSENT_LOWAT, RTO_MAX_MS = 47, 25, 44


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        with near, far:
            yield near, far


def test_thin_link_is_not_flooded(pair: tuple[socket.socket, socket.socket]) -> None:
    """The kernel sends no faster than the link carries and keeps next to nothing back: small mail that
    comes later is not behind minutes of octets."""
    near, _ = pair
    Fit(256).suit(near)
    assert near.getsockopt(socket.SOL_SOCKET, PACING) == pytest.approx(32_000, rel=0.1)
    assert near.getsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT) == 8000
    assert Fit(256).buffer_max == 8000
    near.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            sent += near.send(bytes(4096))
    assert sent < 256 * 1024


@pytest.mark.parametrize("fit", [FAST, Fit(256)])
def test_dead_link_is_noticed(fit: Fit, pair: tuple[socket.socket, socket.socket]) -> None:
    """Octets that nobody acknowledges, and a peer that is gone, end the connection in minutes."""
    near, _ = pair
    fit.suit(near)
    assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert 60_000 <= near.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 300_000


def test_fast_link_is_left_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    """Where nobody named a rate the kernel finds it out."""
    near, _ = pair
    before = near.getsockopt(socket.SOL_SOCKET, PACING)
    FAST.suit(near)
    assert near.getsockopt(socket.SOL_SOCKET, PACING) == before
    assert FAST.buffer_max == 512 * 1024 and not FAST.piece_octets


@pytest.mark.parametrize("rate", [1, 9, 64, 256, 2048])
def test_buffers_hold_less_than_a_piece(rate: int) -> None:
    """A piece of a large content goes out in seconds, and buffers are a part of it; never nothing."""
    fit = Fit(rate)
    assert 2048 <= fit.buffer_max <= fit.piece_octets <= max(2048, rate * 125 * 4)


def test_connection_stays_for_the_next_message_longer_where_a_new_one_costs() -> None:
    """Idle time is that of the settings where the link is fast; 0 there means at once everywhere."""
    assert FAST.idle_s(2.0) == 2.0
    assert Fit(64).idle_s(2.0) == 10.0
    assert Fit(64).idle_s(60.0) == 60.0
    assert Fit(64).idle_s(0.0) == 0.0


def test_what_was_not_sent_is_known_and_dropped(pair: tuple[socket.socket, socket.socket]) -> None:
    """What lies in the kernel is counted, and does not leave after the connection was given up."""
    near, far = pair
    assert unacknowledged(near) == never_sent(near) == 0
    assert round_trip_s(near) > 0
    near.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            sent += near.send(bytes(65536))
    assert 0 < never_sent(near) <= unacknowledged(near) <= sent
    drop_unsent(near)
    near.close()
    far.settimeout(5)
    with pytest.raises(ConnectionResetError):
        while far.recv(65536):
            pass


@pytest.mark.parametrize(
    ("rate", "round_trip_s", "most_ms"),
    [(2000, 0.12, 1384), (256, 0.7, 3287), (9, 1.0, 9333), (1, 10.0, 30_000)],
)
def test_connection_that_outlived_a_gap_goes_on_soon(
    rate: int, round_trip_s: float, most_ms: int, pair: tuple[socket.socket, socket.socket]
) -> None:
    """It tries again every second or few, not when two minutes are over; never before an answer can be there."""
    near, _ = pair
    Fit(rate).settle(near, round_trip_s)
    try:
        found = near.getsockopt(socket.IPPROTO_TCP, RTO_MAX_MS)
    except OSError:  # an older kernel: nothing was done, and nothing failed
        return
    assert found == pytest.approx(most_ms, rel=0.01)  # the clock of the kernel is coarse


def test_large_content_waits_until_it_has_left(pair: tuple[socket.socket, socket.socket]) -> None:
    """The kernel would take 64 KB, a minute of a line at 9.6 kbit/s; on a fast link nobody asks."""
    near, _ = pair
    assert Fit(9).rest_s(near, 0.6) == 0.0
    near.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            sent += near.send(bytes(65536))
    left = unacknowledged(near)
    assert Fit(9).rest_s(near, 0.6) == pytest.approx((left - 4096) / 1125, rel=0.01)
    assert Fit(256).rest_s(near, 0.7) == pytest.approx((left - 89_600) / 32_000, rel=0.01)
    assert FAST.rest_s(near, 0.1) == 0.0


def test_what_the_other_end_has_is_counted(pair: tuple[socket.socket, socket.socket]) -> None:
    """Octets that are acknowledged show that the link is there."""
    near, far = pair
    assert acknowledged(near) <= 1
    near.sendall(bytes(5000))
    far.settimeout(5)
    count = 0
    while count < 5000:
        count += len(far.recv(65536))
    for _ in range(1000):
        if acknowledged(near) >= 5000:
            break
        time.sleep(0.001)
    assert 5000 <= acknowledged(near) <= 5001  # a SYN counts


def test_socket_without_tcp_has_nothing_to_say() -> None:
    """LMTP goes over a path; a connection that is gone has no socket."""
    near, far = socket.socketpair()
    with near, far:
        Fit(64).suit(near)
        assert round_trip_s(near) == 0.0 and never_sent(near) == 0
    Fit(64).suit(None)
    assert round_trip_s(None) == never_sent(None) == unacknowledged(None) == 0


def test_of_a_connection_that_is_closed_nothing_is_known() -> None:
    """Whoever looks at one at the moment of its end, in the event loop of the server, is told nothing, and
    nothing ends by it."""

    async def test() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        sock: Any = writer.get_extra_info("socket")
        assert sock.fileno() >= 0
        writer.transport.abort()
        await asyncio.wait_for(writer.wait_closed(), 60)
        assert sock.fileno() < 0
        assert [acknowledged(sock), unacknowledged(sock), never_sent(sock), round_trip_s(sock)] == [
            0,
            0,
            0,
            0,
        ]
        for tell in (FAST.suit, Fit(64).suit, FAST.suit_anew, keep_little, drop_unsent):
            tell(sock)
        Fit(64).settle(sock, 1.0)
        assert not Fit(64).rest_s(sock, 1.0)
        assert not await still_answers(sock, lambda: False)
        server.close()

    uvloop.run(test())
