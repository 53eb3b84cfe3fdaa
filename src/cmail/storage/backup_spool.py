"""One shard of the spool into a backup, as of one moment, while its writer goes on.

Content never changes, so most of it is copied ahead, in short transactions. Then one transaction reads what
is left: the envelopes, and what came in meanwhile. Nobody waits for a reader: as long as one is at it the
write-ahead log grows, and that is not long."""

import os
import re
import shutil
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import apsw

from cmail.mail.envelope import Notify
from cmail.mail.queue_id import SEQUENCE_BITS, SHARD_BITS, parse_queue_id
from cmail.storage import durable
from cmail.storage.backup_copy import Copier
from cmail.storage.backup_list import BackupError
from cmail.storage.migrations import SchemaTooNewError, migrate
from cmail.storage.spool import RecipientState
from cmail.storage.spool_files import CONTENT, content_name
from cmail.storage.spool_generations import newest
from cmail.storage.spool_schema import STEPS, open_for_writing

FILE: Final = "spool.sqlite3"
_PIECE: Final = 200  # contents of at most 64 KiB that one short transaction copies
_OPEN_MAX: Final = 200  # files that are kept open so that nobody can take them away
_TRIES_MAX: Final = 50
_BUSY_MS: Final = 10_000
_DELIVERED: Final = re.compile(r"\.Q([0-9A-Z]{13})P(\d+)\.")  # delivery.local names its files so


def copy_shard(copier: Copier, folder: str, name: str, before: Callable[[], None] = lambda: None) -> int:
    """Copy a shard; how many messages wait in it. `before` is called just before the moment as of which it
    is copied, perhaps again."""
    copier.list_folder(name)
    for _ in range(_TRIES_MAX):
        source = newest(folder)
        if source is None:
            return 0
        copy = _ShardCopy(copier, folder, source, name, before)
        try:
            count = copy.run()
        except apsw.Error as error:
            if newest(folder) != source:
                continue
            raise BackupError(f"{source} cannot be read: {error}") from error
        finally:
            copy.close()
        if newest(folder) == source:  # else a sync failed meanwhile, and another file took over
            copier.list_written(os.path.join(name, FILE))
            return count
    raise BackupError(f"{folder}: the queue is given another database again and again", 75)


