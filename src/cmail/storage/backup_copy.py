"""Copier: files into a backup, each with its digest; what vanishes while we look was not ours to keep.

Everything is read and written, never linked: a copy that shares its octets with the original is lost with
it when a disk or a program damages them where they stand."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from typing import Final

import apsw

from cmail.storage import durable
from cmail.storage.backup_list import DATA, PIECE_OCTETS, BackupError, Entry, ListWriter, digest_of

_SYNC_OCTETS: Final = 64 * 2**20  # written between two syncs: no flood that would hold up the server's own
_ROOM_MIN: Final = (
    128 * 2**20
)  # left for the queue when the backup is on its disk: it refuses mail at half of that
_BUSY_MS: Final = 10_000


class Copier:
    """Writes one backup. Paths within it begin at its data folder."""

    def __init__(self, folder: str, source: str, listing: ListWriter) -> None:
        self.folder = folder
        self._listing = listing
        self._unsynced = 0
        self._is_same_disk = os.stat(folder).st_dev == os.stat(source).st_dev
        self.notes: dict[str, None] = {}  # what is left out, in words; each once
        self._look_for_room()

    def path(self, name: str) -> str:
        """Where something of the data folder stands in the backup."""
        return os.path.join(self.folder, DATA, name)

    def make_folder(self, name: str) -> None:
        """A folder, also an empty one: a mailbox without mail is a mailbox."""
        os.makedirs(self.path(name), mode=0o700, exist_ok=True)

    def list_folder(self, name: str) -> None:
        """make_folder(), and it stands in the list."""
        self.make_folder(name)
        self._listing.add(Entry(os.path.join(DATA, name).rstrip("/")))

    def list_file(self, name: str, digest: str, size: int, uid: int = -1) -> None:
        """A file that copy() has brought stands in the list."""
        self._listing.add(Entry(os.path.join(DATA, name), digest, size, uid))

    def list_written(self, name: str) -> None:
        """A file that somebody else has written into the backup stands in the list."""
        with open(self.path(name), "rb") as file:
            self.list_file(name, *digest_of(file))

    def copy(self, source: str, name: str) -> tuple[str, int] | None:
        """Copy one file: its digest and size. None: it is not there (any more), or not a file."""
        fd = self.open(source)
        return None if fd is None else self.copy_open(fd, name)

    def open(self, source: str) -> int | None:
        """A regular file to be copied; from now on it cannot vanish."""
        try:
            fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
            self._leave_out(source)
            return None
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        self._leave_out(source)
        return None

    def _leave_out(self, source: str) -> None:
        self.notes[f"{source!a} is not a regular file: it is not in the backup"] = None

    def copy_open(self, fd: int, name: str) -> tuple[str, int]:
        """copy() of what open() gave; its time of change goes with it (IMAP's date of arrival)."""
        digest, size = hashlib.sha256(), 0
        with open(fd, "rb", buffering=0) as source, open(self.path(name), "xb", buffering=0) as target:
            os.fchmod(target.fileno(), 0o600)
            while piece := source.read(PIECE_OCTETS):
                _write(target.fileno(), piece)
                digest.update(piece)
                size += len(piece)
            changed_ns = os.fstat(fd).st_mtime_ns
            os.utime(target.fileno(), ns=(changed_ns, changed_ns))
        self.wrote(size)
        return digest.hexdigest(), size

    def wrote(self, octets: int) -> None:
        """So much more; now and then it is synced, and looked whether the server has room."""
        self._unsynced += octets + 4096
        if self._unsynced > _SYNC_OCTETS:
            self._unsynced = 0
            durable.sync_file_system(self.folder)
            self._look_for_room()

    def _look_for_room(self) -> None:
        found = os.statvfs(self.folder)
        free = found.f_bavail * found.f_frsize
        if self._is_same_disk and free < _ROOM_MIN:
            raise BackupError(
                f"only {free >> 20} MiB are left on this disk, and the queue is on it too: the backup is"
                " given up, so that mail goes on; name a folder on another disk"
            )

    def copy_database(self, source: str, name: str) -> None:
        """A small SQLite database, as of one moment."""
        reading = apsw.Connection(source, flags=apsw.SQLITE_OPEN_READONLY)
        writing = apsw.Connection(self.path(name))
        try:
            reading.set_busy_timeout(_BUSY_MS)
            os.chmod(self.path(name), 0o600)
            with writing.backup("main", reading, "main") as backup:
                backup.step(-1)
            writing.pragma("journal_mode", "delete")  # one file, nothing beside it
        finally:
            writing.close(True)
            reading.close(True)
        self.list_written(name)

    def copy_tree(self, source: str, name: str, is_wanted: Callable[[str], bool] = lambda name: True) -> None:
        """A folder with all that is in it; what vanishes meanwhile is left out."""
        self.list_folder(name)
        with contextlib.suppress(FileNotFoundError), os.scandir(source) as entries:
            for entry in entries:
                inner = os.path.join(name, entry.name)
                if not is_wanted(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    self.copy_tree(entry.path, inner, is_wanted)
                elif (copied := self.copy(entry.path, inner)) is not None:
                    self.list_file(inner, *copied)


def _write(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]
