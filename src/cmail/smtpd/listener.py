"""Listener: accepts connections of one listening socket, a few a turn, within limits."""

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Any, Final

from cmail.protocol.smtp.extensions import Kind
from cmail.smtpd.connection import Connection
from cmail.smtpd.context import Client
from cmail.smtpd.finger import FingerConnection

if TYPE_CHECKING:
    from cmail.smtpd.intake import Intake

ACCEPTS_A_TURN: Final = 2  # the other workers want some too
REFUSALS_A_TURN: Final = 16  # cost little, and who is behind them waits
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
        self._is_short = False  # of files: nothing could be accepted
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_nodelay = sock.family != socket.AF_UNIX
        sock.setblocking(False)

    def is_of(self, sock: socket.socket) -> bool:
        """Whether this is the socket that it serves."""
        return self._socket is sock

    def start(self) -> None:
        """From now on."""
        self._rest = None
        if self._is_nodelay:  # what is accepted inherits it; a reply must not wait for the next one
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(self._socket.fileno(), self._on_ready)

    def stop(self) -> None:
        """No more; connections that wait are the other workers', or get none."""
        if self._rest is not None:
            self._rest.cancel()
        else:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _on_ready(self) -> None:
        served = 0
        for _ in range(REFUSALS_A_TURN):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._is_short = False
            try:
                served += self._serve(sock, address)
            except Exception:  # a mistake of ours costs this client its session, not the others theirs
                self._intake.context.maillog.failed("a connection could not be served")
                sock.close()
            if served == ACCEPTS_A_TURN:
                return

    def _pause(self, error: OSError) -> None:
        """Come back in a second; clients wait in the queue of the socket meanwhile."""
        if not self._is_short:  # said once, until it is over
            self._intake.context.maillog.warned(f"no connection can be accepted: {error.strerror}")
        self._is_short = True
        self._loop.remove_reader(self._socket.fileno())
        self._rest = self._loop.call_later(REST_S if error.errno in _NO_ROOM else 0.1, self.start)

    def _serve(self, sock: socket.socket, address: Any) -> bool:
        """Begin a session; False: it was turned away."""
        sock.setblocking(False)
        context = self._intake.context
        client = context.client(address[0] if self._is_nodelay else "")
        facts = context.facts(self._kind)
        refusal = self._intake.admit(client, facts.service)
        if refusal:
            self._turn_away(sock, refusal)
            return False
        is_tls = self._kind == "submissions"
        connection: Connection | FingerConnection
        if self._kind == "finger":
            connection = FingerConnection(self._intake, client)
        else:
            connection = Connection(self._intake, facts, client, is_tls=is_tls)
        accept = self._accept_tls if is_tls else self._accept

        def done(task: "asyncio.Task[Any]") -> None:
            _forget(task)
            if not connection.has_begun:
                self._intake.depart(client)
                sock.close()

        self._drive(accept(sock, connection, client)).add_done_callback(done)
        return True

    def _turn_away(self, sock: socket.socket, refusal: bytes) -> None:
        """In one go, without a session: this is what a storm of connections meets."""
        if self._kind not in ("submissions", "finger"):  # under TLS there are no words before the handshake
            with contextlib.suppress(OSError):
                sock.send(refusal)
        sock.close()

    async def _accept(
        self, sock: socket.socket, connection: Connection | FingerConnection, _client: Client
    ) -> None:
        await self._loop.connect_accepted_socket(lambda: connection, sock)

    async def _accept_tls(
        self, sock: socket.socket, connection: Connection | FingerConnection, client: Client
    ) -> None:
        """The handshake comes first, and counts as a session meanwhile."""
        tls = self._intake.context.tls_context
        if tls is None:
            return
        async with self._intake.handshakes.turn(client) as timeout_s:
            await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=tls, ssl_handshake_timeout=timeout_s
            )

    def _drive(self, coroutine: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = self._loop.create_task(coroutine, name="accept")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _forget(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # a handshake that failed: the client's trouble
