"""Line: one connection to a POP3 or IMAP server: octets in, events of its machine out; TLS; time-outs."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

from cmail.link.collect.box import Access, BoxError, Fault
from cmail.mail.limits import CLIENT_RATE_MIN, TLS_HANDSHAKE_TIMEOUT_S
from cmail.net.tls_client import client_context
from cmail.protocol.imap_client_data import ImapError
from cmail.protocol.pop3_client import Piece, Pop3Error
from cmail.world import DnsError, IPAddress, NoSuchDomainError, Resolver

ANSWER_S: Final = 120.0  # to a command, whole; of IMAP, where that has many parts: to each of them
ALL_PARTS_S: Final = 600.0  # to all of them
ADDRESSES_MAX: Final = 6
# A line that is cut in silence while nothing is said (IDLE) is noticed within two minutes; one that is away
# for a minute keeps its session. Over a satellite that is 80 octets a minute.
KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000),
)
_NO_WAY: Final = frozenset(
    (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
)
_BUFFER_MAX: Final = 512 * 1024  # octets that came and nobody took: then the server has to wait


class Machine(Protocol):
    """Pop3Client, ImapClient."""

    def feed(self, data: bytes) -> Sequence[Any]: ...

    @property
    def is_clean(self) -> bool: ...


class Line(asyncio.Protocol):
    """Made by connect(). Everything that goes wrong is a BoxError."""

    def __init__(self, machine: Machine, host: str) -> None:
        self._machine = machine
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._events: deque[Any] = deque()
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._trouble: BoxError | None = None
        self._is_held = False  # what comes now belongs to TLS
        self._is_paused = False
        self.octets_in = 0
        self.is_encrypted = False
        self.is_loopback = False
        self.peer = ""

    async def next(self, timeout_s: float = ANSWER_S) -> Any:
        """The next event."""
        if not self._events:
            await self._wait(timeout_s)
        event = self._events.popleft()
        if isinstance(event, Piece):
            self._buffered -= len(event.octets)
        if self._is_paused and self._buffered < _BUFFER_MAX // 2 and not self._is_held:
            self._is_paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return event

    async def _wait(self, timeout_s: float) -> None:
        if self._trouble is not None:
            raise self._trouble
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._waiter
        except TimeoutError:
            words = f"{self._host} did not answer within {timeout_s:.0f} s"
            raise BoxError(words, Fault.NETWORK, is_silence=True) from None
        finally:
            self._waiter = None

    def write(self, octets: bytes) -> None:
        """Send; a connection that is gone is noticed by next()."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)

    def hold(self) -> None:
        """STARTTLS is being said: once its answer has come, nothing more is read in clear (rule 7)."""
        self._is_held = True

    async def start_tls(self, access: Access) -> None:
        """After the answer."""
        transport = self._transport
        if self._events or not self._machine.is_clean:
            raise BoxError(f"{self._host} sent more than it was asked, in clear text, before TLS")
        if transport is None or transport.is_closing():
            raise self._trouble or BoxError(f"{self._host} closed the connection", Fault.NETWORK)
        context = _context(access)
        try:
            tls = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                context,
                server_hostname=access.host,
                ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S,
            )
        except (OSError, ssl.SSLError) as error:
            raise tls_trouble(self._host, error) from None
        if tls is None:
            raise BoxError(f"{self._host} closed the connection in the TLS handshake", Fault.NETWORK)
        self._transport, self._is_held, self._is_paused = tls, False, False
        self.is_encrypted = True

    def stop_holding(self) -> None:
        """TLS was refused, and it goes on in clear."""
        self._is_held = False
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """The end, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def end(self, words: str) -> None:
        """Nothing more is wanted of it; who asks all the same gets these words."""
        self._fail(BoxError(words))
        self._events.clear()
        self.close()

    def socket(self) -> socket.socket | None:
        """The socket that it has."""
        return self._transport.get_extra_info("socket") if self._transport is not None else None

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """From the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """From the transport."""
        self.octets_in += len(data)
        if self._trouble is not None:
            return
        try:
            events = self._machine.feed(data)
        except (Pop3Error, ImapError) as error:
            self._fail(BoxError(f"{self._host}: {error}"))
            return
        self._events += events
        self._buffered += sum(len(event.octets) for event in events if isinstance(event, Piece))
        is_full = self._buffered > _BUFFER_MAX or len(self._events) > 10_000
        if (is_full or (self._is_held and events)) and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        if events:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """From the transport."""
        words = f" ({_words(exc)})" if exc else ""
        what = f"{self._host} closed the connection{words}"
        self._fail(BoxError(what, Fault.NETWORK, is_silence=_is_silence(exc)))

    def _fail(self, trouble: BoxError) -> None:
        if self._trouble is None:
            self._trouble = trouble
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(trouble)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Pace:
    """How long content may take: a line that carries no more than 100 octets a second carries nothing."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._began = asyncio.get_running_loop().time()
        self._octets = 0

    def came(self, octets: int) -> None:
        """So much more."""
        self._octets += octets

    def wait_s(self) -> float:
        """What the next piece may take. BoxError: it took too long already, however little was missing."""
        passed = asyncio.get_running_loop().time() - self._began
        left = 2 * ANSWER_S + self._octets / CLIENT_RATE_MIN - passed
        if left <= 0:
            words = f"{self._host} sent {self._octets} octets of a message in {passed:.0f} s: too slow"
            raise BoxError(words, Fault.NETWORK)
        return min(ANSWER_S, max(1.0, left))


async def connect(machine: Machine, access: Access, resolver: Resolver) -> Line:
    """A connection to one of the host's addresses, with TLS from the first octet when that is set."""
    where = f"{access.host}:{access.port}"
    try:
        addresses = list(await resolver.addresses(access.host))[:ADDRESSES_MAX]
    except NoSuchDomainError:
        raise BoxError(f"there is no host {access.host}", Fault.NETWORK) from None
    except DnsError as error:
        words = f"{access.host} could not be looked up: {error}"
        raise BoxError(words, Fault.NETWORK, is_silence=True) from None
    why, is_silence = "it has no address", bool(addresses)
    for address in addresses:
        line = Line(machine, where)
        try:
            await _open(line, address, access)
            return line
        except TimeoutError:
            why = f"no answer within {access.connect_s:.0f} s"
        except ssl.SSLError as error:
            raise tls_trouble(where, error) from None
        except OSError as error:
            why, is_silence = _words(error), is_silence and _is_silence(error)
        line.close()
    raise BoxError(f"{where} cannot be reached: {why}", Fault.NETWORK, is_silence=is_silence)


