"""Anchor: a file or folder as it was when we took it, and whether its name still leads to it.

A folder that was moved away, or whose disk was unmounted, lets us go on in what nobody will find again; what
stands in its place may be an empty folder below a mount point. So we hold what we took and look."""

import os
from enum import Enum


class Where(Enum):
    """What a name leads to now."""

    HERE = "is there"
    AWAY = "is not there"  # moved or unmounted: it may come back
    OTHER = "is another one"  # and ours still is somewhere, moved or below a mount
    RETURNED = "is there again, on a device of another number"  # unplugged and plugged in
    REMOVED = "was removed"  # for good: nobody can bring it back
    REPLACED = "was removed, another one is there"


class Anchor:
    """Holds one file or folder. O_PATH: it cannot be read by this, and closing it lets go of no lock."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        status = os.fstat(self._fd)
        self._mine = status.st_dev, status.st_ino

    def look(self) -> Where:
        """Blocks as long as the disk does."""
        try:
            found = os.stat(self.path)
        except OSError:
            return Where.AWAY if os.fstat(self._fd).st_nlink else Where.REMOVED
        device, number = self._mine
        if found.st_ino == number:
            return Where.HERE if found.st_dev == device else Where.RETURNED
        return Where.OTHER if os.fstat(self._fd).st_nlink else Where.REPLACED

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)
