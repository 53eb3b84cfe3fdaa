"""From the greeting to the first MAIL: EHLO, STARTTLS, AUTH as a conversation without I/O (RFC 5321 §3.1)."""

import base64
import binascii
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cmail.mail.limits import CLIENT_GREETING_TIMEOUT_S, CLIENT_MAIL_TIMEOUT_S
from cmail.mail.reply import Reply
from cmail.mail.status import (
    BAD_CONNECTION,
    CREDENTIALS_BAD,
    ENCRYPTION_NEEDED,
    SECURITY,
    UNDEFINED,
    Detail,
)
from cmail.protocol.sasl_client import (
    STEPS_MIN,
    Credentials,
    Exchange,
    SaslError,
    choose_mechanism,
    exchange,
)
from cmail.protocol.smtp.client_offers import Offers, parse_offers
from cmail.protocol.smtp.client_replies import read_reply

_STARTTLS: Final = b"STARTTLS\r\n"
_INITIAL_RESPONSE_MAX: Final = 480  # RFC 4954 §4: the AUTH command must fit in 512 octets


@dataclass(slots=True)
class Acquaintance:
    """What a host said of itself last time. Commands are sent ahead of their turn only where it has said
    that it takes them so; nothing is believed that it has not said again by the time that it matters."""

    is_early: bool = False  # EHLO and one command may come before the greeting (PIPECONNECT)
    has_starttls: bool = False
    mechanisms: tuple[str, ...] = ()  # of AUTH, where we logged in
    is_tried: bool = False  # something was sent ahead of its turn on this connection

    def learn(self, other: "Acquaintance") -> None:
        """What it says now."""
        self.is_early, self.has_starttls, self.mechanisms = (
            other.is_early,
            other.has_starttls,
            other.mechanisms,
        )


@dataclass(frozen=True, slots=True)
class Manners:
    """How we are to speak to this host."""

    hostname: str  # our name in EHLO
    tls: Literal["none", "opportunistic", "required"] = "none"  # implicit TLS is there before the greeting
    credentials: Credentials | None = None
    is_lmtp: bool = False
    is_encrypted: bool = False  # already, by implicit TLS
    is_loopback: bool = False
    known: Acquaintance | None = None  # None: nothing is remembered


@dataclass(frozen=True, slots=True)
class Say:
    """Send these octets (none: only listen) and give back the reply."""

    octets: bytes
    name: str  # of the stage, for people; holds no secret
    timeout_s: float = CLIENT_MAIL_TIMEOUT_S
    is_early: bool = False  # what was sent before may still be unanswered, or be answered already


@dataclass(frozen=True, slots=True)
class StartTls:
    """Shake hands now; then send anything (it is not looked at)."""


