"""CRAM-MD5, server side, and its digest: all that real programs for ATRN know (RFC 2195, RFC 2645 §5.1.2).

It needs the password itself, so it is there only for who has one in a file of the settings, and never for
accounts."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

from cmail.protocol.sasl import Challenge, Failure, KeyStore, Step, Success
from cmail.protocol.saslprep import NAME_OCTETS_MAX, decode

CRAM_MD5: Final = "CRAM-MD5"
RESPONSE_OCTETS_MAX: Final = NAME_OCTETS_MAX + 33
_MD5: Final = partial(hashlib.md5, usedforsecurity=False)  # or a kernel in FIPS mode raises

SecretOf = Callable[[str], str]  # the password that somebody by this name has; "": nobody has it


def digest(password: str, challenge: bytes) -> bytes:
    """HMAC-MD5 in hexadecimal, lower case (RFC 2195 §2)."""
    return hmac.new(password.encode(), challenge, _MD5).hexdigest().encode()


class CramMd5:
    """A challenge, and its digest under a password that both know. See SaslServer."""

    def __init__(
        self,
        store: KeyStore,
        password_of: SecretOf,
        hostname: str,
        make_nonce: Callable[[], str] = secrets.token_hex,
    ) -> None:
        """`store` says whether a log-in by a name may be tried now, and what its whole name is."""
        self._store = store
        self._password_of = password_of
        self._challenge = f"<{make_nonce()}@{hostname}>".encode()
        self._is_asked = self._is_over = False

    def next(self, response: bytes | None) -> Step:
        """See SaslServer. The server speaks first: there is no initial response."""
        if response is None and not self._is_asked:
            self._is_asked = True
            return Challenge(self._challenge)
        is_expected = self._is_asked and not self._is_over
        self._is_over = True
        if not is_expected or response is None or len(response) > RESPONSE_OCTETS_MAX:
            return Failure("not what the mechanism asks for", is_malformed=True)
        name, blank, said = response.rpartition(b" ")
        username = decode(name, NAME_OCTETS_MAX)
        if not blank or username is None:
            return Failure("not what the mechanism asks for", is_malformed=True)
        return self._judge(username, said)

    def _judge(self, username: str, said: bytes) -> Step:
        keys = self._store.scram_keys(username)
        if keys is None:
            return Failure("too many tries or too busy", username, is_temporary=True)
        password = self._password_of(keys.username)
        expected = digest(password or secrets.token_hex(), self._challenge)  # nobody's takes the same time
        if not hmac.compare_digest(expected, said.lower()) or not password:
            return Failure("authentication failure", keys.username)
        return Success(keys.username)
