"""Which database file of a shard is the one: spool.sqlite3, or its successor after a failed sync.

A file whose sync failed is never written, checkpointed or synced again (rule 2): a durable mark
beside it says so, and spool.<n>.sqlite3 takes over with what was committed in it."""

import os
import re
from collections.abc import Callable, Iterator
from typing import Final

import apsw

from cmail.storage import durable
from cmail.storage.spool_schema import open_for_reading, open_for_writing

_NAME: Final = re.compile(r"spool(?:\.(\d+))?\.sqlite3")
_ENDINGS: Final = ("", "-wal", "-shm", ".broken")
_COPY: Final = (("message", "id", 14), ("content", "id", 3), ("recipient", "message_id", 15))


class Generations:
    """The database files of one shard, oldest first; the last one that is whole is the spool."""

    def __init__(self, folder: str, report: Callable[[str], None], vfs: str | None) -> None:
        self._folder = folder
        self._vfs = vfs
        self._report = report
        self.number = 0

    @property
    def path(self) -> str:
        """The database file that is the spool now."""
        return self._path(self.number)

    def open(self) -> apsw.Connection:
        """The writer's connection to the newest whole one; makes it when there is none."""
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
        successor = self._succeed(before)
        self._set_aside([before])
        return successor

    def roll_over(self, connection: apsw.Connection, why: str) -> apsw.Connection:
        """A sync of this file failed: mark it, copy what was committed into the next one."""
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if not os.path.exists(self._mark(self.number)):
            self._mark_broken(why)
        # The old connection stays open meanwhile: with it closed, a reader would take what the
        # failed commit left in the write-ahead log for committed.
        before = self.number
        successor = self._succeed(before)
        connection.close(True)
        self._set_aside([before])
        return successor

    def _opened(self, number: int) -> apsw.Connection | None:
        try:
            return open_for_writing(self._path(number), self._vfs)
        except (apsw.NotADBError, apsw.CorruptError):
            return None

    def _succeed(self, before: int) -> apsw.Connection:
        """Make the next generation. Until the one before is out of the way, a start takes the copy
        into it for unfinished, unless it says that it is complete."""
        number = before + 1
        self._remove(number)
        connection = open_for_writing(self._path(number), self._vfs)
        try:
            lost = _copy(self._path(before), connection)
            self._seal(connection)
        except BaseException:
            connection.close(True)
            raise
        self.number = number
        self._report(f"{self._path(before)} is not used any more, {self.path} is; {lost}")
        return connection

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
        self._report(f"{self.path} is given up: {why}")
        try:
            durable.write_durably(self._mark(self.number), f"{why}\n".encode())
        except OSError as error:
            self._report(f"{self._mark(self.number)} could not be written: {error}")

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


def _copy(source: str, target: apsw.Connection) -> str:
    """Copy each message that can be read, whole; in words, what could not."""
    try:
        old = open_for_reading(source)
        ids = list(_ids(old))
    except apsw.Error as error:
        return f"nothing in it could be read: {error}"
    lost = 0
    with target:
        for queue_id in ids:
            lost += not _copy_message(old, target, queue_id)
        for (last_id,) in _rows(old, "SELECT last_id FROM shard"):
            target.execute("UPDATE shard SET last_id = ?", (last_id,))
        for (queue_id,) in _rows(old, "SELECT id FROM leftover"):
            target.execute("INSERT INTO leftover VALUES (?)", (queue_id,))
    old.close(True)
    copied = f"{len(ids) - lost} messages were copied"
    return f"{copied}, {lost} could not be read" if lost else copied


def _copy_message(old: apsw.Connection, target: apsw.Connection, queue_id: int) -> bool:
    try:
        parts = [
            (table, width, old.execute(f"SELECT * FROM {table} WHERE {key} = ?", (queue_id,)).fetchall())
            for table, key, width in _COPY
        ]
    except apsw.Error:
        return False
    for table, width, rows in parts:
        target.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * width)})", rows)
    return True


def _ids(old: apsw.Connection) -> Iterator[int]:
    """The ids of all messages; from both ends when a page between cannot be read."""
    last = 0
    for (queue_id,) in _rows(old, "SELECT id FROM message ORDER BY id"):
        last = queue_id
        yield queue_id
    for (queue_id,) in _rows(old, "SELECT id FROM message ORDER BY id DESC"):
        if queue_id <= last:
            return
        yield queue_id


def _rows(old: apsw.Connection, query: str) -> Iterator[tuple[int]]:
    try:
        yield from old.execute(query)
    except apsw.Error:
        return
