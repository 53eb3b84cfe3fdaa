"""Which database file of a shard is the one: spool.sqlite3, or its successor after a failed sync.

A file whose sync failed is never written, checkpointed or synced again (rule 2): a durable mark
beside it says so, and spool.<n>.sqlite3 takes over with what was committed in it."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import apsw

from cmail.storage import durable
from cmail.storage.anchor import Anchor, Where
from cmail.storage.spool_schema import open_for_reading, open_for_writing

_NAME: Final = re.compile(r"spool(?:\.(\d+))?\.sqlite3")
_ENDINGS: Final = ("", "-wal", "-shm", ".broken")
_COPY: Final = (("message", "id"), ("content", "id"), ("recipient", "message_id"))
_TRIES: Final = 10  # a disk that cannot be read now may be read in a moment; then what cannot be is left
_AGAIN_S: Final = 0.5  # between them, at start
_PIECE_OCTETS: Final = 1 << 20
_WORDS: Final = {
    Where.AWAY: "is not there any more: was its folder moved, or its disk unmounted? It is taken up again"
    " when it is back",
    Where.OTHER: "is another file than the one that was opened; start the server again to use this one",
    Where.RETURNED: "is on another device than before",
    Where.REMOVED: "was removed while it was in use",
    Where.REPLACED: "was removed and another file put in its place; start the server again to use this one",
}


class Generations:
    """The database files of one shard, oldest first; the last one that is whole is the spool."""

    def __init__(
        self,
        folder: str,
        report: Callable[[str], None],
        vfs: str | None,
        remade: Callable[[], None] = lambda: None,
    ) -> None:
        """`remade` is called when the folder had to be made again, before anything is put in it."""
        self._folder = folder
        self._vfs = vfs
        self._report = report
        self._remade = remade
        self._anchor: Anchor | None = None
        self._anchoring = threading.Lock()  # readers look too
        self._tries = 0  # to copy what the disk could not read
        self._given_up = self._unmarked = ""  # what was said of it
        self.number = 0

    @property
    def path(self) -> str:
        """The database file that is the spool now."""
        return self._path(self.number)

    def open(self) -> apsw.Connection:
        """The writer's connection to the newest whole one; makes it when there is none."""
        connection = self._opened_newest()
        self._hold()
        return connection

    def close(self) -> None:
        """Let go of the file."""
        if self._anchor is not None:
            self._anchor.close()

    def where(self) -> tuple[Where, str]:
        """Whether the database still stands where it was opened, and words for when it does not."""
        with self._anchoring:
            assert self._anchor is not None
            found = self._anchor.look()
        return found, "" if found is Where.HERE else f"{self.path} {_WORDS[found]}"

    def _hold(self) -> None:
        with self._anchoring:
            if self._anchor is not None:
                self._anchor.close()
            self._anchor = Anchor(self.path)

    def _opened_newest(self) -> apsw.Connection:
        *before, self.number = self._numbers() or [0]
        if os.path.exists(self._mark(self.number)):
            return self._instead_of(self.number)
        connection = self._opened(self.number)
        if before and not (connection and connection.execute("SELECT is_complete FROM shard").get):
            if connection:
                connection.close(True)  # the copy into it was cut short
            return self._instead_of(before[-1])
        if connection is None:
            self._mark_broken("it cannot be read")
            return self._instead_of(self.number)
        self._seal(connection)
        self._set_aside(before)
        return connection

    def _instead_of(self, before: int) -> apsw.Connection:
        for left in reversed(range(_TRIES)):
            try:
                successor = self._succeed(before, may_lose=not left)
                break
            except apsw.IOError:
                if not left:
                    raise
                time.sleep(_AGAIN_S)
        self._set_aside([before])
        return successor

    def roll_over(self, connection: apsw.Connection, why: str) -> apsw.Connection:
        """A sync of this file failed: mark it, copy what was committed into the next one. OSError or
        apsw.Error: not now, try again later."""
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        where, words = self.where()
        if where is Where.REMOVED:
            return self._begin_anew(connection)
        if where not in (Where.HERE, Where.RETURNED):
            raise FileNotFoundError(words)
        if not os.path.exists(self._mark(self.number)):
            self._mark_broken(why)
        # The old connection stays open meanwhile: with it closed, a reader would take what the
        # failed commit left in the write-ahead log for committed.
        before = self.number
        self._tries += 1
        successor = self._succeed(before, may_lose=self._tries >= _TRIES)
        self._tries = 0
        connection.close(True)
        self._set_aside([before])
        self._hold()
        return successor

    def _begin_anew(self, connection: apsw.Connection) -> apsw.Connection:
        """Somebody has removed the database (and perhaps all that was beside it). The open file still
        has what stood in it: that goes into a new one."""
        data_dir = os.path.dirname(os.path.dirname(self._folder))
        if not os.path.isdir(data_dir):
            raise FileNotFoundError(f"{data_dir} is not there")
        durable.make_folder(self._folder)
        self._remade()
        successor = self._succeed(self.number, may_lose=True, source=connection)
        connection.close(True)
        self._hold()
        return successor

    def _opened(self, number: int) -> apsw.Connection | None:
        try:
            return open_for_writing(self._path(number), self._vfs)
        except (apsw.NotADBError, apsw.CorruptError):
            return None

    def _succeed(
        self, before: int, *, may_lose: bool, source: apsw.Connection | None = None
    ) -> apsw.Connection:
        """Make the next generation. Until the one before is out of the way, a start takes the copy
        into it for unfinished, unless it says that it is complete."""
        number = before + 1
        self._remove(number)
        connection = open_for_writing(self._path(number), self._vfs)
        try:
            copied = self._copied(before, connection, may_lose, source)
            self._seal(connection)
        except BaseException:
            connection.close(True)
            raise
        self.number = number
        self._report(f"{self._path(before)} is not used any more, {self.path} is; {copied}")
        return connection

    def _copied(
        self, before: int, target: apsw.Connection, may_lose: bool, source: apsw.Connection | None
    ) -> str:
        path = self._path(before)
        if source is not None:
            return _copy(source, target, may_lose, lambda: None)
        try:
            old = open_for_reading(path)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            _read_raw(path)
            return f"nothing in it could be read: {error}"
        return _copy(old, target, may_lose, lambda: _read_raw(path))

    def _set_aside(self, numbers: list[int]) -> None:
        """Put what is not used any more where nobody takes it for the spool."""
        aside = os.path.join(self._folder, "aside")
        for path in [self._path(n) + ending for n in numbers for ending in _ENDINGS]:
            if os.path.exists(path):
                durable.make_folder(aside)
                os.rename(path, os.path.join(aside, os.path.basename(path)))
        if numbers:
            durable.sync_folder(self._folder)

    def _seal(self, connection: apsw.Connection) -> None:
        """Say that it is whole. This first write also makes the log file, whose name is synced."""
        connection.execute("UPDATE shard SET is_complete = 1")
        durable.sync_folder(self._folder)

    def _mark_broken(self, why: str) -> None:
        if self._given_up != self.path:  # once, not each time that we try again
            self._given_up = self.path
            self._report(f"{self.path} is given up: {why}")
        try:
            durable.write_durably(self._mark(self.number), f"{why}\n".encode())
        except OSError as error:
            words = f"{self._mark(self.number)} could not be written: {error}"
            if words != self._unmarked:
                self._report(words)
            self._unmarked = words

    def _numbers(self) -> list[int]:
        found = (_NAME.fullmatch(name) for name in os.listdir(self._folder))
        return sorted(int(m[1] or 0) for m in found if m)

    def _path(self, number: int) -> str:
        name = f"spool.{number}.sqlite3" if number else "spool.sqlite3"
        return os.path.join(self._folder, name)

    def _mark(self, number: int) -> str:
        return self._path(number) + ".broken"

    def _remove(self, number: int) -> None:
        for ending in _ENDINGS:
            durable.remove(self._path(number) + ending)


