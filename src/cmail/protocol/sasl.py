"""SASL mechanisms, server side: PLAIN, LOGIN, SCRAM-SHA-256, as machines of octets (RFC 4422).

Base64, `*` and the codes of replies belong to the protocol around it. No input raises; whoever asks on
after the end gets a Failure."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from cmail.protocol.saslprep import NAME_OCTETS_MAX, PASSWORD_OCTETS_MAX, decode, prepare

MECHANISMS: Final = ("SCRAM-SHA-256", "PLAIN", "LOGIN")  # the strongest first
CLEARTEXT: Final = frozenset({"PLAIN", "LOGIN"})  # show the password to who listens (rule 19)
NONCE_OCTETS_MAX: Final = 256
MESSAGE_OCTETS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Challenge:
    """Octets for the client, and its response is awaited."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class CheckPassword:
    """The mechanism has ended; whether the password is right is asked elsewhere."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Without the password: this may land in a trace."""
        return f"CheckPassword(username={self.username!r})"


@dataclass(frozen=True, slots=True)
class Success:
    """Logged in as this account."""

    username: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Not logged in."""

    reason: str
    username: str = ""  # as far as it is known, for the log
    is_malformed: bool = False  # 501: not what the mechanism says
    is_temporary: bool = False  # 454: too many tries, or too busy


Step = Challenge | CheckPassword | Success | Failure


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps of a password for SCRAM-SHA-256 (RFC 5802 §3). For a user who does not
    exist they look the same and fit no password."""

    username: str  # the account's own name
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        """Without the keys."""
        return f"ScramKeys(username={self.username!r})"


class KeyStore(Protocol):
    """Where SCRAM finds its keys."""

    def scram_keys(self, username: str) -> ScramKeys | None:
        """The keys of an account, made-up ones for a name that nobody has; None: not now."""
        ...


class SaslServer(Protocol):
    """One log-in."""

    def next(self, response: bytes | None) -> Step:
        """What comes after this response; None at the start, when there was no initial response."""
        ...


def start(
    name: str, store: KeyStore, make_nonce: Callable[[], str] = secrets.token_urlsafe
) -> SaslServer | None:
    """The machine of a mechanism by its name in any case; None when we don't have it."""
    match name.upper():
        case "PLAIN":
            return Plain()
        case "LOGIN":
            return Login()
        case "SCRAM-SHA-256":
            return ScramSha256(store, make_nonce)
    return None


_MALFORMED: Final = Failure("not what the mechanism asks for", is_malformed=True)
_OVER: Final = Failure("the log-in has ended", is_malformed=True)


class Plain:
    """authzid NUL authcid NUL passwd, in one response (RFC 4616 §2)."""

    def __init__(self) -> None:
        self._is_over = False

    def next(self, response: bytes | None) -> Step:
        """See SaslServer."""
        if self._is_over:
            return _OVER
        if response is None:
            return Challenge(b"")
        self._is_over = True
        parts = response.split(b"\0", 3)
        if len(parts) != 3:
            return _MALFORMED
        username = decode(parts[1], NAME_OCTETS_MAX)
        password = decode(parts[2], PASSWORD_OCTETS_MAX)
        if username is None or password is None:
            return _MALFORMED
        if not _may_act_as(decode(parts[0], NAME_OCTETS_MAX) if parts[0] else "", username):
            return Failure("acting as somebody else is not offered", username)
        return CheckPassword(username, password)


class Login:
    """Asks for the name, then for the password; never a standard, still the only one of some."""

    def __init__(self) -> None:
        self._username: str | None = None
        self._is_over = False

    def next(self, response: bytes | None) -> Step:
        """See SaslServer. The initial response, where there is one, is the name."""
        if self._is_over:
            return _OVER
        if response is None:
            return Challenge(b"Username:" if self._username is None else b"Password:")
        if self._username is None:
            self._username = decode(response, NAME_OCTETS_MAX)
            if self._username is not None:
                return Challenge(b"Password:")
            self._is_over = True
            return _MALFORMED
        self._is_over = True
        password = decode(response, PASSWORD_OCTETS_MAX)
        return _MALFORMED if password is None else CheckPassword(self._username, password)


