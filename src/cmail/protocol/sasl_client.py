"""Logging in to a server: PLAIN, LOGIN and SCRAM-SHA-256 as a client (RFC 4616, RFC 5802, RFC 7677)."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Final

SCRAM: Final = "SCRAM-SHA-256"
STEPS_MIN: Final = {SCRAM: 3, "PLAIN": 1, "LOGIN": 1}  # a 235 before them proves nothing of the server
ITERATIONS_MAX: Final = 1_000_000  # a third of a second of work; a server that asks for more wants harm

# A mechanism yields what the client says and is sent what the server says, both without base64.
# The first yield is the initial response, None when the server speaks first. SaslError: stop here.
Exchange = Generator[bytes | None, bytes, None]


class SaslError(Exception):
    """The log-in cannot go on; the text holds no secret."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are at the upstream server. The password is not printed."""

    username: str
    password: str = field(repr=False)


def choose_mechanism(offered: Sequence[str], is_safe: bool) -> str | None:
    """The best mechanism of those offered; `is_safe`: the password itself may be sent on this line."""
    best = (SCRAM, "PLAIN", "LOGIN") if is_safe else (SCRAM,)
    return next((mechanism for mechanism in best if mechanism in offered), None)


def exchange(mechanism: str, credentials: Credentials) -> Exchange:
    """The exchange of one mechanism that choose_mechanism() named."""
    return {SCRAM: _scram, "PLAIN": _plain, "LOGIN": _login}[mechanism](credentials)


def _plain(credentials: Credentials) -> Exchange:
    for value in (credentials.username, credentials.password):
        if "\0" in value:
            raise SaslError("the user name or password has a NUL in it")
    yield f"\0{credentials.username}\0{credentials.password}".encode()
    raise SaslError("the server asks for more than PLAIN has to say")


def _login(credentials: Credentials) -> Exchange:
    yield None
    yield credentials.username.encode()
    yield credentials.password.encode()
    raise SaslError("the server asks for more than LOGIN has to say")


def _scram(credentials: Credentials) -> Exchange:
    from scramp import ScramClient, ScramException  # slow to import; only who logs in pays

    try:
        client = ScramClient([SCRAM], credentials.username, credentials.password)
        challenge = yield client.get_client_first().encode()
        _check_iterations(challenge)
        client.set_server_first(challenge.decode("ascii", "replace"))
        final = yield client.get_client_final().encode()
        client.set_server_final(final.decode("ascii", "replace"))  # the server proves that it knows us
        yield b""
    except ScramException as error:
        raise SaslError(f"SCRAM: {error}".splitlines()[0]) from None
    raise SaslError("the server asks for more than SCRAM has to say")


def _check_iterations(challenge: bytes) -> None:
    count = next((part[2:] for part in challenge.split(b",") if part.startswith(b"i=")), b"0")
    if not count.isdigit() or len(count) > 7 or int(count) > ITERATIONS_MAX:
        raise SaslError(f"SCRAM: the server asks for more than {ITERATIONS_MAX} rounds")