def newest(folder: str) -> str | None:
    """The file of a shard that Generations.open() would begin with, for who only reads, also while the
    server runs; None: there is none yet."""
    found = Generations(folder, lambda words: None, None)
    *before, number = found._numbers() or [-1]
    if number < 0:
        return None
    if before and not os.path.exists(found._mark(number)) and not _is_complete(found._path(number)):
        number = before[-1]
    return found._path(number)


def _is_complete(path: str) -> bool:
    try:
        connection = open_for_reading(path)
        try:
            return bool(connection.execute("SELECT is_complete FROM shard").get)
        finally:
            connection.close(True)
    except apsw.Error:
        return False  # it is being made


def _read_raw(path: str) -> None:
    """apsw.IOError when the disk does not give us what stands in a database: SQLite may take that for a
    broken one, which would be left behind."""
    for name in (path, path + "-wal"):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            offset = 0
            while piece := os.pread(fd, _PIECE_OCTETS, offset):
                offset += len(piece)
        except OSError as error:
            raise apsw.IOError(f"{name} cannot be read: {error.strerror}") from error
        finally:
            os.close(fd)


def _copy(old: apsw.Connection, target: apsw.Connection, may_lose: bool, read_raw: Callable[[], None]) -> str:
    """Copy each message that can be read, whole; in words, what could not. When the disk does not let us
    read, nothing is copied and the error goes up: unless we may lose what cannot be read, and some can."""
    reading = _Reading(old)
    ids = list(reading.ids())
    lost = 0
    target.execute("BEGIN IMMEDIATE")
    try:
        for queue_id in ids:
            lost += not reading.copy_message(target, queue_id)
        for (last_id,) in reading.rows("SELECT last_id FROM shard"):
            target.execute("UPDATE shard SET last_id = ?", (last_id,))
        for (queue_id,) in reading.rows("SELECT id FROM leftover"):
            target.execute("INSERT INTO leftover VALUES (?)", (queue_id,))
        if reading.error is not None and not (may_lose and lost < len(ids)):
            if reading.disk_error is not None:
                raise reading.disk_error
            read_raw()
        target.execute("COMMIT")
    except BaseException:
        if target.in_transaction:
            target.execute("ROLLBACK")
        raise
    finally:
        reading.close()
    copied = f"{len(ids) - lost} messages were copied"
    if not ids and reading.error is not None:
        return f"nothing in it could be read: {reading.error}"
    return f"{copied}, {lost} could not be read" if lost else copied


