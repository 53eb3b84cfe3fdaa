"""A backup back into a data folder: built aside, checked octet for octet, and only then put in its place."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Final

from cmail.storage import durable
from cmail.storage.backup import DROP, MAIL, OF_A_RUN, REPLACED, RESTORING, SPOOL
from cmail.storage.backup_list import (
    DATA,
    PIECE_OCTETS,
    BackupError,
    DamagedError,
    Entry,
    Facts,
    Opened,
    problem_of,
    read_facts,
    read_list,
    words_of_missing,
)
from cmail.storage.backup_spool import FILE, RestoredShard
from cmail.storage.migrations import SchemaTooNewError

DROP_MODE: Final = 0o1733
_DROPPED_MODE: Final = 0o644  # whoever runs the server reads it


@dataclass(slots=True)
class Restored:
    """What was brought back."""

    facts: Facts
    queued: int = 0
    mail: int = 0
    replaced: str = ""  # where what was there stands now


def has_data(data_dir: str) -> bool:
    """Whether anything is there that a restore would be in the way of: any file but those of a run."""
    for name in _parts(data_dir):
        path = os.path.join(data_dir, name)
        if not os.path.isdir(path) or os.path.islink(path):
            return True
        if any("lock" != file for _, _, files in os.walk(path) for file in files):
            return True
    return False


def restore(
    backup: str, data_dir: str, opened: Opened, as_root: Callable[[], AbstractContextManager[None]]
) -> Restored:
    """Bring it back; durable when this returns. The data folder is ours (its lock is held) and writable;
    what is in it is moved to replaced-TIME. DamagedError, OSError: nothing has changed."""
    facts = read_facts(backup, opened)
    for name in _parts(data_dir):
        if os.path.ismount(os.path.join(data_dir, name)):
            raise BackupError(
                f"{data_dir}/{name} is a disk of its own: unmount it, and restore without it", 73
            )
    staging = os.path.join(data_dir, RESTORING)
    shutil.rmtree(staging, ignore_errors=True)  # of one that was cut short
    os.mkdir(staging, 0o700)
    restored = Restored(facts)
    try:
        _Building(backup, staging, opened, as_root, restored).build()
        durable.sync_file_system(staging)
        restored.replaced = _exchange(data_dir, staging)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return restored


class _Building:
    def __init__(
        self,
        backup: str,
        staging: str,
        opened: Opened,
        as_root: Callable[[], AbstractContextManager[None]],
        restored: Restored,
    ) -> None:
        self._backup, self._staging, self._opened, self._as_root = backup, staging, opened, as_root
        self._restored = restored
        self._problems: list[str] = []
        self._shards: list[RestoredShard] = []

    def build(self) -> None:
        """All of it, or DamagedError with all that is wrong."""
        facts = self._restored.facts
        try:
            for entry in read_list(self._backup, facts, self._opened):
                if entry.path.startswith(DATA + "/"):
                    self._bring(entry, entry.path.removeprefix(DATA + "/").split("/"))
            if self._problems:
                raise DamagedError(self._backup, self._problems)
            # As late as the copy can know of: ids above were not given out when it ended.
            self._restored.queued += sum(shard.finish(facts.ended_ms) for shard in self._shards)
            self._shards.clear()
        finally:
            for shard in self._shards:
                shard.close()
        os.makedirs(os.path.join(self._staging, DROP), exist_ok=True)
        os.chmod(os.path.join(self._staging, DROP), DROP_MODE)

    def _bring(self, entry: Entry, parts: list[str]) -> None:
        path = os.path.join(self._staging, *parts)
        if not entry.digest:
            os.makedirs(path, mode=0o700, exist_ok=True)
            return
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if not self._copy(entry, path):
            return
        if parts[0] == DROP:
            self._give_back(entry, path)
        elif parts[0] == MAIL and parts[-2] in ("new", "cur"):
            self._restored.mail += 1
            for shard in self._shards:
                shard.note_mail(parts[-1])
        elif parts[0] == SPOOL and parts[2:] == [FILE] and not self._problems:
            self._open_shard(path)

    def _copy(self, entry: Entry, path: str) -> bool:
        try:
            source = self._opened(os.path.join(self._backup, entry.path))
        except OSError as error:
            self._problems.append(words_of_missing(entry, error))
            return False
        digest, size = hashlib.sha256(), 0
        with source, open(path, "xb", buffering=0) as target:
            os.fchmod(target.fileno(), 0o600)
            for piece in _pieces(source):
                digest.update(piece)
                size += len(piece)
                if not self._problems:  # else nothing comes of it: only look on
                    _write(target.fileno(), piece)
            changed_ns = os.fstat(source.fileno()).st_mtime_ns
            os.utime(target.fileno(), ns=(changed_ns, changed_ns))
        problem = problem_of(entry, digest.hexdigest(), size)
        if problem:
            self._problems.append(problem)
        return not problem

    def _give_back(self, entry: Entry, path: str) -> None:
        """A file in the drop folder belongs to who submitted it."""
        self._restored.queued += 1
        os.chmod(path, _DROPPED_MODE)
        with self._as_root():
            if os.geteuid() == 0 and entry.uid >= 0:
                os.chown(path, entry.uid, -1, follow_symlinks=False)

    def _open_shard(self, path: str) -> None:
        try:
            self._shards.append(RestoredShard(path))
        except SchemaTooNewError as error:
            raise BackupError(str(error), 78) from None


def _exchange(data_dir: str, staging: str) -> str:
    """What is there goes aside, what was built comes in, the queue last; where the old stands."""
    replaced = ""
    if has_data(data_dir):
        replaced = os.path.join(data_dir, REPLACED + time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        os.mkdir(replaced, 0o700)
    for name in _parts(data_dir):
        path = os.path.join(data_dir, name)
        if replaced:
            os.rename(path, os.path.join(replaced, name))
        else:
            shutil.rmtree(path)  # folders without a file in them
    for name in sorted(os.listdir(staging), key=lambda name: (name == SPOOL, name)):
        os.rename(os.path.join(staging, name), os.path.join(data_dir, name))
    os.rmdir(staging)
    if replaced:
        durable.sync_folder(replaced)
    durable.sync_folder(data_dir)
    return replaced


def _parts(data_dir: str) -> list[str]:
    """What belongs to the data, by name."""
    return [
        name
        for name in sorted(os.listdir(data_dir))
        if name not in (*OF_A_RUN, RESTORING) and not name.startswith(REPLACED)
    ]


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(PIECE_OCTETS):
        yield piece


def _write(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]
