"""TLS as a client: contexts that verify name and chain, and those that verify nothing (opportunistic)."""

import os
import ssl
from collections import OrderedDict
from functools import lru_cache
from typing import Any, Final, Self

_SESSIONS_MAX: Final = 1000  # of as many hosts


class ClientContext(ssl.SSLContext):
    """Remembers a session of each host, over outages too: it is taken up again without certificates, which
    are most of the octets of a handshake. What was verified then is who
    answers now: a session is known only to the host that it was made with, and to this context."""

    _sessions: OrderedDict[str, ssl.SSLSession]

    def __new__(cls) -> Self:
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context._sessions = OrderedDict()
        return context

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
        """As asyncio and uvloop call it: with the session of the host, when there is one."""
        session = self._sessions.get(named.get("server_hostname") or "")
        if session is not None and named.get("session") is None:
            named["session"] = session
        return super().wrap_bio(*args, **named)

    def remember(self, tls: ssl.SSLObject) -> None:
        """At the end of a connection: with TLS 1.3 its tickets come after the handshake."""
        name, session = tls.server_hostname, tls.session
        if not name or session is None or not session.has_ticket:
            return
        self._sessions[name] = session
        self._sessions.move_to_end(name)
        if len(self._sessions) > _SESSIONS_MAX:
            self._sessions.popitem(last=False)


def remember_session(tls: object) -> None:
    """Of a connection that ends; anything else than TLS of ours is left alone."""
    if isinstance(tls, ssl.SSLObject) and isinstance(tls.context, ClientContext):
        tls.context.remember(tls)


def client_context(ca_file: str, *, is_verified: bool) -> ssl.SSLContext:
    """A context; `ca_file` "" means the system's authorities. OSError, ssl.SSLError: the file is no good.
    Contexts are kept: to load the system's authorities costs 20 ms and some MiB."""
    if not is_verified:
        return _unverified()
    changed_ns = os.stat(ca_file).st_mtime_ns if ca_file else 0
    return _verified(ca_file, changed_ns)


@lru_cache(maxsize=4)
def _verified(ca_file: str, changed_ns: int) -> ssl.SSLContext:
    context = ClientContext()
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    """Encrypts against who only listens (RFC 7435): no certificate is a reason to send in the clear."""
    context = ClientContext()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
