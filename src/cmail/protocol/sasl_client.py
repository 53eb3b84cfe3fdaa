"""Logging in to a server as a client: SCRAM-SHA-256, PLAIN, LOGIN, and CRAM-MD5 where there is nothing better
(RFC 7677, RFC 5802, RFC 4616, RFC 2195)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cmail.protocol.cram_md5 import CRAM_MD5, digest
from cmail.protocol.saslprep import prepare

SCRAM: Final = "SCRAM-SHA-256"
# A 235 before them proves nothing of the server.
STEPS_MIN: Final = {SCRAM: 3, "PLAIN": 1, "LOGIN": 1, CRAM_MD5: 1}
ROUNDS_MAX: Final = 1_000_000  # a third of a second of work; a server that asks for more wants harm

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
    best = (SCRAM, "PLAIN", "LOGIN", CRAM_MD5) if is_safe else (SCRAM, CRAM_MD5)
    return next((mechanism for mechanism in best if mechanism in offered), None)


def exchange(mechanism: str, credentials: Credentials) -> Exchange:
    """The exchange of one mechanism that choose_mechanism() named."""
    ways = {SCRAM: _scram, "PLAIN": _plain, "LOGIN": _login, CRAM_MD5: _cram_md5}
    return ways[mechanism](credentials)


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


def _cram_md5(credentials: Credentials) -> Exchange:
    """RFC 2195 §2: servers for ATRN often have nothing else."""
    challenge = yield None
    if not challenge:  # the same answer each time: whoever has heard it once could say it
        raise SaslError("CRAM-MD5: the server gives no challenge")
    yield f"{credentials.username} ".encode() + digest(credentials.password, challenge)
    raise SaslError("the server asks for more than CRAM-MD5 has to say")


def _scram(credentials: Credentials) -> Exchange:
    """RFC 5802 §3, without channel binding. Ours, because the library costs a worker 16 MB."""
    username, password = _prepare(credentials.username), _prepare(credentials.password)
    name = username.replace("=", "=3D").replace(",", "=2C").encode()
    nonce = secrets.token_urlsafe(18).encode()
    first_bare = b"n=" + name + b",r=" + nonce
    server_first = yield b"n,," + first_bare
    values = _attributes(server_first)
    whole_nonce, salt, rounds = values.get(b"r", b""), _salt(values), _rounds(values)
    if not whole_nonce.startswith(nonce) or len(whole_nonce) == len(nonce):
        raise SaslError("SCRAM: the server's nonce does not continue ours")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    without_proof = b"c=biws,r=" + whole_nonce  # biws: base64 of n,,
    said = b",".join((first_bare, server_first, without_proof))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    server_final = yield without_proof + b",p=" + base64.b64encode(proof)
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    expected = b"v=" + base64.b64encode(hmac.digest(server_key, said, "sha256"))
    if not hmac.compare_digest(server_final.split(b",")[0], expected):
        raise SaslError("SCRAM: the server does not know our password")  # somebody else answers
    yield b""
    raise SaslError("the server asks for more than SCRAM has to say")


def _prepare(text: str) -> str:
    prepared = prepare(text)
    if prepared is None:
        raise SaslError("the user name or password has a character that no log-in may have")
    return prepared


def _attributes(octets: bytes) -> dict[bytes, bytes]:
    """name=value, parted by commas; m= is an extension that must be understood (RFC 5802 §5.1)."""
    values = {part[:1]: part[2:] for part in octets.split(b",") if part[1:2] == b"="}
    if b"m" in values:
        raise SaslError("SCRAM: the server demands an extension that we don't know")
    return values


def _salt(values: dict[bytes, bytes]) -> bytes:
    try:
        return base64.b64decode(values.get(b"s", b""), validate=True)
    except ValueError:
        raise SaslError("SCRAM: the salt is not base64") from None


def _rounds(values: dict[bytes, bytes]) -> int:
    count = values.get(b"i", b"")
    if not count.isdigit() or len(count) > 7 or not 1 <= int(count) <= ROUNDS_MAX:
        raise SaslError(f"SCRAM: the server asks for none or more than {ROUNDS_MAX} rounds")
    return int(count)