class HandshakeError(Exception):
    """This host cannot be used now; it never bounces anything. The text holds no secret."""

    def __init__(self, reason: str, detail: Detail = UNDEFINED, reply: Reply | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = reply.status.what if reply is not None and reply.status is not None else detail
        self.reply = reply


Handshake = Generator[Say | StartTls, bytes, Offers]


def handshake(manners: Manners) -> Handshake:
    """Yields what to do, is sent the replies as octets, returns the offers that hold from now on."""
    known = manners.known or Acquaintance()
    ahead = known.is_early
    is_tls_meant = manners.tls != "none" and not manners.is_encrypted
    is_tls_ahead = ahead and is_tls_meant and known.has_starttls
    is_safe = manners.is_encrypted or manners.is_loopback
    log_in = LogIn(manners.credentials) if manners.credentials is not None else None
    first = b""
    if ahead:
        known.is_tried = True
        first = _hello_command(manners)
        if is_tls_ahead:
            first += _STARTTLS
        elif log_in is not None and not is_tls_meant:
            first += log_in.ahead(known.mechanisms, is_safe)
    greeting = read_reply((yield Say(first, "the greeting", CLIENT_GREETING_TIMEOUT_S, is_early=ahead)))
    if greeting.code // 100 != 2:
        raise _refused("the greeting", greeting)
    offers = yield from _hello(manners, is_out=ahead)
    known.is_early, known.has_starttls = offers.has_early_pipelining, offers.has_starttls
    if is_tls_meant and (yield from _start_tls(manners, offers, is_out=is_tls_ahead)):
        is_safe = True
        second = b""
        if log_in is not None and ahead and known.is_early:
            second = log_in.ahead(known.mechanisms, is_safe)
        offers = yield from _hello(manners, second)  # RFC 3207 §4.2: what was said before is forgotten
    if log_in is not None:
        yield from log_in.converse(offers, is_safe)
        known.mechanisms = offers.mechanisms
    return offers


def _hello_command(manners: Manners) -> bytes:
    verb = "LHLO" if manners.is_lmtp else "EHLO"
    return f"{verb} {manners.hostname}\r\n".encode()


def _hello(manners: Manners, ahead: bytes = b"", *, is_out: bool = False) -> Handshake:
    """`ahead` goes out behind it. `is_out`: it was said before."""
    verb = "LHLO" if manners.is_lmtp else "EHLO"
    raw = yield Say(b"" if is_out else _hello_command(manners) + ahead, verb, is_early=is_out)
    reply = read_reply(raw)
    if reply.code // 100 == 2:
        return parse_offers(read_reply(raw, is_whole=True))
    if reply.is_permanent and not (manners.is_lmtp or is_out or ahead):  # RFC 5321 §3.2: then HELO
        helo = read_reply((yield Say(f"HELO {manners.hostname}\r\n".encode(), "HELO")))
        if helo.code // 100 == 2:
            return Offers()
        raise _refused("HELO", helo)
    raise _refused(verb, reply)


def _start_tls(manners: Manners, offers: Offers, *, is_out: bool) -> Generator[Say | StartTls, bytes, bool]:
    is_required = manners.tls == "required"
    if not offers.has_starttls:
        if is_out:
            raise HandshakeError("STARTTLS is not offered any more")
        if is_required:
            raise HandshakeError("TLS is required and the server does not offer STARTTLS", ENCRYPTION_NEEDED)
        return False
    reply = read_reply((yield Say(b"" if is_out else _STARTTLS, "STARTTLS", is_early=is_out)))
    if reply.code == 220:
        yield StartTls()
        return True
    if is_required or is_out or reply.code == 421:
        raise _refused("STARTTLS", reply)
    return False


class LogIn:
    """AUTH (RFC 4954), perhaps with its first command ahead of its turn."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._mechanism: str | None = None
        self._steps: Exchange
        self._first: bytes | None = None
        self._octets, self._is_held = b"", False

    def ahead(self, mechanisms: Sequence[str], is_safe: bool) -> bytes:
        """The AUTH command for what was offered last time; nothing when that was nothing."""
        mechanism = choose_mechanism(mechanisms, is_safe)
        if mechanism is None:
            return b""
        try:
            self._begin(mechanism)
        except SaslError:  # its turn will come, and then it is said
            self._mechanism = None
            return b""
        return self._octets

    def _begin(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._steps = exchange(mechanism, self._credentials)
        self._first = next(self._steps)
        self._octets, self._is_held = _auth_command(mechanism, self._first)

    def converse(self, offers: Offers, is_safe: bool) -> Generator[Say, bytes, None]:
        """To its end; HandshakeError."""
        username = self._credentials.username
        try:
            said = yield from self._converse(offers, is_safe)
        except SaslError as error:
            raise HandshakeError(f"the log-in as {username}: {error}", CREDENTIALS_BAD) from None
        if said < STEPS_MIN[self._mechanism or ""]:
            raise HandshakeError("the log-in: the server did not prove that it knows us", SECURITY)

    def _converse(self, offers: Offers, is_safe: bool) -> Generator[Say, bytes, int]:
        is_out = self._mechanism is not None
        mechanism = choose_mechanism(offers.mechanisms, is_safe)
        if is_out and mechanism != self._mechanism:
            raise HandshakeError("the log-in: the server offers other ways than last time", SECURITY)
        if mechanism is None:
            raise HandshakeError(_no_mechanism(offers, is_safe), SECURITY)
        if not is_out:
            self._begin(mechanism)
        octets, said = b"" if is_out else self._octets, 0 if self._first is None else 1
        while True:
            reply = read_reply((yield Say(octets, f"AUTH {mechanism}", is_early=is_out)))
            is_out = False
            if reply.code == 235:
                return said
            if reply.code != 334:
                raise _refused(f"the log-in as {self._credentials.username}", reply, CREDENTIALS_BAD)
            if self._is_held:
                octets, self._is_held = _line(self._first or b""), False
                continue
            answer = self._steps.send(_challenge(reply))
            said += 1
            octets = _line(answer or b"")


def _auth_command(mechanism: str, first: bytes | None) -> tuple[bytes, bool]:
    """The AUTH line, and whether the initial response was too long for it and must be said after 334."""
    if first is None:
        return f"AUTH {mechanism}\r\n".encode(), False
    encoded = base64.b64encode(first)
    if len(encoded) > _INITIAL_RESPONSE_MAX:
        return f"AUTH {mechanism}\r\n".encode(), True
    return f"AUTH {mechanism} ".encode() + encoded + b"\r\n", False


def _line(octets: bytes) -> bytes:
    return base64.b64encode(octets) + b"\r\n"


def _challenge(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.text.strip(), validate=True)
    except (binascii.Error, ValueError):
        if reply.text.isascii():
            return b""  # LOGIN of some servers asks in plain words
        raise SaslError("the server's challenge is not base64") from None


def _no_mechanism(offers: Offers, is_safe: bool) -> str:
    if not offers.mechanisms:
        return "a user name is set and the server offers no log-in" + (
            "" if is_safe else " on a connection without TLS"
        )
    words = " ".join(offers.mechanisms)
    if not is_safe and choose_mechanism(offers.mechanisms, True) is not None:
        return f"the connection is not encrypted, so the password is not sent (the server offers {words})"
    return f"the server offers no log-in that we know ({words})"


def _refused(what: str, reply: Reply, detail: Detail = BAD_CONNECTION) -> HandshakeError:
    return HandshakeError(f"{what}: {reply}", detail, reply)
