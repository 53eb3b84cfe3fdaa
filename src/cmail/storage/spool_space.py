"""FreeSpace: whether there is room for another message (rule 9), looked up off the event loop."""

import os
from collections.abc import Callable
from typing import Final

from cmail.storage.spool import SpoolFullError

_FRESH_S: Final = 1.0  # how long a look is good for
INODES_MIN: Final = 1000  # a content file each, and the mailboxes need theirs


class FreeSpace:
    """Free octets and inodes of a folder's file system, as of the last second."""

    def __init__(
        self,
        folder: str,
        free_min: int,
        monotonic: Callable[[], float],
        report: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._folder = folder
        self._free_min = free_min
        self._monotonic = monotonic
        self._report = report  # called from whichever thread looks
        self._looked_at = 0.0
        self._refusal: SpoolFullError | None = None
        self.look()

    @property
    def refusal(self) -> SpoolFullError | None:
        """Why a new message could not be taken, as last seen."""
        return self._refusal

    def is_due(self) -> bool:
        """Whether look() is to be called again; True once for each time."""
        now = self._monotonic()
        if now - self._looked_at < _FRESH_S:
            return False
        self._looked_at = now
        return True

    def look(self) -> None:
        """Ask the file system. Blocks when the disk hangs: not for the event loop."""
        before, self._refusal = self._refusal, self._ask()
        if self._refusal is not None and before is None:
            self._report(f"new mail has to wait outside (452): {self._refusal}")
        elif self._refusal is None and before is not None:
            self._report(f"new mail is taken again: there is room in {self._folder}")

    def _ask(self) -> SpoolFullError | None:
        try:
            found = os.statvfs(self._folder)
        except OSError as error:
            return SpoolFullError(f"{self._folder}: {error}")
        free = found.f_bavail * found.f_frsize
        if free < self._free_min:
            return SpoolFullError(
                f"{free >> 20} MiB are free in {self._folder}, {self._free_min >> 20} must be"
            )
        if found.f_files and found.f_favail < INODES_MIN:  # 0: a file system without a limit
            return SpoolFullError(f"{found.f_favail} inodes are free in {self._folder}")
        return None
