"""Logging in to an IMAP server: AUTHENTICATE (RFC 3501 §6.2.2, RFC 4959), else LOGIN."""

import base64
import binascii
from collections.abc import Collection, Generator
from dataclasses import dataclass

from cmail.protocol.imap_client import Continue, Tagged
from cmail.protocol.imap_client_data import argument
from cmail.protocol.pop3_client import LogInError, Status
from cmail.protocol.sasl_client import STEPS_MIN, Credentials, SaslError, choose_mechanism, exchange


@dataclass(frozen=True, slots=True)
class Send:
    """Octets without their line end: a command, or what a `+` asked for."""

    octets: bytes
    is_command: bool = False


LogIn = Generator[Send, Continue | Tagged, None]


def log_in(credentials: Credentials, capabilities: Collection[str], is_safe: bool) -> LogIn:
    """Yields what to send, is sent what came. LogInError: refused, or it cannot be done here."""
    mechanisms = [name.removeprefix("AUTH=") for name in capabilities if name.startswith("AUTH=")]
    mechanism = choose_mechanism(mechanisms, is_safe)
    if mechanism is not None:
        yield from _authenticate(mechanism, credentials, "SASL-IR" in capabilities)
    elif not is_safe:
        raise LogInError("the connection is not encrypted, so the password is not sent")
    elif "LOGINDISABLED" in capabilities:
        raise LogInError(f"the server offers no log-in that we know ({' '.join(mechanisms)})")
    else:
        yield from send_arguments(b"LOGIN", (credentials.username, credentials.password))


def _authenticate(mechanism: str, credentials: Credentials, takes_initial: bool) -> LogIn:
    steps = exchange(mechanism, credentials)
    try:
        first = next(steps)
        is_sent = first is not None and takes_initial
        initial = b" " + (base64.b64encode(first) or b"=") if first is not None and is_sent else b""
        said = int(is_sent)
        answer = yield Send(b"AUTHENTICATE " + mechanism.encode() + initial, True)
        while isinstance(answer, Continue):
            response = first if said == 0 and first is not None else steps.send(_challenge(answer))
            said += 1
            answer = yield Send(base64.b64encode(response or b""))
    except SaslError as error:
        raise LogInError(str(error)) from None
    _check(answer)
    if said < STEPS_MIN[mechanism]:
        raise LogInError("the server did not prove that it knows us")


def send_arguments(verb: bytes, arguments: tuple[str, ...]) -> LogIn:
    """A command whose arguments may be anything: each quoted, or a literal (RFC 3501 §4.3)."""
    octets, is_command = verb, True
    for text in arguments:
        quoted = argument(text)
        if quoted is not None:
            octets += b" " + quoted
            continue
        if "\0" in text:
            raise LogInError("the user name or password has a NUL in it")
        literal = text.encode()
        answer = yield Send(octets + b" {%d}" % len(literal), is_command)
        if not isinstance(answer, Continue):
            _check(answer)
            raise LogInError("the server did not wait for the user name or password")
        octets, is_command = literal, False
    answer = yield Send(octets, is_command)
    if isinstance(answer, Continue):
        raise LogInError("the server asks for more than there is to say")
    _check(answer)


def _check(answer: Tagged) -> None:
    if not answer.is_ok:
        status = Status(False, answer.text, answer.code)
        raise LogInError("the server refuses the log-in", status)


def _challenge(answer: Continue) -> bytes:
    try:
        return base64.b64decode(answer.octets.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""  # LOGIN of some servers asks in plain words