def _columns_of(old: apsw.Connection, table: str) -> tuple[str, ...]:
    """Those that an older schema lacks have their default in the new one."""
    try:
        names = tuple(str(row[1]) for row in old.execute(f"PRAGMA table_info({table})"))
    except apsw.Error:
        names = ()
    return names or ("*",)  # nothing of it can be read, as will be seen


class _Reading:
    """Reads what can be read of a database, and remembers that not all could be."""

    def __init__(self, old: apsw.Connection) -> None:
        self._old = old
        self._columns = {table: _columns_of(old, table) for table, _ in _COPY}
        self.error: apsw.Error | None = None
        self.disk_error: apsw.Error | None = None  # of the disk, not of what stands on it

    def rows(self, query: str) -> Iterator[tuple[int]]:
        """The rows of a query, up to the first that cannot be read."""
        try:
            yield from self._old.execute(query)
        except apsw.Error as error:
            self._failed(error)

    def ids(self) -> Iterator[int]:
        """The ids of all messages; from both ends when a page between cannot be read."""
        last = 0
        for (queue_id,) in self.rows("SELECT id FROM message ORDER BY id"):
            last = queue_id
            yield queue_id
        if self.error is None:
            return
        for (queue_id,) in self.rows("SELECT id FROM message ORDER BY id DESC"):
            if queue_id <= last:
                return
            yield queue_id

    def copy_message(self, target: apsw.Connection, queue_id: int) -> bool:
        """Whether it could be read, whole."""
        try:
            parts = [
                (
                    table,
                    self._old.execute(
                        f"SELECT {', '.join(self._columns[table])} FROM {table} WHERE {key} = ?", (queue_id,)
                    ),
                )
                for table, key in _COPY
            ]
            found = [(table, rows.fetchall()) for table, rows in parts]
        except apsw.Error as error:
            self._failed(error)
            return False
        for table, rows in found:
            columns = self._columns[table]
            target.executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({','.join('?' * len(columns))})", rows
            )
        return True

    def close(self) -> None:
        """The one that is still written with is closed by its owner: closing twice does no harm."""
        if self._old.readonly("main"):
            self._old.close(True)

    def _failed(self, error: apsw.Error) -> None:
        self.error = error
        if isinstance(error, apsw.IOError | apsw.CantOpenError):
            self.disk_error = error
