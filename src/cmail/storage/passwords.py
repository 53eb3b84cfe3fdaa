"""What is kept of a password: an argon2id hash, and the keys of SCRAM-SHA-256. Slow on purpose.

All of it takes 10-50 ms: call it from a thread or a command, never in the event loop (rule 5)."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

import argon2

from cmail.protocol.sasl import ScramKeys
from cmail.protocol.saslprep import PASSWORD_OCTETS_MAX, prepare

SCRAM_ITERATIONS: Final = 15_000  # RFC 7677 §4: at least 4096, and more where clients bear it
SALT_OCTETS: Final = 16

# argon2id, two passes over 19 MiB: 20 ms, and what OWASP asks at least.
_HASHER: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@dataclass(frozen=True, slots=True)
class Credential:
    """One account's secrets; none of them is the password."""

    password_hash: str
    keys: ScramKeys

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Credential(username={self.keys.username!r})"


class PasswordError(ValueError):
    """A password that cannot be one."""


def make_credential(username: str, password: str) -> Credential:
    """What is to be kept; PasswordError when a mail program could not send this password."""
    prepared = prepare(password)
    if prepared is None:
        raise PasswordError("the password is empty or has a control character in it")
    if len(prepared.encode()) > PASSWORD_OCTETS_MAX:
        raise PasswordError(f"the password is longer than {PASSWORD_OCTETS_MAX} octets")
    salt = secrets.token_bytes(SALT_OCTETS)
    return Credential(_HASHER.hash(prepared), _scram_keys(username, prepared, salt))


def is_password(password_hash: str, password: str) -> bool:
    """Whether it is the one; `password` is prepared already."""
    try:
        return _HASHER.verify(password_hash, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def nobodys_hash() -> str:
    """A hash that fits nothing, checked for names that nobody has: it takes the same time."""
    return _HASHER.hash(secrets.token_hex())


def nobodys_keys(username: str, secret: bytes) -> ScramKeys:
    """SCRAM keys for a name that nobody has: always the same for one name, as a real account's, and
    no proof fits them."""

    def some(what: bytes) -> bytes:
        return hmac.digest(secret, what + b"\0" + username.encode(), "sha256")

    salt = some(b"salt")[:SALT_OCTETS]
    return ScramKeys(username, salt, SCRAM_ITERATIONS, some(b"stored"), some(b"server"))


def _scram_keys(username: str, password: str, salt: bytes) -> ScramKeys:
    """RFC 5802 §3."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return ScramKeys(username, salt, SCRAM_ITERATIONS, stored_key, server_key)
