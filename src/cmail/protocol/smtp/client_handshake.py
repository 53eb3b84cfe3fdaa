"""From the greeting to the first MAIL: EHLO, STARTTLS, AUTH as a conversation without I/O (RFC 5321 §3.1)."""

import base64
import binascii
from collections.abc import Generator
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
from cmail.protocol.sasl_client import STEPS_MIN, Credentials, SaslError, choose_mechanism, exchange
from cmail.protocol.smtp.client_offers import Offers, parse_offers
from cmail.protocol.smtp.client_replies import read_reply

_INITIAL_RESPONSE_MAX: Final = 480  # RFC 4954 §4: the AUTH command must fit in 512 octets


@dataclass(frozen=True, slots=True)
class Manners:
    """How we are to speak to this host."""

    hostname: str  # our name in EHLO
    tls: Literal["none", "opportunistic", "required"] = "none"  # implicit TLS is there before the greeting
    credentials: Credentials | None = None
    is_lmtp: bool = False
    is_encrypted: bool = False  # already, by implicit TLS
    is_loopback: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """Send these octets (none: only listen) and give back the reply."""

    octets: bytes
    name: str  # of the stage, for people; holds no secret
    timeout_s: float = CLIENT_MAIL_TIMEOUT_S


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
    greeting = read_reply((yield Say(b"", "the greeting", CLIENT_GREETING_TIMEOUT_S)))
    if greeting.code // 100 != 2:
        raise _refused("the greeting", greeting)
    offers = yield from _hello(manners)
    is_encrypted = manners.is_encrypted
    if manners.tls != "none" and not is_encrypted:
        is_encrypted = yield from _start_tls(manners, offers)
        if is_encrypted:
            offers = yield from _hello(manners)  # RFC 3207 §4.2: what was said before is forgotten
    if manners.credentials is not None:
        yield from _log_in(manners.credentials, offers, is_encrypted or manners.is_loopback)
    return offers


def _hello(manners: Manners) -> Handshake:
    verb = "LHLO" if manners.is_lmtp else "EHLO"
    raw = yield Say(f"{verb} {manners.hostname}\r\n".encode(), verb)
    reply = read_reply(raw)
    if reply.code // 100 == 2:
        return parse_offers(read_reply(raw, is_whole=True))
    if reply.is_permanent and not manners.is_lmtp:  # RFC 5321 §3.2: then HELO
        helo = read_reply((yield Say(f"HELO {manners.hostname}\r\n".encode(), "HELO")))
        if helo.code // 100 == 2:
            return Offers()
        raise _refused("HELO", helo)
    raise _refused(verb, reply)


def _start_tls(manners: Manners, offers: Offers) -> Generator[Say | StartTls, bytes, bool]:
    is_required = manners.tls == "required"
    if not offers.has_starttls:
        if is_required:
            raise HandshakeError("TLS is required and the server does not offer STARTTLS", ENCRYPTION_NEEDED)
        return False
    reply = read_reply((yield Say(b"STARTTLS\r\n", "STARTTLS")))
    if reply.code == 220:
        yield StartTls()
        return True
    if is_required or reply.code == 421:
        raise _refused("STARTTLS", reply)
    return False


def _log_in(credentials: Credentials, offers: Offers, is_safe: bool) -> Generator[Say, bytes, None]:
    mechanism = choose_mechanism(offers.mechanisms, is_safe)
    if mechanism is None:
        raise HandshakeError(_no_mechanism(offers, is_safe), SECURITY)
    steps = exchange(mechanism, credentials)
    try:
        first = next(steps)
        said = 0 if first is None else 1
        octets, is_held = _auth_command(mechanism, first)
        while True:
            reply = read_reply((yield Say(octets, f"AUTH {mechanism}")))
            if reply.code == 235:
                break
            if reply.code != 334:
                raise _refused(f"the log-in as {credentials.username}", reply, CREDENTIALS_BAD)
            if is_held:
                octets, is_held = _line(first or b""), False
                continue
            answer = steps.send(_challenge(reply))
            said += 1
            octets = _line(answer or b"")
    except SaslError as error:
        raise HandshakeError(f"the log-in as {credentials.username}: {error}", CREDENTIALS_BAD) from None
    if said < STEPS_MIN[mechanism]:
        raise HandshakeError("the log-in: the server did not prove that it knows us", SECURITY)


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
