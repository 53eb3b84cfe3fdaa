"""Listener: accepts connections of one listening socket, a few a turn, within limits."""

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any, Final

from cmail.mail.limits import TLS_HANDSHAKE_TIMEOUT_S
from cmail.protocol.smtp.extensions import Kind
from cmail.smtpd.connection import Connection

if TYPE_CHECKING:
    from cmail.smtpd.intake import Intake

ACCEPTS_A_TURN: Final = 2  # the other workers want some too
REST_S: Final = 1.0  # without file descriptors nothing can be accepted, nor refused
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Listener:
    """Owns its socket object, not the socket: the supervisor keeps that one open."""

    def __init__(self, intake: "Intake", kind: Kind, sock: socket.socket) -> None:
        self._intake = intake
        self._kind: Kind = kind
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self._is_nodelay = sock.family != socket.AF_UNIX
        sock.setblocking(False)

    def is_of(self, sock: socket.socket) -> bool:
        """Whether this is the socket that it serves."""
        return self._socket is sock

    def start(self) -> None:
        """From now on."""
        self._rest = None
        self._loop.add_reader(self._socket.fileno(), self._on_ready)

    def stop(self) -> None:
        """No more; connections that wait are the other workers', or get none."""
        if self._rest is not None:
            self._rest.cancel()
        else:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _on_ready(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._serve(sock, address)

    def _pause(self, error: OSError) -> None:
        """Come back in a second; clients wait in the queue of the socket meanwhile."""
        self._intake.context.maillog.warned(f"no connection can be accepted: {error.strerror}")
        self._loop.remove_reader(self._socket.fileno())
        self._rest = self._loop.call_later(REST_S if error.errno in _NO_ROOM else 0.1, self.start)

    def _serve(self, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        context = self._intake.context
        client = context.client(address[0] if self._is_nodelay else "")
        facts = context.facts(self._kind)
        is_tls = self._kind == "submissions"
        connection = Connection(self._intake, facts, client, is_tls=is_tls)
        tls: dict[str, Any] = {}
        if is_tls:
            if context.tls_context is None:
                sock.close()
                return
            tls = {"ssl": context.tls_context, "ssl_handshake_timeout": TLS_HANDSHAKE_TIMEOUT_S}
        self._drive(self._loop.connect_accepted_socket(lambda: connection, sock, **tls), sock)

    def _drive(self, coroutine: Any, sock: socket.socket) -> None:
        task = self._loop.create_task(coroutine)
        task.add_done_callback(_forget)


def _forget(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # a handshake that failed: the client's trouble