class ScramSha256:
    """SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677): the password never travels."""

    def __init__(self, store: KeyStore, make_nonce: Callable[[], str]) -> None:
        self._store = store
        self._make_nonce = make_nonce
        self._answer: Callable[[bytes], Step] = self._on_client_first
        self._keys: ScramKeys | None = None
        self._gs2_header = b""
        self._nonce = b""
        self._said = b""  # client-first-bare "," server-first

    def next(self, response: bytes | None) -> Step:
        """See SaslServer."""
        if response is None:
            if self._answer == self._on_client_first:
                return Challenge(b"")  # the client begins (RFC 5802 §5)
            response = b""
        answer, self._answer = self._answer, self._over
        return answer(response) if len(response) <= MESSAGE_OCTETS_MAX else _MALFORMED

    def _over(self, _response: bytes) -> Step:
        return _OVER

    def _on_client_first(self, response: bytes) -> Step:
        """gs2-cbind-flag "," ["a=" authzid] "," "n=" name "," "r=" nonce ["," extensions]"""
        parts = response.split(b",", 4)
        if len(parts) < 4 or parts[0] not in (b"n", b"y") or parts[2][:2] != b"n=":
            return _MALFORMED  # p=: channel binding, which is not offered (§6)
        username, nonce = _name(parts[2][2:]), parts[3].removeprefix(b"r=")
        if username is None or parts[3][:2] != b"r=" or not _is_nonce(nonce):
            return _MALFORMED
        authzid = _name(parts[1].removeprefix(b"a=")) if parts[1] else ""
        if (parts[1] and parts[1][:2] != b"a=") or not _may_act_as(authzid, username):
            return Failure("acting as somebody else is not offered", username)
        keys = self._keys = self._store.scram_keys(username)
        if keys is None:
            return Failure("too many tries or too busy", username, is_temporary=True)
        self._gs2_header = b",".join(parts[:2]) + b","
        self._nonce = nonce + self._make_nonce().encode()
        salt = base64.b64encode(keys.salt)
        server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, keys.iterations)
        self._said = response[len(self._gs2_header) :] + b"," + server_first
        self._answer = self._on_client_final
        return Challenge(server_first)

    def _on_client_final(self, response: bytes) -> Step:
        """ "c=" gs2-header "," "r=" nonce ["," extensions] ",p=" proof"""
        keys = self._keys
        assert keys is not None, "client-final comes after client-first"
        without_proof, _, proof_base64 = response.rpartition(b",p=")
        parts = without_proof.split(b",", 2)
        proof = _unbase64(proof_base64)
        if len(parts) < 2 or proof is None or len(proof) != hashlib.sha256().digest_size:
            return _MALFORMED
        if parts[0][:2] != b"c=" or _unbase64(parts[0][2:]) != self._gs2_header:
            return Failure("the channel binding does not match", keys.username)
        if not hmac.compare_digest(parts[1], b"r=" + self._nonce):
            return Failure("the nonce does not match", keys.username)
        said = self._said + b"," + without_proof
        if not _is_proof(proof, keys.stored_key, said):
            return Failure("authentication failure", keys.username)
        signature = hmac.digest(keys.server_key, said, "sha256")
        self._answer = self._on_empty
        return Challenge(b"v=" + base64.b64encode(signature))

    def _on_empty(self, response: bytes) -> Step:
        """The client has checked who we are (RFC 4954 §4: what comes with success goes before it)."""
        assert self._keys is not None
        return _MALFORMED if response else Success(self._keys.username)


def _is_proof(proof: bytes, stored_key: bytes, said: bytes) -> bool:
    """RFC 5802 §3: H(ClientProof XOR ClientSignature) = StoredKey."""
    signature = hmac.digest(stored_key, said, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), stored_key)


def _may_act_as(authzid: str | None, username: str) -> bool:
    return authzid is not None and authzid.lower() in ("", username.lower())


def _name(octets: bytes) -> str | None:
    """saslname: a comma is =2C, an equals sign =3D (RFC 5802 §5.1)."""
    if octets.count(b"=") != octets.count(b"=2C") + octets.count(b"=3D"):
        return None
    if len(octets) > NAME_OCTETS_MAX:
        return None
    try:
        return prepare(octets.decode().replace("=2C", ",").replace("=3D", "="))
    except UnicodeDecodeError:
        return None


def _is_nonce(octets: bytes) -> bool:
    return 0 < len(octets) <= NONCE_OCTETS_MAX and all(0x21 <= c <= 0x7E for c in octets)


def _unbase64(octets: bytes) -> bytes | None:
    try:
        return base64.b64decode(octets, validate=True)
    except ValueError:
        return None
