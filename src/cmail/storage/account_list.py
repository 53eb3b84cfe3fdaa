"""Users and aliases of DATA/accounts.sqlite3 in pages and by search; ten thousand are quick. It blocks."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import apsw

from cmail.storage.account_book import BUSY_MS, FILE_NAME, AccountError, Alias

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class UserRow:
    """An account, as it is listed."""

    address: str
    created_ms: int
    changed_ms: int  # the password
    targets: tuple[str, ...] = ()  # of the alias of the same name: where its mail goes too


@dataclass(frozen=True, slots=True)
class UserPage:
    """Some of the users that were found."""

    rows: Sequence[UserRow]
    count: int  # all that were found


@dataclass(frozen=True, slots=True)
class AliasPage:
    """Some of the aliases that were found."""

    rows: Sequence[Alias]
    count: int


_BY_DOMAIN: Final = "ORDER BY substr(address, instr(address, '@')), address LIMIT ? OFFSET ?"
_LIKE: Final = "address LIKE ? ESCAPE '\\'"


class AccountList:
    """Reads alone. AccountError: there is no reading them."""

    def __init__(self, data_dir: str) -> None:
        self._path = os.path.join(data_dir, FILE_NAME)

    def users(self, text: str = "", *, after: int = 0, limit: int = PAGE) -> UserPage:
        """Those whose address has this text in it, by domain and name."""
        with self._open() as db:
            pattern = _pattern(text)
            [[count]] = db.execute(f"SELECT count(*) FROM users WHERE {_LIKE}", (pattern,))
            sql = f"SELECT address, created_ms, changed_ms FROM users WHERE {_LIKE} {_BY_DOMAIN}"
            found = list(db.execute(sql, (pattern, limit, after)))
            return UserPage([_user(db, *row) for row in found], count)

    def user(self, address: str) -> UserRow | None:
        """One of them, by its whole address."""
        with self._open() as db:
            sql = "SELECT address, created_ms, changed_ms FROM users WHERE address=?"
            row = db.execute(sql, (address.lower(),)).fetchone()
            return _user(db, *row) if row else None

    def aliases(self, text: str = "", *, after: int = 0, limit: int = PAGE) -> AliasPage:
        """Those with this text in their address or in one that they lead to."""
        with self._open() as db:
            pattern = _pattern(text)
            found = f"SELECT DISTINCT address FROM aliases WHERE {_LIKE} OR target LIKE ? ESCAPE '\\'"
            [[count]] = db.execute(f"SELECT count(*) FROM ({found})", (pattern, pattern))
            rows = list(
                db.execute(f"SELECT address FROM ({found}) {_BY_DOMAIN}", (*[pattern] * 2, limit, after))
            )
            return AliasPage([Alias(address, _targets(db, address)) for (address,) in rows], count)

    def alias(self, address: str) -> Alias | None:
        """One of them, by its whole address."""
        with self._open() as db:
            targets = _targets(db, address.lower())
            return Alias(address.lower(), targets) if targets else None

    def leading_to(self, address: str, limit: int = PAGE) -> list[str]:
        """The aliases that name an address."""
        with self._open() as db:
            sql = "SELECT address FROM aliases WHERE target=? AND address<>? ORDER BY address LIMIT ?"
            return [row[0] for row in db.execute(sql, (address, address, limit))]

    def existing(self, names: Sequence[str]) -> tuple[frozenset[str], dict[str, tuple[str, ...]]]:
        """Of these names, in lower case: the users, and the aliases with their targets."""
        with self._open() as db:
            some, within = (json.dumps(list(names)),), "IN (SELECT value FROM json_each(?))"
            users = frozenset(
                row[0] for row in db.execute(f"SELECT address FROM users WHERE address {within}", some)
            )
            aliases = list(db.execute(f"SELECT DISTINCT address FROM aliases WHERE address {within}", some))
            return users, {address: _targets(db, address) for (address,) in aliases}

    @contextmanager
    def _open(self) -> Iterator[apsw.Connection]:
        try:
            db = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READWRITE)
        except apsw.Error as error:
            raise AccountError(f"{self._path} cannot be opened: {error}") from None
        try:
            db.set_busy_timeout(BUSY_MS)
            with db:  # all that is read is of one moment
                yield db
        except apsw.Error as error:
            raise AccountError(f"{self._path} cannot be read: {error}") from None
        finally:
            db.close()


def _user(db: apsw.Connection, address: str, created_ms: int, changed_ms: int) -> UserRow:
    return UserRow(address, created_ms, changed_ms, _targets(db, address))


def _targets(db: apsw.Connection, address: str) -> tuple[str, ...]:
    rows = db.execute("SELECT target FROM aliases WHERE address=? ORDER BY position", (address,))
    return tuple(row[0] for row in rows)


def _pattern(text: str) -> str:
    """Anything with this text in it; what means something to LIKE means itself."""
    for sign in ("\\", "%", "_"):
        text = text.replace(sign, f"\\{sign}")
    return f"%{text.lower()}%"
