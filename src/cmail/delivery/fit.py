"""Fit: how a connection suits the link that it goes over: what the kernel is told of its socket, and how much
of what we write lies in buffers, where nothing smaller can pass it."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

_GONE: Final = (OSError, ValueError)  # of a connection that is closed; uvloop says so by a ValueError

# Linux; Python names some of them from 3.12 or 3.13 on.
_SO_MAX_PACING_RATE: Final = 47
_TCP_NOTSENT_LOWAT: Final = 25
_TCP_RTO_MAX_MS: Final = 44  # Linux 6.15; older kernels refuse it
_SIOCOUTQ: Final = termios.TIOCOUTQ
_SIOCOUTQNSD: Final = 0x894B
_ROUND_TRIP_AT: Final = 68  # tcpi_rtt in struct tcp_info, microseconds
_ACKNOWLEDGED_AT: Final = 120  # tcpi_bytes_acked
_HEARD_AT: Final = 56  # tcpi_last_ack_recv, milliseconds
_TCP_INFO_OCTETS: Final = 128

# A link that is dead and says nothing is noticed; one that is away for a minute keeps its connections.
_UNACKNOWLEDGED_MS: Final = 180_000  # CLIENT_BLOCK_TIMEOUT_S has the same reason
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS),
)
# Who has another connection with us just now answers within it, over a satellite too.
ANSWERS_S: Final = 5.0
_LOOK_S: Final = 0.1
_AS_IT_IS: Final = (  # how the kernel treats a connection of which it was told nothing
    (socket.SOL_SOCKET, _SO_MAX_PACING_RATE, -1),
    (socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, 0),
)
_KEEPALIVE_SOON: Final = ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1))
# When a link is back, a connection that outlived the gap goes on as soon as it tries again.
_AGAIN_LEAST_S: Final = 1.0  # the kernel takes no less
_AGAIN_MOST_S: Final = 30.0
_AGAIN_ROUND_TRIPS: Final = 3  # or what is only slow would be sent twice
_QUEUED_OCTETS: Final = 6000  # before us at the modem

_FLYING_ROUND_TRIPS: Final = 4  # what is lost is kept while what follows goes on
_FLYING_MIN: Final = 4096  # a few segments

_OCTETS_A_KBIT: Final = 125
_PACING: Final = (
    1.03  # of the rate, or a queue grows at the modem and overflows; it counts the octets with their headers
)
_KERNEL_S: Final = 0.25  # so much that is not sent yet may lie in the kernel
_BUFFER_S: Final = 0.25  # and in the transport
_LEAST_OCTETS: Final = 2048  # of each: a segment and the beginning of the next
_BUFFER_MAX: Final = 512 * 1024
_PIECE_S: Final = 2.0  # of content from a file, between two looks at what else there is
_PIECE_OCTETS_MIN: Final = 2048
_UNSEEN_OCTETS: Final = 32 * 1024  # see keep_little(); a fast line has that in two milliseconds
_THIN_IDLE_S: Final = 10.0  # a new connection costs three round trips, an open one nothing


@dataclass(frozen=True, slots=True)
class Fit:
    """For a link of this rate; 0: it is fast, or nobody said."""

    rate: int = 0  # kbit/s

    @property
    def buffer_max(self) -> int:
        """Octets in the transport beyond which no further message is begun."""
        return self._octets(_BUFFER_S, _LEAST_OCTETS) if self.rate else _BUFFER_MAX

    @property
    def piece_octets(self) -> int:
        """How much of a large content goes out before one looks again; 0: as much as was read."""
        return self._octets(_PIECE_S, _PIECE_OCTETS_MIN) if self.rate else 0

    def idle_s(self, set_s: float) -> float:
        """How long a connection stays open for the next message."""
        return max(set_s, _THIN_IDLE_S) if self.rate and set_s else set_s

    def _octets(self, seconds: float, least: int) -> int:
        return max(least, min(int(self.rate * _OCTETS_A_KBIT * seconds), _BUFFER_MAX))

    def suit(self, sock: Any) -> None:
        """Tell the kernel."""
        if not _is_tcp(sock):
            return
        options = list(_KEEPALIVE)
        if self.rate:
            octets_a_second = int(self.rate * _OCTETS_A_KBIT * _PACING)
            options += [
                (socket.SOL_SOCKET, _SO_MAX_PACING_RATE, octets_a_second),
                (socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, self._octets(_KERNEL_S, _LEAST_OCTETS)),
            ]
        _tell(sock, options)

    def suit_anew(self, sock: Any) -> None:
        """Tell the kernel of another rate than the one that it was told before."""
        self.suit(sock)
        if not self.rate and _is_tcp(sock):
            _tell(sock, _AS_IT_IS)

    def settle(self, sock: Any, round_trip_s: float) -> None:
        """What can be told when the round trip is known: what is not acknowledged is tried again at least so
        often; by itself the kernel waits longer and longer, up to two minutes."""
        if not self.rate or sock is None:
            return
        seconds = round_trip_s * _AGAIN_ROUND_TRIPS + _QUEUED_OCTETS / (self.rate * _OCTETS_A_KBIT)
        seconds = min(_AGAIN_LEAST_S + seconds, _AGAIN_MOST_S)
        _tell(sock, [(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, int(seconds * 1000))])

    def rest_s(self, sock: Any, round_trip_s: float) -> float:
        """How long a large content waits before its next piece, so that the kernel has no more of it than
        keeps the link busy. By itself it takes 64 KB, sends the first ten segments at once, and a line
        of 9.6 kbit/s has them before everybody else for ten seconds, for ever."""
        if not self.rate:
            return 0.0
        octets_a_second = self.rate * _OCTETS_A_KBIT
        flying = max(_FLYING_MIN, octets_a_second * round_trip_s * _FLYING_ROUND_TRIPS)
        return max(0.0, unacknowledged(sock) - flying) / octets_a_second


FAST: Final = Fit()


def keep_little(sock: Any) -> None:
    """The kernel takes no more than it is about to send. Where somebody else has written it, he cannot see
    whether that moves, and would take a line that is only thin for a peer that gives no reply."""
    if _is_tcp(sock):
        _tell(sock, [(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSEEN_OCTETS)])
    elif sock is not None:
        _tell(sock, [(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSEEN_OCTETS)])


def round_trip_s(sock: Any) -> float:
    """What the kernel has measured of this connection; 0: nothing."""
    info = _tcp_info(sock)
    return float(struct.unpack_from("=I", info, _ROUND_TRIP_AT)[0]) / 1e6 if info else 0.0


async def still_answers(sock: Any, is_closed: Callable[[], bool]) -> bool:
    """Whether the other end's kernel is heard within a few seconds. It is asked where nothing is on its way;
    no octet of that is seen by either program. True where nobody can know."""
    if is_closed():  # then the number of the socket is perhaps another's
        return False
    if not _is_tcp(sock):
        return True
    loop = asyncio.get_running_loop()
    began = loop.time()
    with contextlib.suppress(*_GONE):  # the kernel knows already that it is over
        for option, value in _KEEPALIVE_SOON:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        while not is_closed():
            passed = loop.time() - began
            is_heard = _silent_s(sock) <= passed
            if is_heard or passed > ANSWERS_S:
                FAST.suit(sock)  # as before
                return is_heard
            await asyncio.sleep(_LOOK_S)
    return False


def _tell(sock: Any, options: Iterable[tuple[int, int, int | bytes]]) -> None:
    """Level, option and value of each. What the kernel does not know or does not allow is left as it is."""
    for level, option, value in options:
        with contextlib.suppress(*_GONE):
            sock.setsockopt(level, option, value)


def _tcp_info(sock: Any) -> bytes:
    """What the kernel knows of a connection; nothing where there is none."""
    if not _is_tcp(sock):
        return b""
    try:
        return bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_OCTETS))
    except _GONE:
        return b""


def _is_tcp(sock: Any) -> bool:
    return sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6)


def _silent_s(sock: Any) -> float:
    """How long ago the other end's kernel was heard last."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_OCTETS)
    return float(struct.unpack_from("=I", info, _HEARD_AT)[0]) / 1000


def acknowledged(sock: Any) -> int:
    """Octets that the other end's kernel has; 0 where nobody counts."""
    info = _tcp_info(sock)
    return int(struct.unpack_from("=Q", info, _ACKNOWLEDGED_AT)[0]) if len(info) >= _TCP_INFO_OCTETS else 0


def unacknowledged(sock: Any) -> int:
    """Octets that the kernel has and the other end has not said to have."""
    return _asked(sock, _SIOCOUTQ)


def never_sent(sock: Any) -> int:
    """Octets that the kernel has and never sent."""
    return _asked(sock, _SIOCOUTQNSD)


def drop_unsent(sock: Any) -> None:
    """What the kernel has not sent is not sent any more when the connection is closed."""
    if sock is not None:
        _tell(sock, [(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))])


def _asked(sock: Any, question: int) -> int:
    if sock is None:
        return 0
    try:
        return int(struct.unpack("=i", fcntl.ioctl(sock.fileno(), question, b"\0\0\0\0"))[0])
    except _GONE:
        return 0
