"""The journal: the lines of the log once more, in a file a day, for the page that shows what happened.

DATA/log/YYYY-MM-DD.log (observe/journal_files.py). All processes append to it, whole lines in one write, so
that those of two never mix (O_APPEND). Nothing here raises or waits for anybody: what cannot be written is
missing on the page, that is said once, and mail goes on."""

import os
import time
from collections.abc import Callable
from typing import Final

from cmail.observe.journal_files import day_of, path_of

RETRY_S: Final = 2.0  # before a file that cannot be opened is tried again
_LONG_S: Final = 86400.0


class JournalWriter:
    """Appends to the file of the day. Not for two threads at once: the sink has a lock."""

    def __init__(self, folder: str, size_max: int, wall: Callable[[], float] = time.time) -> None:
        """`size_max`: with more in its file it writes no more, until somebody has made room; whoever
        prunes (journal_files.prune) does so long before."""
        self.size_max = size_max
        self.folder = folder
        self._wall = wall
        self._path = ""
        self._fd = -1
        self._from_s = self._until_s = 0.0  # the file, or that there is none, holds within
        self._is_cut = False  # the file ends in the middle of a line of ours
        self._why = ""  # why lines are missing now
        self._has_said = False

    def write(self, lines: bytes) -> None:
        """Whole lines, each with its end."""
        now = self._wall()
        if not self._from_s <= now < self._until_s:
            self._open(now)
        if self._fd < 0:
            return
        if self._is_cut:
            lines = b"\n" + lines
        try:
            written = os.write(self._fd, lines)
        except OSError as error:
            self._why = error.strerror or str(error)
            return
        if written == len(lines):
            self._is_cut = False
        else:  # the disk is full
            self._is_cut = not lines.endswith(b"\n", 0, written)
            self._why = "No space left on device"

    def heal(self) -> str:
        """Now and then: go on under the file's name when it was rotated or removed. What there is to
        tell since the last time, in words; "" for nothing."""
        self._tend()
        if bool(self._why) == self._has_said:
            return ""
        self._has_said = bool(self._why)
        return self.trouble() or "the journal of the page is written again"

    def trouble(self) -> str:
        """What is wrong, in words; "" for nothing."""
        if not self._why:
            return ""
        return f"the journal of the page, {self._path}, has lines missing: {self._why}"

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _tend(self) -> None:
        now = self._wall()
        try:
            if self._fd < 0 or not os.path.samestat(os.stat(self._path), os.fstat(self._fd)):
                self._open(now)
            found = os.fstat(self._fd) if self._fd >= 0 else None
        except OSError:
            self._open(now)
            return
        if found is None:
            return
        if found.st_size > self.size_max:
            self.close()
            self._why = f"it has grown to {found.st_size} octets, and nobody removed old days"
            self._from_s, self._until_s = now, now + _LONG_S  # heal() looks again
        elif self._why and _has_room(self._fd):
            self._why = ""

    def _open(self, now: float) -> None:
        day, begins_s, ends_s = day_of(now)
        self.close()
        self._is_cut = False
        self._path = path_of(self.folder, day)
        try:
            self._fd = _open_file(self._path)
        except OSError as error:
            self._why = error.strerror or str(error)
            self._from_s, self._until_s = now, now + RETRY_S
            return
        self._from_s, self._until_s = begins_s, ends_s


def _open_file(path: str) -> int:
    """A regular file of ours, made anew with its folder when it is not there."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.mkdir(os.path.dirname(path), 0o700)
        return os.open(path, flags, 0o600)


def _has_room(fd: int) -> bool:
    try:
        found = os.fstatvfs(fd)
    except OSError:
        return False
    return found.f_bavail > 0 and not found.f_flag & os.ST_RDONLY
