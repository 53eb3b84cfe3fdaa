"""Turned connections: a site has turned its connection round, and we are the client on it (RFC 2645 §5.3).

The process that the site came to keeps the connection, for the TLS of it is there, and lends it to one shard
after the other: each takes it over a Unix socket, sends what it has, and gives it back between two
messages. Only a connection that comes back clean (no reply is awaited, no message is under way) goes on to
the next; at the first one that does not it ends. What was not acknowledged is in its shard as before, so
nothing is lost."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

from cmail.delivery.agent import Ending, Finished, Work
from cmail.delivery.blame import Blame
from cmail.delivery.fit import FAST, keep_little, still_answers
from cmail.delivery.line import Line, SessionLimits
from cmail.delivery.session import HALTED_DOT_TIMEOUT_S, Session
from cmail.net.control import listen, socket_path
from cmail.protocol.smtp.client import SmtpClient
from cmail.protocol.smtp.client_handshake import HandshakeError, Manners
from cmail.protocol.smtp.client_offers import Offers

IDLE_S: Final = 10.0  # a shard that has something which does not come to memory gives it back then
BORROW_S: Final = 10.0
LENT: Final = b"220 It is yours\r\n"  # what a shard hears when it has the connection
QUIT_S: Final = 10.0
BUFFER_MAX: Final = 32 * 1024  # octets between a shard and the site
_ENDLESS: Final = 1 << 40  # transactions
HANDSHAKE_ERRORS: Final = (HandshakeError, OSError)

_blame: Final = Blame()


@dataclass(slots=True)
class Turn:
    """A shard's turn at a connection."""

    folder: str
    name: str  # of the socket in it at which the connection is lent
    offers: Offers
    relay: str
    is_drained: Callable[[], bool]  # nothing is left that may go now
    is_taken: bool = False
    is_clean: bool = False
    transactions_count: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def finish(self) -> None:
        """It has been used."""
        self.over.set()


