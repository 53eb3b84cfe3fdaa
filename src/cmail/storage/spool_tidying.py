"""Tidying: what the writer does for its database between batches: files of messages that are gone, the
write-ahead log, free pages, the last queue id. All of it in the writer's thread."""

from collections.abc import Callable
from typing import Final

import apsw

from cmail.storage.spool_files import ContentFiles
from cmail.storage.spool_rows import unlinked_row
from cmail.storage.spool_schema import insert_work

LOG_OCTETS_MAX: Final = 16 * 2**20  # of write-ahead log between checkpoints
PAGE_OCTETS: Final = 4096
_SLACK_PAGES: Final = 1024  # free pages that may stay: they are used again
_VACUUM_PAGES: Final = 256  # freed in one go: a message that comes meanwhile waits milliseconds


class Tidying:
    """Each call is given the connection: after a failure it is another one."""

    def __init__(
        self, files: ContentFiles, last_id: Callable[[], int], report: Callable[[str], None]
    ) -> None:
        self._files = files
        self._last_id = last_id
        self._report = report
        self.log_octets = 0
        self.unlinked: set[int] = set()  # whose rows in `leftover` are to be removed
        self._stuck: set[int] = set()  # whose files could not be unlinked

    def look(self, connection: apsw.Connection) -> None:
        """After a batch: what cannot wait until there is nothing to write."""
        if self.log_octets > LOG_OCTETS_MAX:
            self.checkpoint(connection)
        if self._files.has_any:
            self.unlink_leftovers(connection)

    def unlink_leftovers(self, connection: apsw.Connection) -> None:
        """Files of messages that are gone; that they were unlinked is noted with the next batch."""
        done = self.unlinked | self._stuck
        ids = [row[0] for row in connection.execute("SELECT id FROM leftover") if row[0] not in done]
        for queue_id in ids:
            try:
                self._files.remove_path(self._files.path(queue_id))
                self.unlinked.add(queue_id)
            except OSError as error:
                self._stuck.add(queue_id)  # tried again at the next start
                self._report(f"content of a message that is gone could not be removed: {error}")

    def checkpoint(self, connection: apsw.Connection, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> None:
        """Move what stands in the log into the database, so that the log starts over."""
        try:
            frames, moved = connection.wal_checkpoint(mode=mode)
        except (apsw.FullError, apsw.BusyError):
            self.log_octets //= 2  # full, or a reader in the way: the log holds it, try later
        else:
            self.log_octets = 0 if frames == moved else LOG_OCTETS_MAX // 2

    def give_back(self, connection: apsw.Connection) -> bool:
        """Some free pages to the disk. Whether there were too many."""
        free_pages = connection.pragma("freelist_count")
        if not isinstance(free_pages, int) or free_pages <= _SLACK_PAGES:
            return False
        connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
        return True

    def note_last_id(self, connection: apsw.Connection) -> None:
        """So that queue ids never go back, whatever the clock does while nothing is queued."""
        connection.execute("UPDATE shard SET last_id = ?", (self._last_id(),))
        if self.unlinked:
            connection.execute(insert_work(1), unlinked_row(list(self.unlinked)))
            self.unlinked.clear()
