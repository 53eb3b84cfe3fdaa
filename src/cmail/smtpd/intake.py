"""Intake: all listeners and sessions of one worker, what they share, and their end."""

import asyncio
import socket
import ssl
from typing import Final

from cmail.mail.reply import parse_reply
from cmail.policy.rates import Buckets
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.extensions import Kind
from cmail.smtpd.connection import Connection
from cmail.smtpd.content_file import Writers
from cmail.smtpd.context import Client, IntakeContext
from cmail.smtpd.expiry import expire
from cmail.smtpd.finger import KICKS_BURST, KICKS_PER_MINUTE
from cmail.smtpd.guests import Guests
from cmail.smtpd.handshakes import Handshakes
from cmail.smtpd.judge import Noted
from cmail.smtpd.listener import Listener
from cmail.smtpd.patience import Patience
from cmail.smtpd.receive import Budget

WRITERS: Final = 4  # threads that write large content
STOP_S: Final = 10.0  # how long stop() lets sessions end


class Intake:
    """The SMTP server of one worker. Made and used in its event loop."""

    def __init__(self, context: IntakeContext) -> None:
        self.context = context
        self.budget = Budget()
        self.writers = Writers(WRITERS)
        self.noted = Noted()
        self.now = int(context.clock.monotonic())  # whole seconds: a read of the clock less for each packet
        self._listeners: list[Listener] = []
        self._sessions: set[Connection] = set()
        self.guests = Guests(context)
        self._patience = _patience(context)
        self.handshakes = Handshakes(self.guests, context.settings.handshakes)
        self.kicks = Buckets(KICKS_BURST, KICKS_PER_MINUTE)
        self._tasks: set[asyncio.Task[None]] = set()
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
        self.guests.update(context)
        self._patience = _patience(context)
        self.handshakes.update(context.settings.handshakes)

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

    def admit(self, client: Client, service: str) -> bytes:
        """b"": it may come in, and is counted until depart(). Else why not; logged, within reason."""
        refusal = replies.SHUTTING_DOWN if self.is_stopping else self.guests.admit(client, self.now)
        if refusal and self.guests.is_worth_a_line(client, self.now):
            reply = parse_reply([refusal.rstrip(b"\r\n")])
            self.context.maillog.refused(service, client.log_text, stage="CONNECT", reply=reply)
        return refusal

    def depart(self, client: Client) -> None:
        """It has gone."""
        self.guests.depart(client)

    def open(self, connection: Connection) -> None:
        """A session begins, of a client that was admitted."""
        session = connection.session
        self._sessions.add(connection)
        self.context.maillog.connected(session.facts.service, session.client.log_text)

    def close(self, connection: Connection) -> None:
        """It is over."""
        if connection not in self._sessions:
            return
        self._sessions.discard(connection)
        session = connection.session
        self.guests.depart(session.client)
        said = {verb.decode("ascii").lower(): count for verb, count in connection.machine.said.items()}
        self.context.maillog.disconnected(session.facts.service, session.client.log_text, said)
        if not self._sessions:
            self._emptied.set()

    def start_tls(self, connection: Connection) -> None:
        """Shake hands after STARTTLS."""
        task = self._loop.create_task(self._handshake(connection), name="STARTTLS")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handshake(self, connection: Connection) -> None:
        context = connection.session.facts.context.tls_context
        transport = connection.begin_tls()
        if transport is None or context is None:
            return
        try:
            async with self.handshakes.turn(connection.session.client) as timeout_s:
                if transport.is_closing():  # while it waited for its turn
                    return
                secured = await self._loop.start_tls(
                    transport, connection, context, server_side=True, ssl_handshake_timeout=timeout_s
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
        patience, crowded = self._patience
        for connection in list(self._sessions):
            expire(connection, self.now, patience, crowded)
        if self.is_stopping:
            self._dismiss_idle()
        self._tick = self._loop.call_later(1.0, self._on_tick)


def _patience(context: IntakeContext) -> tuple[Patience, Patience]:
    """As usual, and with strangers where room is short."""
    patience = Patience.of(context.settings)
    return patience, patience.when_crowded()