class TurnedSession(Session):
    """Ends as soon as nothing is left, and does not say QUIT: others come behind it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: SessionLimits, is_drained: Callable[[], bool]
    ) -> None:
        super().__init__(loop, limits)
        self._is_drained = is_drained
        self.is_clean = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """From the transport."""
        super().connection_made(transport)
        keep_little(self._socket)

    def _rest(self, work: Work) -> None:
        if not self._is_stopping and self._is_drained():
            self._quit()
        else:
            super()._rest(work)

    def _quit(self) -> None:
        """Nothing is under way: give the connection back as it is."""
        self.is_clean = True
        self._finish()


async def run_turned(turn: Turn, work: Work, monotonic: Callable[[], float]) -> Ending:
    """A shard's turn: borrow the connection, send what there is. How it ends says nothing of the site's
    health: it comes again when it comes."""
    loop = asyncio.get_running_loop()
    session = TurnedSession(loop, SessionLimits(IDLE_S, _ENDLESS), turn.is_drained)
    try:
        async with asyncio.timeout(BORROW_S):
            with socket_path(turn.folder, turn.name) as path:
                await loop.create_unix_connection(lambda: session, path)
            await session.command(b"", "the connection of the site")
    except (*HANDSHAKE_ERRORS, TimeoutError):  # nothing was taken: no message is to blame
        session.stop()
        return Finished(0)
    machine = SmtpClient(turn.offers, turn.relay, is_fresh=False)
    try:
        session.converse(machine, work, monotonic, _blame.is_second)
        await asyncio.wait({session.ended})
    except asyncio.CancelledError:
        if session.stop():
            await asyncio.wait({session.ended}, timeout=HALTED_DOT_TIMEOUT_S)
        raise
    finally:
        session.fail("the delivery was stopped")
        turn.transactions_count = session.settled
        turn.is_clean = session.is_clean and not machine.is_done
    if session.error is not None:
        raise session.error
    return Finished(session.settled)


def offers_fields(offers: Offers) -> dict[str, Any]:
    """Offers as they go over a control socket."""
    return asdict(offers)


def parse_offers_fields(fields: dict[str, Any]) -> Offers:
    """And back; ValueError when they are none."""
    try:
        return Offers(**{**fields, "mechanisms": tuple(fields.get("mechanisms", ()))})
    except TypeError:
        raise ValueError("not what a server offers") from None


class TurnedPipe(asyncio.Protocol):
    """The connection itself, from our 250 to ATRN on. `lost` is called once, when it has ended."""

    def __init__(self, transport: asyncio.Transport, lost: Callable[[Exception | None], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._lost = lost
        self._holder: Line | _Borrower | None = None
        self._next: _Borrower | None = None  # came before we heard that the one before it has gone
        self._held = b""  # that came while nobody had the connection
        self._server: asyncio.Server | None = None
        self.borrowed_count = 0
        self.ended = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is not clean any more."""
        return self.ended.is_set() or bool(self._held)

    def take_over(self) -> None:
        """Be the connection's protocol from now on."""
        self._transport.set_protocol(self)
        sock = self._transport.get_extra_info("socket")
        FAST.suit(sock)  # what is dead is noticed, sooner or later
        keep_little(sock)
        self._transport.set_write_buffer_limits(BUFFER_MAX)

    async def shake(self, hostname: str) -> Offers:
        """The site's greeting and our EHLO; HandshakeError."""
        line = Line(self._loop, SessionLimits())
        line.connection_made(self._transport)
        self._transport.set_write_buffer_limits(BUFFER_MAX)
        self._holder = line
        self._transport.resume_reading()
        try:
            offers = await line.shake(Manners(hostname, is_encrypted=True), None, hostname)
            line.hand_over()
        finally:
            self._holder = None
        return offers

    async def lend(self, folder: str, name: str) -> None:
        """Shards may borrow it at this socket from now on, one at a time."""
        self._server = await self._loop.create_unix_server(self._borrower, sock=listen(folder, name))

    def _borrower(self) -> "_Borrower":
        return _Borrower(self)

    async def quit(self) -> None:
        """The end, in order (RFC 5321 §4.1.1.10)."""
        if self.is_over:
            return
        self._transport.write(b"QUIT\r\n")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), QUIT_S)

    async def is_there(self) -> bool:
        """Whether the site's end of the connection still answers."""
        sock = self._transport.get_extra_info("socket")
        return await still_answers(sock, self._transport.is_closing)

    def close(self) -> None:
        """It is over. The socket stays in its folder until the next one takes its name."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._transport.abort()

    # What borrowers call.

    def borrow(self, borrower: "_Borrower") -> bool:
        """It has the connection now, or next; False: somebody waits already, or it is over."""
        if self.is_over or self._transport.is_closing() or self._next is not None:
            return False
        self.borrowed_count += 1
        if self._holder is None:
            self._holder = borrower
            borrower.pass_on(LENT)
        else:
            self._next = borrower
        return True

    def give_back(self, borrower: "_Borrower") -> None:
        """It does not have it any more."""
        if self._next is borrower:
            self._next = None
        elif self._holder is borrower:
            self._holder, self._next = self._next, None
            self.hold_reading(False)
            if self._holder is not None:
                self._holder.pass_on(LENT)

    def write(self, data: bytes) -> None:
        """Octets for the site."""
        self._transport.write(data)

    def hold_reading(self, is_held: bool) -> None:
        """Whether the site has to wait, because what it said is not taken."""
        if self._transport.is_closing():
            return
        if is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        """Replies of the site, for who has the connection."""
        holder = self._holder
        if isinstance(holder, Line):
            holder.data_received(data)
        elif holder is not None:
            holder.pass_on(data)
        elif data[:3] != b"221":  # of our QUIT
            self._held = (self._held + data)[:1000]

    def pause_writing(self) -> None:
        """The site is slower than the shard."""
        if isinstance(self._holder, _Borrower):
            self._holder.hold_reading(True)

    def resume_writing(self) -> None:
        """It has caught up."""
        if isinstance(self._holder, _Borrower):
            self._holder.hold_reading(False)

    def eof_received(self) -> bool:
        """The site has gone."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever has it hears of it."""
        self.ended.set()
        holder, following = self._holder, self._next
        self._holder = self._next = None
        if isinstance(holder, Line):
            holder.connection_lost(exc)
        elif holder is not None:
            holder.drop()
        if following is not None:
            following.drop()
        self._lost(exc)


class _Borrower(asyncio.Protocol):
    """The other end of the Unix socket: a shard's session."""

    def __init__(self, pipe: TurnedPipe) -> None:
        self._pipe = pipe
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It wants the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(BUFFER_MAX)
        if not self._pipe.borrow(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Commands and content of the shard."""
        self._pipe.write(data)

    def pass_on(self, data: bytes) -> None:
        """Replies of the site."""
        if self._transport is not None:
            self._transport.write(data)

    def hold_reading(self, is_held: bool) -> None:
        """Whether the shard has to wait."""
        if self._transport is None or self._transport.is_closing():
            return
        if is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The shard does not take the replies."""
        self._pipe.hold_reading(True)

    def resume_writing(self) -> None:
        """It does again."""
        self._pipe.hold_reading(False)

    def drop(self) -> None:
        """The site has gone."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The shard has given it back, or is gone."""
        self._transport = None
        self._pipe.give_back(self)
