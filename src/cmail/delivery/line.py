"""Line: one connection to a peer as an asyncio.Protocol: the handshake, TLS, and one timer for everything."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from cmail.delivery.fit import FAST, Fit
from cmail.mail.limits import TLS_HANDSHAKE_TIMEOUT_S
from cmail.mail.status import BAD_CONNECTION
from cmail.net.tls_client import remember_session
from cmail.observe.metrics import LINK_OCTETS, Number
from cmail.protocol.smtp.client_handshake import HandshakeError, Manners, Say, StartTls, handshake
from cmail.protocol.smtp.client_offers import Offers
from cmail.protocol.smtp.client_replies import Replies, read_reply

_UNCOUNTED: Final = Number()
_TURNING: Final = {"STARTTLS": b"220", "ATRN": b"250"}


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long and how much one session may."""

    idle_s: float = 2.0
    transactions_max: int = 1000
    patience: float = 1.0  # all time-outs times this: a test has less of it
    fit: Fit = FAST
    fit_now: Callable[[], Fit | None] = lambda: None  # what fits the link as it is now; None: as before


class Line(asyncio.Protocol):
    """shake() says everything up to the log-in. `ended` is done when the connection is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: SessionLimits) -> None:
        self._loop = loop
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._replies = Replies()
        self._came: deque[bytes] = deque()
        self._waiter: asyncio.Future[bytes] | None = None
        self._turning = b""  # the code at which nothing more is read: the next octet is another protocol's
        self._lost_reason = ""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._waits_for = "the greeting"
        self._sent = self._got = _UNCOUNTED  # octets
        self.ended: asyncio.Future[None] = loop.create_future()

    def count(self) -> None:
        """What goes over it is the link's, and counted."""
        self._sent, self._got = LINK_OCTETS.of("out"), LINK_OCTETS.of("in")

    @property
    def local_address(self) -> str:
        """The IP address of our end; "" when it has none."""
        name = self._transport.get_extra_info("sockname") if self._transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    async def shake(self, manners: Manners, context: ssl.SSLContext | None, name: str) -> Offers:
        """Greeting to log-in; HandshakeError, ssl.SSLError or OSError when it does not come to an end."""
        conversation = handshake(manners)
        step = next(conversation)
        while True:
            if isinstance(step, StartTls):
                assert context is not None
                await self._start_tls(context, name)
                answer = b""
            else:
                answer = await self._say(step)
            try:
                step = conversation.send(answer)
            except StopIteration as stop:
                return cast(Offers, stop.value)

    async def command(self, octets: bytes, name: str) -> bytes:
        """One command more, behind shake(), and its reply; HandshakeError."""
        return await self._say(Say(octets, name))

    def hand_over(self) -> asyncio.Transport:
        """The connection, for another protocol; nothing is read until that asks for it. HandshakeError."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._lost_reason:
            raise HandshakeError("the connection was lost", BAD_CONNECTION)
        if self._came or not self._replies.is_clean:
            raise HandshakeError("the server said more than it was asked")
        self._transport = None
        self._close()
        return transport

    async def _say(self, step: Say) -> bytes:
        if step.octets:
            if self._came and not step.is_early:
                said = read_reply(self._came[0])
                raise HandshakeError(f"the server said more than it was asked: {said}", BAD_CONNECTION, said)
            self._write(step.octets)
        self._waits_for = step.name
        self._set_deadline(step.timeout_s)
        self._turning = _TURNING.get(step.name, b"")
        if not self._came:
            if self._replies.error:
                raise HandshakeError(f"{step.name}: {self._replies.error}")
            if self._lost_reason:
                raise HandshakeError(f"{self._lost_reason}, at {step.name}", BAD_CONNECTION)
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._came.popleft()

    async def _start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """RFC 3207 §5: what came behind the 220 in clear could be anybody's."""
        self._turning = b""
        if self._came or not self._replies.is_clean:
            raise HandshakeError("STARTTLS: octets behind the reply, in clear text")
        transport = self._transport
        if transport is None or transport.is_closing():
            raise HandshakeError("the connection was lost, at STARTTLS", BAD_CONNECTION)
        self._set_deadline(TLS_HANDSHAKE_TIMEOUT_S + 1)
        tls = await self._loop.start_tls(
            transport,
            self,
            context,
            server_hostname=name,
            ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S * self._limits.patience,
        )
        if tls is None or self._lost_reason:
            raise HandshakeError("the connection was lost, at the TLS handshake", BAD_CONNECTION)
        self._transport = tls
        tls.set_write_buffer_limits(self._limits.fit.buffer_max)

    def data_received(self, data: bytes) -> None:
        """From the transport."""
        self._got.value += len(data)
        self._came += self._replies.feed(data)
        if self._turning and self._came and self._came[0][:3] == self._turning and self._transport:
            self._transport.pause_reading()  # in this callback: the next octet is not ours
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._came:
            waiter.set_result(b"")
        elif self._replies.error:
            waiter.set_exception(HandshakeError(f"{self._waits_for}: {self._replies.error}"))

    # The transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """From the transport."""
        self._transport = cast(asyncio.Transport, transport)
        fit = self._limits.fit
        self._transport.set_write_buffer_limits(fit.buffer_max)
        fit.suit(self._socket)

    def connection_lost(self, exc: Exception | None) -> None:
        """From the transport."""
        self._lost_reason = f"the connection was lost ({exc})" if exc else "the server closed the connection"
        self._give_up(f"{self._lost_reason}, at {self._waits_for}")

    @property
    def _socket(self) -> Any:
        """The socket of the connection, to ask and to tell it things; None: there is none."""
        return self._transport.get_extra_info("socket") if self._transport is not None else None

    def _give_up(self, reason: str) -> None:
        """Nobody answers the handshake any more."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(HandshakeError(reason, BAD_CONNECTION))

    def _write(self, octets: bytes | memoryview) -> None:
        if self._transport is not None:
            self._sent.value += len(octets)
            self._transport.write(octets)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._ended()

    def _ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.ended.done():
            if self._transport is not None:
                remember_session(self._transport.get_extra_info("ssl_object"))
            self.ended.set_result(None)

    # The timer.

    def _set_deadline(self, seconds: float) -> None:
        """Most calls move the deadline further away: then the timer is left alone until it fires."""
        self._deadline = deadline = self._loop.time() + seconds * self._limits.patience
        timer = self._timer
        if timer is None or deadline < self._timer_at:
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(deadline, self._on_timer)
            self._timer_at = deadline

    def _on_timer(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
            self._timer_at = self._deadline
        else:
            self._timed_out()

    def _timed_out(self) -> None:
        self._give_up(f"no reply in time, to {self._waits_for}")
