"""Keys: who may use the page and the API: one password, a link that works once, tokens with scopes.

Kept in DATA/secrets, readable for the server alone; of password and tokens only hashes. All of it blocks."""

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cmail.storage import durable
from cmail.storage.passwords import PasswordError, is_password, make_credential

PASSWORD_MIN: Final = 8  # characters
LINK_OCTETS: Final = 24
TOKEN_OCTETS: Final = 32
TOKENS_MAX: Final = 1000
NAME_MAX: Final = 64
SCOPES: Final = ("read", "send", "admin")  # admin may do all
_FILE_OCTETS_MAX: Final = 1 << 20


class KeysError(Exception):
    """What was asked cannot be done; says why, in words for a person."""


@dataclass(frozen=True, slots=True)
class Token:
    """Of the API; its text is known only to who was given it."""

    name: str
    scope: str
    made_wall_ms: int

    def may(self, scope: str) -> bool:
        """Whether it is good for this."""
        return self.scope in (scope, "admin")


class Keys:
    """Of one data folder."""

    def __init__(self, data_dir: str) -> None:
        self._folder = os.path.join(data_dir, "secrets")

    # The password.

    def has_password(self) -> bool:
        """Whether the first run is over."""
        return bool(self._read("admin-password"))

    def set_password(self, text: str) -> None:
        """From now on this one; a link that was not used yet is void. KeysError: it cannot be one."""
        if len(text) < PASSWORD_MIN:
            raise KeysError(f"the password needs at least {PASSWORD_MIN} characters")
        try:
            credential = make_credential("admin", text)
        except PasswordError as error:
            raise KeysError(str(error)) from None
        self._write("admin-password", credential.password_hash)
        self._forget_link()

    def is_password(self, text: str) -> bool:
        """Whether it is the one. Takes 20 ms, also when there is none."""
        return is_password(self._read("admin-password") or _NOBODYS, text)

    # The link.

    def link(self) -> str:
        """The secret part of the link of the first run: the same until it is used."""
        return self._read("first-link") or self.new_link()

    def new_link(self) -> str:
        """A link with which a (new) password can be set, once; those of before are void."""
        text = secrets.token_urlsafe(LINK_OCTETS)
        self._write("first-link", text)
        return text

    def is_link(self, text: str) -> bool:
        """Whether it is the one that was given out last and is not used yet."""
        known = self._read("first-link")
        return bool(known) and hmac.compare_digest(known.encode(), text.encode())

    def _forget_link(self) -> None:
        durable.remove(os.path.join(self._folder, "first-link"))
        durable.sync_folder(self._folder)

    # Tokens.

    def add_token(self, name: str, scope: str) -> str:
        """A new token; its text is told only here. KeysError: there is one of this name, or no such scope."""
        if not name or len(name) > NAME_MAX or not name.isprintable():
            raise KeysError(f"the name of a token has 1 to {NAME_MAX} printing characters")
        if scope not in SCOPES:
            raise KeysError(f"there is no scope {scope!r}: it is one of {', '.join(SCOPES)}")
        tokens = self._tokens()
        if any(token["name"] == name for token in tokens):
            raise KeysError(f"there is a token named {name!r} already")
        if len(tokens) >= TOKENS_MAX:
            raise KeysError(f"there are {TOKENS_MAX} tokens already")
        text = f"cmail_{secrets.token_urlsafe(TOKEN_OCTETS)}"
        made = time.time_ns() // 1_000_000
        self._write_tokens([*tokens, {"name": name, "scope": scope, "made": made, "sha256": _hash(text)}])
        return text

    def tokens(self) -> Sequence[Token]:
        """All of them."""
        return [Token(each["name"], each["scope"], each["made"]) for each in self._tokens()]

    def delete_token(self, name: str) -> None:
        """It works no more. KeysError: there is none of this name."""
        tokens = self._tokens()
        left = [token for token in tokens if token["name"] != name]
        if len(left) == len(tokens):
            raise KeysError(f"there is no token named {name!r}")
        self._write_tokens(left)

    def find_token(self, text: str) -> Token | None:
        """Whose it is. A token has 256 bits: its hash needs no salt, and comparing it tells nothing."""
        wanted = _hash(text)
        for each in self._tokens():
            if hmac.compare_digest(each["sha256"], wanted):
                return Token(each["name"], each["scope"], each["made"])
        return None

    def _tokens(self) -> list[dict[str, Any]]:
        text = self._read("tokens.json")
        try:
            found: list[dict[str, Any]] = json.loads(text) if text else []
        except ValueError:
            raise KeysError(
                f"{self._folder}/tokens.json is damaged: remove it, and make new tokens"
            ) from None
        return found

    def _write_tokens(self, tokens: Sequence[dict[str, Any]]) -> None:
        self._write("tokens.json", json.dumps(tokens))

    # Files.

    def _read(self, name: str) -> str:
        try:
            fd = os.open(os.path.join(self._folder, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return ""
        with open(fd, "rb") as file:
            return file.read(_FILE_OCTETS_MAX).decode("utf-8", "replace").strip()

    def _write(self, name: str, text: str) -> None:
        durable.make_folder(self._folder)
        durable.write_durably(os.path.join(self._folder, name), text.encode() + b"\n")


# Of a password that nobody has: it takes as long to be wrong.
_NOBODYS: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIG91cnM$q6mF3mMtmNJz1oGqbbHqhLkM0m6yXIzYhHrWpyfYq4g"
)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