async def _open(line: Line, address: IPAddress, access: Access) -> None:
    is_implicit = access.tls == "implicit"
    async with asyncio.timeout(access.connect_s):
        await asyncio.get_running_loop().create_connection(
            lambda: line,
            str(address),
            access.port,
            ssl=_context(access) if is_implicit else None,
            server_hostname=access.host if is_implicit else None,
        )
    found = line.socket()
    if found is not None:
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile; uvloop says so by a ValueError
            for level, option, value in KEEPALIVE:
                found.setsockopt(level, option, value)
    line.is_encrypted, line.is_loopback, line.peer = is_implicit, address.is_loopback, str(address)


def _context(access: Access) -> ssl.SSLContext:
    try:
        return client_context(access.ca_file, is_verified=access.tls in ("required", "implicit"))
    except (OSError, ssl.SSLError) as error:
        raise BoxError(f"tls.ca_file {access.ca_file} cannot be used: {error}", Fault.OURS) from None


def tls_trouble(where: str, error: OSError) -> BoxError:
    """What TLS failed at, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return BoxError(f"the certificate of {where} is not good: {error.verify_message}")
    with contextlib.suppress(AttributeError):
        if getattr(error, "reason", None):
            return BoxError(f"TLS with {where} failed: {error.reason.lower().replace('_', ' ')}")  # type: ignore[attr-defined]
    return BoxError(f"TLS with {where} failed: {_words(error)}", Fault.NETWORK)


def _is_silence(error: Exception | None) -> bool:
    """Whether nobody there said anything: no way, no answer."""
    return isinstance(error, OSError) and error.errno in _NO_WAY


def _words(error: Exception) -> str:
    """What the system said; asyncio puts words of its own in front of it."""
    number = getattr(error, "errno", None)
    return (os.strerror(number) if number and number > 0 else str(error)).lower()
