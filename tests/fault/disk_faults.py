"""Disk faults as a table: what goes wrong with the disk of a running server, and how it is well again."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.house import SETTINGS, RunningCmail
from tests.support.small_disk import SmallDisk
from tests.support.tracing import attached

LARGE: Final = 200_000  # octets: content in a file
ONE: Final = SETTINGS.replace("workers = 2", "workers = 1")
ON_DISK: Final = ONE.replace('data_dir = "data"', 'data_dir = "disk/data"')
SOON: Final = '[queue]\nretry = ["1s"]\n'
NO_RESERVE: Final = "[limits]\nfree_space = 0\n"


@dataclass
class House:
    """A running server and, where its data folder has one, the disk of its own."""

    cmail: RunningCmail
    disk: SmallDisk

    @property
    def owner(self) -> int:
        """Whose the data folder is."""
        return self.cmail.data.stat().st_uid


Fault = Callable[[House], AbstractContextManager[None]]


@contextmanager
def house(folder: Path, more: str = "", size: str = "64m", **also: Any) -> Iterator[House]:
    """A server whose data folder is on a small disk."""
    cmail = RunningCmail(folder, settings=ON_DISK, more=more, **also)
    with SmallDisk(cmail.folder / "disk", size) as disk:
        cmail.data = disk.folder / "data"
        with cmail:
            yield House(cmail, disk)


@contextmanager
def full(house: House) -> Iterator[None]:
    """Not an octet is left."""
    house.disk.fill()
    try:
        yield
    finally:
        house.disk.empty()


@contextmanager
def low(house: House) -> Iterator[None]:
    """Less than limits.free_space is left."""
    house.disk.fill(leave=16 << 20)
    try:
        yield
    finally:
        house.disk.empty()


def without_inodes(house: House) -> AbstractContextManager[None]:
    """No file can be made."""
    return house.disk.without_inodes()


def failing(calls: str, error: str) -> Fault:
    """Such system calls of the worker fail."""

    @contextmanager
    def fail(house: House) -> Iterator[None]:
        options = ("-e", f"trace={calls}", "-e", f"inject={calls}:error={error}")
        with attached(house.cmail.pid("worker-0"), *options):
            yield

    return fail


def away(name: str) -> Fault:
    """A file or folder below the data folder ("": itself) is renamed, and back."""

    @contextmanager
    def rename(house: House) -> Iterator[None]:
        path = house.cmail.data / name if name else house.cmail.data
        moved = house.disk.folder / "moved"
        path.rename(moved)
        try:
            yield
        finally:
            if path.is_dir() and not list(path.iterdir()):
                path.rmdir()
            moved.rename(path)

    return rename


def removed(name: str) -> Fault:
    """A folder below the data folder is removed for good."""

    @contextmanager
    def remove(house: House) -> Iterator[None]:
        path = house.cmail.data / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield

    return remove


@contextmanager
def unmounted(house: House) -> Iterator[None]:
    """The disk of the data folder is unmounted, lazily, and mounted again."""
    with house.disk.unmounted():
        yield


@dataclass(frozen=True)
class Row:
    """One fault, and which words `cmail status` has for it as long as it lasts (one of those between |);
    "" when the server cannot be asked, and the command says why."""

    name: str
    fault: Fault
    words: str
    logged: str  # what stands in the log


ROWS: Final = (
    Row("full", full, "no space is left|KiB are free|cannot be recorded", "no space"),
    Row("no inodes", without_inodes, "inodes are free", "inodes are free"),
    Row("EIO at sync", failing("fdatasync,fsync", "EIO"), "the disk failed at ", "the disk failed at "),
    Row("EIO at write", failing("pwrite64", "EIO"), "the disk failed at ", "the disk failed at "),
    Row(
        "EIO at read and sync",
        failing("pread64,fdatasync,fsync", "EIO"),
        "the disk failed at ",
        "no successor",
    ),
    Row("read-only", failing("pwrite64", "EROFS"), "Read-only file system", "Read-only file system"),
    Row("data folder moved", away(""), "", "is not there any more"),
    Row("spool moved", away("spool"), "is not there any more", "is not there any more"),
    Row("mailboxes moved", away("mail"), "mail cannot be delivered here", "mail cannot be delivered here"),
    Row("disk unmounted", unmounted, "", "is not there any more"),
)


def row(name: str) -> Row:
    """One by name."""
    return next(each for each in ROWS if each.name == name)


def troubles(cmail: RunningCmail) -> list[str]:
    """What `cmail status --json` says of trouble, with the process that says it."""
    return [f"{each['process']}: {each['words']}" for each in status(cmail).get("troubles", ())]


def status(cmail: RunningCmail) -> dict[str, Any]:
    """`cmail status --json`."""
    command = [sys.executable, "-m", "cmail", "--config", str(cmail.config), "status", "--json"]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert ended.stdout, ended.stderr.decode()
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def has_words(cmail: RunningCmail, words: str) -> bool:
    """Whether the status tells of this trouble; "" for any, also when the server cannot be asked."""
    found = troubles(cmail)
    return bool(found) if not words else any(each in text for each in words.split("|") for text in found)
