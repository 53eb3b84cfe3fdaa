"""Large content beside the database: content/<2 hex>/<queue id>, and what is set aside."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cmail.mail.queue_id import QueueId, arrival_ms, parse_queue_id, print_queue_id
from cmail.storage import durable

CONTENT: Final = "content"
_SYNCS_MAX: Final = 4  # files synced at the same time: the disk's queue fills, threads stay few


class ContentFiles:
    """The content files of one shard. Named by queue id alone, so that no row says where one is."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, CONTENT)
        self._aside = os.path.join(folder, "aside")
        self._pool = ThreadPoolExecutor(_SYNCS_MAX, thread_name_prefix="spool-sync")
        self._made: set[int] = set()
        self.has_any = False  # whether there may be a file at all
        durable.make_folder(self._folder)

    def path(self, queue_id: int) -> str:
        """Where content of this message is or would be. Messages of the same seconds share a
        folder, so that a batch of them needs one sync for their names."""
        return f"{self._folder}/{_spread(queue_id):02x}/{print_queue_id(queue_id)}"

    def forget(self) -> None:
        """The folder was made again: nothing is in it."""
        self._made.clear()
        durable.make_folder(self._folder)

    def make_room(self, queue_id: int) -> str:
        """path(), and its folder exists."""
        spread = _spread(queue_id)
        self.has_any = True
        if spread not in self._made:
            with contextlib.suppress(OSError):  # who writes the file says what is wrong
                _make(f"{self._folder}/{spread:02x}")
                self._made.add(spread)  # its own name is synced with the first batch that uses it
        return self.path(queue_id)

    def sync(self, paths: list[str]) -> dict[str, OSError]:
        """Make files durable, with their names; those that failed and why."""
        failed = self._each(durable.sync_file, paths)
        folders = {os.path.dirname(path) for path in paths}
        failed_folders = self._each(durable.sync_folder, [self._folder, *folders])
        for path in paths:
            for folder in (self._folder, os.path.dirname(path)):
                if folder in failed_folders:
                    failed.setdefault(path, failed_folders[folder])
        return failed

    def remove_path(self, path: str) -> None:
        """Unlink what is not needed any more; it may be gone already."""
        durable.remove(path)

    def set_aside(self, is_known: Callable[[list[QueueId]], set[int]]) -> list[str]:
        """Move every file that no message names into aside/ (rule 3); their new paths."""
        moved = []
        for folder, names in self._listed():
            ids = {name: queue_id for name in names if (queue_id := _parse(name)) is not None}
            known = is_known(list(ids.values()))
            self.has_any |= bool(known)
            for name in names:
                if ids.get(name) not in known:
                    moved.append(self._move_aside(os.path.join(folder, name)))
        return moved

    def incomplete(self, sizes: Iterable[tuple[int, int]]) -> list[int]:
        """Which of these messages (id, octets in the file) have not their content, all of it."""
        return [queue_id for queue_id, size in sizes if _size(self.path(queue_id)) != size]

    def close(self) -> None:
        """End the threads that sync."""
        self._pool.shutdown()

    def _listed(self) -> Iterator[tuple[str, list[str]]]:
        for number in range(256):
            folder = f"{self._folder}/{number:02x}"
            if os.path.isdir(folder):
                yield folder, sorted(os.listdir(folder))

    def _move_aside(self, path: str) -> str:
        durable.make_folder(self._aside)
        moved = os.path.join(self._aside, os.path.basename(path))
        os.rename(path, moved)
        return moved

    def _each(self, sync: Callable[[str], None], paths: list[str]) -> dict[str, OSError]:
        if len(paths) == 1:
            results = [_tried(sync, paths[0])]
        else:
            results = list(self._pool.map(_tried, [sync] * len(paths), paths))
        return {path: error for path, error in zip(paths, results, strict=True) if error is not None}


def content_name(queue_id: int) -> str:
    """ContentFiles.path() within the folder of its shard."""
    return f"{CONTENT}/{_spread(queue_id):02x}/{print_queue_id(queue_id)}"


def _make(folder: str) -> None:
    """One folder, and none above it: the shard may be away, and nothing must stand in its place."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)


def _tried(sync: Callable[[str], None], path: str) -> OSError | None:
    try:
        sync(path)
    except OSError as error:
        return error
    return None


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return -1


def _spread(queue_id: int) -> int:
    return arrival_ms(queue_id) >> 12 & 255  # about four seconds a folder


def _parse(name: str) -> QueueId | None:
    try:
        return parse_queue_id(name)
    except ValueError:
        return None
