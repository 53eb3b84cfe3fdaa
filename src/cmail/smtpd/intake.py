"""Intake: all listeners and sessions of one worker, what they share, and their end."""

import asyncio
import socket
import ssl
from typing import Final

from cmail.mail import limits
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.extensions import Kind
from cmail.smtpd.connection import Connection
from cmail.smtpd.content_file import Writers
from cmail.smtpd.context import Client, IntakeContext
from cmail.smtpd.listener import Listener
from cmail.smtpd.receive import Budget

WRITERS: Final = 4  # threads that write large content
STOP_S: Final = 10.0  # how long stop() lets sessions end
TOO_MANY: Final = b"421 4.3.2 Too many sessions: try again later\r\n"
TOO_MANY_OF_YOU: Final = b"421 4.7.0 Too many sessions from your address\r\n"


class Intake:
    """The SMTP server of one worker. Made and used in its event loop."""

    def __init__(self, context: IntakeContext) -> None:
        self.context = context
        self.budget = Budget()
        self.writers = Writers(WRITERS)
        self.now = int(context.clock.monotonic())  # whole seconds: a read of the clock less for each packet
        self._listeners: list[Listener] = []
        self._sessions: set[Connection] = set()
        self._by_address: dict[str, int] = {}
        self._reserved = 0  # TLS handshakes before the session
        self._handshakes: set[asyncio.Task[None]] = set()
        self.is_stopping = False
        self._loop = asyncio.get_running_loop()
        self._tick = self._loop.call_later(1.0, self._on_tick)
        self._emptied = asyncio.Event()

    @property
    def sessions_count(self) -> int:
        """Sessions that are open now."""
        return len(self._sessions)

    def add(self, kind: Kind, sock: socket.socket) -> None:
        """Serve a listening socket, bound already, that other workers may serve too."""
        listener = Listener(self, kind, sock)
        self._listeners.append(listener)
        listener.start()

    def remove(self, sock: socket.socket) -> None:
        """Serve a listening socket no more; the sessions that came by it go on."""
        for listener in [each for each in self._listeners if each.is_of(sock)]:
            self._listeners.remove(listener)
            listener.stop()

    def update(self, context: IntakeContext) -> None:
        """Settings or accounts have changed: for the next sessions. None that is open is touched."""
        self.context = context

    async def stop(self, timeout_s: float = STOP_S) -> None:
        """No new session; idle ones hear 421, the others end what they are at, for a bounded time."""
        self.is_stopping = True
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.stop()
        self._dismiss_idle()
        if self._sessions:
            self._emptied.clear()
            try:
                await asyncio.wait_for(self._emptied.wait(), timeout_s)
            except TimeoutError:
                await self._abort_rest()
        self._tick.cancel()
        await self.writers.close(timeout_s)

    def _dismiss_idle(self) -> None:
        for connection in list(self._sessions):
            if connection.machine.is_idle:
                connection.end(replies.SHUTTING_DOWN)

    async def _abort_rest(self) -> None:
        for connection in list(self._sessions):
            connection.end(replies.SHUTTING_DOWN)
            connection.abort()
        await asyncio.sleep(0.05)

    # What connections and listeners call.

    def is_open_to(self, client: Client) -> bytes:
        """b"", or why a new session cannot be."""
        settings = self.context.settings
        if self.is_stopping:
            return replies.SHUTTING_DOWN
        if len(self._sessions) + self._reserved >= settings.sessions:
            return TOO_MANY
        if not client.may_relay:
            if self._by_address.get(client.address, 0) >= settings.sessions_per_address:
                return TOO_MANY_OF_YOU
        return b""

    def reserve(self, client: Client) -> bool:
        """A TLS handshake begins, before there is a session; False: no room. release() must follow."""
        if self.is_open_to(client):
            return False
        self._reserved += 1
        self._count(client.address, 1)
        return True

    def release(self, client: Client) -> None:
        """The handshake has ended."""
        self._reserved -= 1
        self._count(client.address, -1)

    def _count(self, address: str, change: int) -> None:
        count = self._by_address.get(address, 0) + change
        if count:
            self._by_address[address] = count
        else:
            self._by_address.pop(address, None)

    def open(self, connection: Connection) -> bool:
        """A session begins; False: it was refused, and is being closed."""
        client = connection.session.client
        refusal = self.is_open_to(client)
        self._sessions.add(connection)
        self._count(client.address, 1)
        self.context.maillog.connected(connection.session.facts.service, client.log_text)
        if refusal:
            connection.machine.take_outgoing()
            connection.end(refusal)
        return not refusal

    def close(self, connection: Connection) -> None:
        """It is over."""
        if connection not in self._sessions:
            return
        self._sessions.discard(connection)
        session = connection.session
        address = session.client.address
        self._count(address, -1)
        said = {verb.decode("ascii").lower(): count for verb, count in connection.machine.said.items()}
        self.context.maillog.disconnected(session.facts.service, session.client.log_text, said)
        if not self._sessions:
            self._emptied.set()

    def start_tls(self, connection: Connection) -> None:
        """Shake hands after STARTTLS."""
        task = self._loop.create_task(self._handshake(connection), name="STARTTLS")
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, connection: Connection) -> None:
        context = connection.session.facts.context.tls_context
        transport = connection.begin_tls()
        if transport is None or context is None:
            return
        try:
            secured = await self._loop.start_tls(
                transport,
                connection,
                context,
                server_side=True,
                ssl_handshake_timeout=limits.TLS_HANDSHAKE_TIMEOUT_S,
            )
        except (OSError, ssl.SSLError, TimeoutError):
            secured = None
        if secured is None:
            connection.abort()
            connection.connection_lost(None)
        else:
            connection.tls_is_up(secured)

    def _on_tick(self) -> None:
        self.now = int(self.context.clock.monotonic())
        idle_s = self.context.settings.command_timeout.total_seconds()
        for connection in list(self._sessions):
            connection.expire(self.now, idle_s)
        if self.is_stopping:
            self._dismiss_idle()
        self._tick = self._loop.call_later(1.0, self._on_tick)
