"""Opens a connection to one host: socket, TLS, handshake; says of what kind the trouble is when it fails."""

import asyncio
import errno
import ssl
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal

from cmail.delivery.hosts import Host
from cmail.delivery.line import SessionLimits
from cmail.delivery.session import Session
from cmail.mail.limits import TLS_HANDSHAKE_TIMEOUT_S
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.reply import Reply
from cmail.mail.status import (
    BAD_CONNECTION,
    CREDENTIALS_BAD,
    LOCAL_TROUBLE,
    NO_ANSWER_FROM_HOST,
    SECURITY,
    Detail,
)
from cmail.net.tls_client import client_context
from cmail.protocol.sasl_client import Credentials
from cmail.protocol.smtp.client_handshake import Acquaintance, HandshakeError, Manners
from cmail.protocol.smtp.client_offers import Offers

Tls = Literal["none", "opportunistic", "required", "implicit"]

# No way there at all: it is we who are off line, not they.
_OFFLINE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.ENONET)


@dataclass(frozen=True, slots=True)
class Peer:
    """Where to connect, and how to speak there."""

    host: Host | None  # None: the socket at `unix_path`
    hostname: str  # ours
    tls: Tls = "none"
    unix_path: str = ""
    credentials: Credentials | None = None
    is_lmtp: bool = False
    ca_file: str = ""
    timeout: timedelta = timedelta(seconds=30)
    limits: SessionLimits = field(default_factory=SessionLimits)
    known: Acquaintance | None = None  # what it said of itself last time; None: nobody remembers
    is_counted: bool = False  # what goes there goes over the link

    @property
    def relay(self) -> str:
        """As in the log's relay=."""
        return str(self.host) if self.host is not None else f"localhost[{self.unix_path}]"

    @property
    def is_loopback(self) -> bool:
        """Whether no network is between us and it."""
        return self.host is None or self.host.address.is_loopback


class OpenError(Exception):
    """The host cannot be used now."""

    def __init__(self, failure: TemporaryFailure, *, is_connection: bool = False) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.is_connection = is_connection  # nobody answered: the fallback host may be tried


class _TlsFailedError(Exception):
    """The TLS handshake came to nothing."""


async def open_session(peer: Peer) -> tuple[Session, Offers]:
    """A session that has logged in, and what the peer offers in it; OpenError."""
    try:
        return await _open_as_known(peer)
    except _TlsFailedError as error:
        if peer.tls != "opportunistic":
            raise _failed(peer, f"TLS: {error}", detail=SECURITY) from None
    return await _open(replace(peer, tls="none", known=None))  # RFC 7435: rather in the clear than not at all


async def _open_as_known(peer: Peer) -> tuple[Session, Offers]:
    """With commands ahead of their turn where the peer takes them so. Where that comes to nothing it is
    not as it was: once more, in the usual order. No message is in it yet."""
    if peer.known is None:
        return await _open(peer)
    known = replace(peer.known)  # other connections to it are being opened meanwhile
    try:
        found = await _open(replace(peer, known=known))
    except (OpenError, _TlsFailedError) as error:
        if not known.is_tried:
            raise
        peer.known.learn(Acquaintance())
        if isinstance(error, OpenError) and error.failure.detail == CREDENTIALS_BAD:
            raise  # it has understood what we said
        known = Acquaintance()
        found = await _open(replace(peer, known=known))
    peer.known.learn(known)
    return found


async def _open(peer: Peer) -> tuple[Session, Offers]:
    context = None if peer.tls == "none" else await _context(peer)
    session = await _connect(peer, context if peer.tls == "implicit" else None)
    manners = Manners(
        hostname=peer.hostname,
        tls="none" if peer.tls == "implicit" else peer.tls,
        credentials=peer.credentials,
        is_lmtp=peer.is_lmtp,
        is_encrypted=peer.tls == "implicit",
        is_loopback=peer.is_loopback,
        known=peer.known,
    )
    try:
        return session, await session.shake(manners, context, _server_name(peer))
    except HandshakeError as error:
        session.stop()
        raise _failed(peer, error.reason, detail=error.detail, reply=error.reply) from None
    except (ssl.SSLError, OSError) as error:  # only STARTTLS raises them here
        session.stop()
        raise _TlsFailedError(_tls_words(error)) from None
    except BaseException:
        session.stop()
        raise


async def _connect(peer: Peer, context: ssl.SSLContext | None) -> Session:
    loop = asyncio.get_running_loop()
    session = Session(loop, peer.limits)
    if peer.is_counted:
        session.count()
    seconds = peer.timeout.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            if peer.host is None:
                await loop.create_unix_connection(lambda: session, peer.unix_path)
            else:
                await loop.create_connection(
                    lambda: session,
                    str(peer.host.address),
                    peer.host.port,
                    ssl=context,
                    server_hostname=_server_name(peer) if context is not None else None,
                    ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S if context is not None else None,
                )
    except TimeoutError:
        reason = f"connection timed out after {seconds:g} s"
        raise _failed(peer, reason, detail=NO_ANSWER_FROM_HOST, is_connection=True) from None
    except ssl.SSLError as error:
        raise _TlsFailedError(_tls_words(error)) from None
    except OSError as error:
        is_offline = error.errno in _OFFLINE and not peer.is_loopback
        raise _failed(
            peer, _os_words(error), is_offline=is_offline, detail=NO_ANSWER_FROM_HOST, is_connection=True
        ) from None
    except BaseException:
        session.stop()
        raise
    return session


async def _context(peer: Peer) -> ssl.SSLContext:
    if peer.tls == "opportunistic":
        return client_context("", is_verified=False)
    try:  # the authorities are read from the disk: in a thread
        return await asyncio.to_thread(client_context, peer.ca_file, is_verified=True)
    except OSError as error:
        reason = f"tls.ca_file {peer.ca_file} cannot be used: {error.strerror or error}"
        raise _failed(peer, reason, detail=LOCAL_TROUBLE) from None


def _server_name(peer: Peer) -> str:
    if peer.host is None:
        return peer.hostname
    return str(peer.host.address) if peer.host.name.startswith("[") else peer.host.name


def _failed(
    peer: Peer,
    reason: str,
    *,
    detail: Detail = BAD_CONNECTION,
    reply: Reply | None = None,
    is_offline: bool = False,
    is_connection: bool = False,
) -> OpenError:
    kind = NotNow.OFFLINE if is_offline else NotNow.HOST
    failure = TemporaryFailure(f"{peer.relay}: {reason}", kind, detail, peer.relay, reply)
    return OpenError(failure, is_connection=is_connection)


def _os_words(error: OSError) -> str:
    words = {
        errno.ECONNREFUSED: "connection refused",
        errno.ENETUNREACH: "network unreachable",
        errno.EHOSTUNREACH: "no route to the host",
        errno.ENETDOWN: "the network is down",
        errno.ENOENT: "there is no such socket",
    }
    return words.get(error.errno or 0) or error.strerror or type(error).__name__


def _tls_words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not good: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"the handshake failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
    return f"the handshake failed: {str(error) or 'the connection was closed'}"
