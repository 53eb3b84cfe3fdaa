"""FaultyDisk: a way to the disk for SQLite that records what is done and fails when told to."""

import itertools
import threading
from collections.abc import Callable
from typing import Any, Final

import apsw

_NUMBERS: Final = itertools.count()


class FaultyDisk(apsw.VFS):
    """SQLite's own VFS, with a hand in between. `done` has (what, end of the file's name)."""

    def __init__(self) -> None:
        self.name = f"faulty-{next(_NUMBERS)}"
        self.done: list[tuple[str, str]] = []
        self.fails: Callable[[str, str], type[apsw.Error] | None] = lambda what, name: None
        self.gate = threading.Event()  # syncs wait here while it is not set
        self.gate.set()
        self.at_gate = threading.Event()  # somebody waits there
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "FaultyFile":
        """Open a file that we hear of."""
        return FaultyFile(self, name, flags)

    def heal(self) -> None:
        """From now on it works."""
        self.fails = lambda what, name: None

    def fail(self, error: type[apsw.Error], what: str, ending: str = "", times: int = 1 << 30) -> None:
        """Fail what is done to files with this ending, so many times."""
        left = itertools.count(1)

        def fails(done: str, name: str) -> type[apsw.Error] | None:
            return error if done == what and name.endswith(ending) and next(left) <= times else None

        self.fails = fails

    def hear(self, what: str, name: str) -> None:
        """Note it, or raise what was ordered."""
        error = self.fails(what, name)
        self.done.append((what if error is None else f"{what} failed", name))
        if error is not None:
            raise error("as ordered")


class FaultyFile(apsw.VFSFile):
    """One file on it."""

    def __init__(self, disk: FaultyDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = str(path).rpartition("/")[2]
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        """A sync, when the gate is open."""
        if not self._disk.gate.is_set():
            self._disk.at_gate.set()
            self._disk.gate.wait()
        self._disk.hear("sync", self._name)
        super().xSync(flags)

    def xWrite(self, data: Any, offset: int) -> None:
        """A write."""
        self._disk.hear("write", self._name)
        super().xWrite(data, offset)