class _ShardCopy:
    def __init__(
        self, copier: Copier, folder: str, source: str, name: str, before: Callable[[], None]
    ) -> None:
        self._copier, self._folder, self._name, self._before = copier, folder, name, before
        path = copier.path(os.path.join(name, FILE))
        durable.remove(path)  # of a try before this one
        shutil.rmtree(copier.path(os.path.join(name, CONTENT)), ignore_errors=True)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        self._db = apsw.Connection(path, flags=flags)
        os.chmod(path, 0o600)
        self._db.set_busy_timeout(_BUSY_MS)
        self._source = source

    def _prepare(self) -> None:
        """The tables, as the source has them: a server that is newer brings them up to date."""
        self._db.execute("ATTACH ? AS source", (f"file:{quote(os.path.abspath(self._source))}?mode=ro",))
        version = self._value("PRAGMA source.user_version")
        if version > len(STEPS):
            raise SchemaTooNewError(self._source, version, len(STEPS))
        for setting in ("auto_vacuum=2", "journal_mode=OFF", "synchronous=OFF", "cache_size=-8192"):
            self._db.execute(f"PRAGMA main.{setting}")  # a copy that is cut short is thrown away whole
        self._db.execute("PRAGMA temp_store=FILE")
        migrate(self._db, STEPS[:version])
        self._db.execute("CREATE TEMP TABLE file (id INTEGER PRIMARY KEY, digest TEXT, size INTEGER)")

    def run(self) -> int:
        """All of it; how many messages."""
        self._prepare()
        if not self._value("PRAGMA main.user_version"):
            return 0  # the server is making it: nobody has got a 250
        self._copy_ahead()
        for _ in range(_TRIES_MAX):
            self._copy_files()
            if self._copy_rest():
                self._list_files()
                return int(self._value("SELECT count(*) FROM main.message"))
        raise BackupError(f"{self._folder}: large mail comes and goes faster than it can be copied", 75)

    def _copy_ahead(self) -> None:
        last = self._value("SELECT coalesce(max(id), 0) FROM source.content")
        after = 0
        while after < last:
            self._db.execute(
                "INSERT INTO main.content SELECT * FROM source.content WHERE id > ? ORDER BY id LIMIT ?",
                (after, _PIECE),
            )
            if not self._db.changes():
                return
            before, after = after, self._value("SELECT max(id) FROM main.content")
            octets = "SELECT coalesce(sum(length(octets)), 0) FROM main.content WHERE id > ?"
            self._copier.wrote(self._value(octets, before))

    def _copy_files(self) -> None:
        """Large content that is there now; what is gone before we come to it is done with."""
        after = 0
        while ids := self._new_files(after):
            after = ids[-1]
            for queue_id in ids:
                fd = self._copier.open(self._content(queue_id))
                if fd is not None:
                    self._copy_file(queue_id, fd)

    def _copy_rest(self) -> bool:
        """What is left, in one transaction. False: large content came or went just now: once more."""
        self._before()
        self._db.execute("BEGIN")
        files = {queue_id: self._copier.open(self._content(queue_id)) for queue_id in self._new_files(0)}
        if len(files) >= _OPEN_MAX or None in files.values():
            self._db.execute("ROLLBACK")  # nothing was written
            for fd in files.values():
                if fd is not None:
                    os.close(fd)
            return False
        self._copy_rows()
        self._db.execute("COMMIT")
        for queue_id, fd in files.items():
            assert fd is not None
            self._copy_file(queue_id, fd)
        return True

    def _copy_rows(self) -> None:
        self._db.execute("DELETE FROM main.content WHERE id NOT IN (SELECT id FROM source.message)")
        self._db.execute(
            "INSERT INTO main.content SELECT * FROM source.content "
            "WHERE id NOT IN (SELECT id FROM main.content)"
        )
        tables = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (table,) in self._db.execute(tables).fetchall():
            if table == "shard":
                self._db.execute("DELETE FROM main.shard")
            if table not in ("content", "leftover"):  # leftover: files that are not copied
                self._db.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table}")
        self._db.execute(
            "UPDATE main.shard SET is_complete = 1, "
            "last_id = max(last_id, coalesce((SELECT max(id) FROM main.message), 0))"
        )

    def _new_files(self, after: int) -> list[int]:
        rows = self._db.execute(
            "SELECT id FROM source.message INDEXED BY message_in_file WHERE is_file AND id > ? "
            "AND id NOT IN (SELECT id FROM temp.file) ORDER BY id LIMIT ?",
            (after, _OPEN_MAX),
        )
        found: list[Any] = rows.fetchall()
        return [queue_id for (queue_id,) in found]

    def _content(self, queue_id: int) -> str:
        return os.path.join(self._folder, content_name(queue_id))

    def _copy_file(self, queue_id: int, fd: int) -> None:
        name = os.path.join(self._name, content_name(queue_id))
        self._copier.make_folder(os.path.dirname(name))
        digest, size = self._copier.copy_open(fd, name)
        self._db.execute("INSERT INTO temp.file VALUES (?, ?, ?)", (queue_id, digest, size))

    def _value(self, query: str, *values: int) -> Any:
        return self._db.execute(query, values).get

    def _list_files(self) -> None:
        """Content of what still waits stands in the list; what is done with goes."""
        rows = self._db.execute(
            "SELECT f.id, f.digest, f.size, EXISTS (SELECT 1 FROM main.message m WHERE m.id = f.id) "
            "FROM temp.file f ORDER BY f.id"
        )
        for queue_id, digest, size, is_waiting in rows:
            name = os.path.join(self._name, content_name(queue_id))
            if is_waiting:
                self._copier.list_file(name, digest, size)
            else:
                os.unlink(self._copier.path(name))

    def close(self) -> None:
        """Let go of the source."""
        self._db.close(True)


class RestoredShard:
    """A shard that was brought back, before a server opens it: what was delivered after it was copied, and
    stands in the mailboxes that were copied later, is not delivered again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._db = open_for_writing(path)
        self._delivered: list[tuple[int, int]] = []
        self._shard = int(os.path.basename(os.path.dirname(path)))

    def note_mail(self, file_name: str) -> None:
        """A file of a mailbox; its name tells whose delivery it was."""
        found = _DELIVERED.search(file_name)
        if found is None:
            return
        try:
            self._delivered.append((parse_queue_id(found[1]), int(found[2])))
        except ValueError:  # another program's
            return
        if len(self._delivered) >= _PIECE:
            self._record()

    def _record(self) -> None:
        """Not those whose sender wants to be told: they are tried again, found to be there, and told."""
        with self._db:
            self._db.executemany(
                f"UPDATE recipient SET state = {RecipientState.DELIVERED:d} "
                f"WHERE message_id = ? AND position = ? AND state <= 1 AND notify & {Notify.SUCCESS:d} = 0",
                self._delivered,
            )
            self._db.executemany(
                "DELETE FROM message WHERE id = ? AND NOT EXISTS "
                "(SELECT 1 FROM recipient r WHERE r.message_id = message.id AND r.state <= 1)",
                [(queue_id,) for queue_id, _ in self._delivered],
            )
        self._delivered.clear()

    def finish(self, copied_ms: int) -> int:
        """Queue ids go on above all that may have been given out when it was copied; how many messages
        wait in it."""
        self._record()
        above = (copied_ms + 1) << (SHARD_BITS + SEQUENCE_BITS) | self._shard << SEQUENCE_BITS
        self._db.execute("UPDATE shard SET last_id = max(last_id, ?)", (above,))
        count = int(self._db.execute("SELECT count(*) FROM message").get)
        self._db.close(True)
        return count

    def close(self) -> None:
        """Without finishing."""
        self._db.close(True)
