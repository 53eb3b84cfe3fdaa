"""AccountBook: users and aliases in DATA/accounts.sqlite3, as commands change them. It blocks."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import apsw

from cmail.mail.address import Address, AddressSyntaxError, parse_address, parse_domain
from cmail.mail.limits import ALIAS_TARGETS_MAX, LOCAL_PART_OCTETS_MAX
from cmail.policy.rewriting import Directory, Unknown
from cmail.protocol.sasl import ScramKeys
from cmail.storage import durable
from cmail.storage.passwords import Credential, PasswordError, make_credential

FILE_NAME: Final = "accounts.sqlite3"
BUSY_MS: Final = 10_000  # another command, or a worker that reads

# Forward only, each in one transaction; user_version says how many are done.
STEPS: Final = (
    """
    CREATE TABLE users (
        address TEXT PRIMARY KEY, password_hash TEXT NOT NULL, salt BLOB NOT NULL,
        iterations INTEGER NOT NULL, stored_key BLOB NOT NULL, server_key BLOB NOT NULL,
        created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE aliases (
        address TEXT NOT NULL, position INTEGER NOT NULL, target TEXT NOT NULL,
        PRIMARY KEY (address, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO secrets VALUES ('nobody', randomblob(32));
    """,
)


class AccountError(Exception):
    """What was asked cannot be done; says why, in words for the person at the terminal."""


class AccountsTooNewError(AccountError):
    """A newer version of this program has written them: starting again cannot help."""


@dataclass(frozen=True, slots=True)
class User:
    """An account, for lists."""

    address: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Alias:
    """An address (or @domain, the catch-all) and where it leads."""

    address: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """All that is in the book, as of one moment."""

    credentials: dict[str, Credential]  # by address, lower case
    aliases: dict[str, tuple[str, ...]]
    nobody_secret: bytes


class AccountBook:
    """Open with `with`. Names are written in lower case; a bare name gets the first domain, and the
    host name means it too. Whoever changes something tells the workers (accounts.changed)."""

    def __init__(
        self,
        data_dir: str,
        *,
        domains: tuple[str, ...],
        hostname: str,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        creates: bool = True,
    ) -> None:
        """`creates`: an empty book is begun where there is none. Who serves must not: that the file is away
        (a disk that is not mounted) does not mean that nobody has an account."""
        self._domains = domains
        self._hostname = hostname.lower()
        self._wall_ms = wall_ms
        self._db = _open(os.path.join(data_dir, FILE_NAME), creates)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is left open."""
        self._db.close()

    # Users

    def add_user(self, name: str, password: str) -> str:
        """A new account; its address, as it is kept."""
        address = self.address_of(name)
        if self._has_user(address):
            raise AccountError(f"{address} exists already (cmail user passwd changes its password)")
        targets = self._targets(address)
        if targets and address not in targets:
            raise AccountError(f"{address} is an alias for {', '.join(targets)}: delete that first")
        credential = _credential(address, password)
        now = self._wall_ms()
        row = (address, *_columns(credential), now, now)
        self._change([("INSERT INTO users VALUES (?,?,?,?,?,?,?,?)", row)])
        return address

    def set_password(self, name: str, password: str) -> str:
        """Another password; the old one is worth nothing when the workers have been told."""
        address = self._existing(name)
        row = (*_columns(_credential(address, password)), self._wall_ms(), address)
        columns = "password_hash=?, salt=?, iterations=?, stored_key=?, server_key=?, changed_ms=?"
        self._change([(f"UPDATE users SET {columns} WHERE address=?", row)])
        return address

    def delete_user(self, name: str) -> str:
        """The account goes; its stored mail stays where it is. An alias of the same name, which only
        made its mail go elsewhere too, stays without it."""
        address = self._existing(name)
        own = ("DELETE FROM aliases WHERE address=? AND target=?", (address, address))
        self._change([("DELETE FROM users WHERE address=?", (address,)), own])
        return address

    def users(self) -> list[User]:
        """All accounts, by domain and name."""
        found = [User(*row) for row in self._db.execute("SELECT address, created_ms FROM users")]
        return sorted(found, key=lambda user: user.address.rpartition("@")[::-1])

    # Aliases

    def add_alias(self, name: str, targets: Sequence[str], *, is_replaced: bool = False) -> Alias:
        """A new alias; `@example.org` catches all of a domain. A user may have one that names the user
        too: then mail stays here and goes on."""
        address = self._alias_name(name)
        written = tuple(dict.fromkeys(self._target(target) for target in targets))
        if not written:
            raise AccountError(f"{address} needs at least one address to lead to")
        if len(written) > ALIAS_TARGETS_MAX:
            raise AccountError(f"an alias leads to {ALIAS_TARGETS_MAX} addresses at most")
        is_user = self._has_user(address)
        if is_user and address not in written:
            raise AccountError(
                f"{address} is a user; to keep a copy there and send it on, name {address} as a target too"
            )
        if not is_user and written == (address,):
            raise AccountError(f"{address} would lead to itself alone")
        if self._targets(address) and not is_replaced:
            raise AccountError(f"the alias {address} exists already")
        rows = [
            ("INSERT INTO aliases VALUES (?,?,?)", (address, position, target))
            for position, target in enumerate(written)
        ]
        self._change([("DELETE FROM aliases WHERE address=?", (address,)), *rows])
        return Alias(address, written)

    def delete_alias(self, name: str) -> str:
        """The alias goes."""
        address = self._alias_name(name)
        if not self._targets(address):
            raise AccountError(f"there is no alias {address}")
        self._change([("DELETE FROM aliases WHERE address=?", (address,))])
        return address

    def aliases(self) -> list[Alias]:
        """All aliases, by domain and name."""
        found = [Alias(address, targets) for address, targets in self._all_aliases().items()]
        return sorted(found, key=lambda alias: alias.address.rpartition("@")[::-1])

    def nobodies(self, targets: Iterable[str]) -> list[str]:
        """Those of the targets that are at our domains and that nobody has: perhaps a slip."""
        users = frozenset(user.address for user in self.users())
        directory = Directory(users, self._all_aliases(), domains=self._domains, hostname=self._hostname)
        ours = [t for t in targets if t.rpartition("@")[2] in (*self._domains, self._hostname)]
        return [t for t in ours if isinstance(directory.resolve(parse_address(t.encode())), Unknown)]

    # For who serves

    def read(self) -> AccountSnapshot:
        """All of it, in one transaction."""
        self._db.execute("BEGIN")
        try:
            rows = self._db.execute(
                "SELECT address, password_hash, salt, iterations, stored_key, server_key FROM users"
            )
            credentials = {row[0]: Credential(row[1], ScramKeys(row[0], *row[2:])) for row in rows}
            secret = self._db.execute("SELECT value FROM secrets WHERE name='nobody'").fetchone()
            assert secret is not None, "the first step of the schema wrote it"
            return AccountSnapshot(credentials, self._all_aliases(), bytes(secret[0]))
        finally:
            self._db.execute("ROLLBACK")  # nothing was written

    # Names

    def address_of(self, name: str) -> str:
        """The address that a name means, one of ours; AccountError."""
        address = self._parse(name)
        if len(address.local_part.encode()) > LOCAL_PART_OCTETS_MAX:  # RFC 5321 §4.5.3.1.1
            raise AccountError(f"{name!r}: longer than {LOCAL_PART_OCTETS_MAX} octets before the @")
        return f"{address.local_part.lower()}@{self._own_domain(address.domain)}"

    def _alias_name(self, name: str) -> str:
        if not name.startswith("@"):
            return self.address_of(name)
        try:
            return f"@{self._own_domain(parse_domain(name[1:]))}"
        except (AddressSyntaxError, UnicodeEncodeError) as error:
            raise AccountError(f"{name!r}: {error}") from None

    def _own_domain(self, domain: str) -> str:
        if domain in self._domains:
            return domain
        if domain == self._hostname:
            return self._domains[0] if self._domains else domain
        ours = ", ".join(self._domains) or self._hostname
        raise AccountError(
            f"{domain} is not one of our domains ({ours}); add it to host.domains in the settings"
        )

    def _target(self, text: str) -> str:
        address = self._parse(text)
        try:
            return f"{address.local_part.lower()}@{self._own_domain(address.domain)}"
        except AccountError:
            return str(address)  # outside: case is theirs

    def _parse(self, name: str) -> Address:
        primary = self._domains[0] if self._domains else self._hostname
        try:
            return parse_address((name if "@" in name else f"{name}@{primary}").encode())
        except (AddressSyntaxError, UnicodeEncodeError) as error:
            raise AccountError(f"{name!r} is not an address: {error}") from None

    # Rows

    def _existing(self, name: str) -> str:
        address = self.address_of(name)
        if not self._has_user(address):
            raise AccountError(f"there is no user {address}")
        return address

    def _has_user(self, address: str) -> bool:
        found = self._db.execute("SELECT 1 FROM users WHERE address=?", (address,))
        return found.fetchone() is not None

    def _targets(self, address: str) -> tuple[str, ...]:
        rows = self._db.execute("SELECT target FROM aliases WHERE address=? ORDER BY position", (address,))
        return tuple(row[0] for row in rows)

    def _all_aliases(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for address, target in self._db.execute(
            "SELECT address, target FROM aliases ORDER BY address, position"
        ):
            found.setdefault(address, []).append(target)
        return {address: tuple(targets) for address, targets in found.items()}

    def _change(self, statements: Sequence[tuple[str, tuple[str | int | bytes, ...]]]) -> None:
        """All of it in one durable commit, or nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for sql, row in statements:
                    self._db.execute(sql, row)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except apsw.Error as error:
            raise AccountError(f"nothing was changed: {error}") from error


def _credential(address: str, password: str) -> Credential:
    try:
        return make_credential(address, password)
    except PasswordError as error:
        raise AccountError(str(error)) from None


def _columns(credential: Credential) -> tuple[str, bytes, int, bytes, bytes]:
    keys = credential.keys
    return credential.password_hash, keys.salt, keys.iterations, keys.stored_key, keys.server_key


def _open(path: str, creates: bool) -> apsw.Connection:
    """The database, with its schema up to date; readable for its owner alone."""
    try:
        create = os.O_CREAT if creates else 0
        os.close(os.open(path, os.O_RDWR | create | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        db = apsw.Connection(path)
        try:
            db.set_busy_timeout(BUSY_MS)
            db.pragma(
                "journal_mode", "WAL"
            )  # each by itself: a statement that tells something ends the others
            db.pragma("synchronous", "FULL")
            db.pragma("foreign_keys", True)
            _migrate(db, path)
        except BaseException:
            db.close()
            raise
    except OSError as error:
        hint = "; run this as root or as the server's user" if isinstance(error, PermissionError) else ""
        raise AccountError(f"{path} cannot be opened: {error.strerror}{hint}") from error
    except apsw.Error as error:
        raise AccountError(f"{path} cannot be used: {error}{_why(path)}") from error
    return db


def _why(path: str) -> str:
    """SQLite calls many things a disk I/O error."""
    try:
        return "" if os.statvfs(os.path.dirname(path)).f_bavail else ", no space is left on the disk"
    except OSError as error:
        return f", {error.strerror}"


def _migrate(db: apsw.Connection, path: str) -> None:
    if db.pragma("user_version") == len(STEPS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        done = int(db.pragma("user_version"))
        if done > len(STEPS):
            raise AccountsTooNewError(f"{path} was written by a newer version of this program")
        for number, step in enumerate(STEPS[done:], done + 1):
            db.execute(step)
            db.pragma("user_version", number)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    durable.sync_folder(os.path.dirname(path))
