"""KnownPlaces: from where accounts have logged in, as all workers know it at once.

A table in memory that the supervisor makes and every process inherits: a log-in at one worker is known to
the others at once, and to one that was restarted. Nobody locks: an entry is eight octets, written in one go;
one that is torn or was pushed out is a place that is not known, and a log-in there may have to wait."""

import hashlib
import mmap
import secrets
from typing import Final

_OCTETS: Final = 8  # of an entry: a keyed digest, which tells nothing to who reads our memory
_WAYS: Final = 4  # entries that share a row
ENTRIES_MAX: Final = 65_536  # 512 KiB; only who knows a password adds one


class KnownPlaces:
    """Remembers keys; may forget one when there are very many."""

    def __init__(self, entries: int = ENTRIES_MAX) -> None:
        self._rows = max(1, entries // _WAYS)
        self._table = mmap.mmap(-1, self._rows * _WAYS * _OCTETS)  # shared with who is forked later
        self._key = secrets.token_bytes(32)

    def add(self, account: str, place: str) -> None:
        """The account has logged in from there, so somebody has."""
        self._add(place)
        self._add(f"{account}\0{place}")

    def has(self, account: str, place: str) -> bool:
        """Whether the account has logged in from there."""
        return self._find(f"{account}\0{place}") >= 0

    def has_anybody(self, place: str) -> bool:
        """Whether any account has."""
        return self._find(place) >= 0

    def _add(self, text: str) -> None:
        if self._find(text) >= 0:
            return
        digest = self._digest(text)
        start = self._start(digest)
        row = self._table[start : start + _WAYS * _OCTETS]
        free = [at for at in range(0, len(row), _OCTETS) if not any(row[at : at + _OCTETS])]
        at = start + (free[0] if free else secrets.randbelow(_WAYS) * _OCTETS)
        self._table[at : at + _OCTETS] = digest

    def _find(self, text: str) -> int:
        digest = self._digest(text)
        start = self._start(digest)
        for at in range(start, start + _WAYS * _OCTETS, _OCTETS):
            if self._table[at : at + _OCTETS] == digest:
                return at
        return -1

    def _start(self, digest: bytes) -> int:
        return int.from_bytes(digest, "big") % self._rows * _WAYS * _OCTETS

    def _digest(self, text: str) -> bytes:
        octets = text.encode("utf-8", "replace")
        return hashlib.blake2b(octets, key=self._key, digest_size=_OCTETS).digest()
