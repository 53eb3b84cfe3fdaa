"""ContentFile: large content on its way to a file, written off the loop while it arrives."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from cmail.observe import trouble
from cmail.storage import durable
from cmail.storage.spool import SpoolError, SpoolFullError

_TROUBLE: Final = "content files"
_PROBE: Final = bytes(65536)
WAITING_OCTETS_MAX: Final = 512 * 1024  # handed over and not yet written: the client waits above it
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))


class Writers:
    """The threads that write large content, and how many files they are at."""

    def __init__(self, threads: int) -> None:
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="content")
        self.open_count = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def begin(self) -> None:
        """A file more."""
        self.open_count += 1
        self._is_idle.clear()

    def end(self) -> None:
        """A file is closed, or gone."""
        self.open_count -= 1
        if not self.open_count:
            self._is_idle.set()

    async def close(self, timeout_s: float) -> None:
        """Wait for what is written, for a bounded time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), timeout_s)
        self.executor.shutdown(wait=False)


class ContentFile:
    """Pieces go to one file in order, one write at a time. It is not synced: Spool.accept() does that.

    When something fails nothing more is written, the file goes away, and finish() says what it was."""

    def __init__(
        self,
        path: str,
        writers: Writers,
        on_room: Callable[[], None],
        watch: Callable[[bytes], None] | None = None,
    ) -> None:
        self.path = path
        self._watch = watch  # sees each piece, in the thread that writes it
        self.octets = 0
        self._writers = writers
        self._is_closed = False
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        writers.begin()
        self._fd = -1
        self._waiting: list[bytes] = []
        self._waiting_octets = 0
        self._is_writing = False
        self._is_aborted = False
        self._error: SpoolError | None = None
        self._done: Callable[[SpoolError | None], None] | None = None

    @property
    def is_full(self) -> bool:
        """The disk does not keep up."""
        return self._waiting_octets > WAITING_OCTETS_MAX

    def write(self, piece: bytes) -> None:
        """Some more."""
        self.octets += len(piece)
        if self._error is None and not self._is_aborted:
            self._waiting.append(piece)
            self._waiting_octets += len(piece)
            self._go_on()

    def finish(self, done: Callable[[SpoolError | None], None]) -> None:
        """That was all: `done` is called in the loop when it is written and closed."""
        self._done = done
        self._go_on()

    def remove(self, done: Callable[[], None]) -> None:
        """All is written, and it is not wanted: `done` is called in the loop when it is gone. What cannot be
        removed is set aside at the next start."""
        try:
            work = self._loop.run_in_executor(self._writers.executor, durable.remove, self.path)
        except RuntimeError:  # the server is going down
            return done()
        work.add_done_callback(partial(_gone, done))

    def abort(self) -> None:
        """It is not wanted any more."""
        self._is_aborted = True
        self._waiting, self._waiting_octets = [], 0
        self._go_on()

    def _go_on(self) -> None:
        if self._is_writing:
            return
        pieces, self._waiting = self._waiting, []
        is_last = self._done is not None or self._is_aborted or self._error is not None
        if pieces or is_last:
            try:
                work = self._loop.run_in_executor(self._writers.executor, self._work, pieces, is_last)
            except RuntimeError:  # the server is going down; what is not whole must not stay
                self._is_aborted = True
                self._close()
                return self._end()
            self._is_writing = True
            work.add_done_callback(self._written)

    def _work(self, pieces: list[bytes], is_last: bool) -> None:
        """In a thread of the pool."""
        if pieces and self._fd < 0:
            self._fd = _open_new(self.path)
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._fd, view) :]
            if self._watch is not None:
                self._watch(piece)
        if is_last:
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            if self._is_aborted or self._error is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)

    def _end(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._writers.end()

    def _written(self, work: "asyncio.Future[None]") -> None:
        self._is_writing = False
        error = work.exception()
        if isinstance(error, OSError):
            kind = SpoolFullError if error.errno in _FULL else SpoolError
            self._error = kind(f"{self.path}: {error.strerror}")
            words = f"large messages have to wait outside: {os.path.dirname(self.path)}: {error.strerror}"
            trouble.begin(_TROUBLE, words, lambda: _is_writable(self.path, self.octets))
            self._waiting = []
        elif error is not None:
            self._error = SpoolError(repr(error))
            self._waiting = []
        self._waiting_octets = sum(map(len, self._waiting))
        is_ending = self._done is not None or self._is_aborted or self._error is not None
        if self._waiting or (is_ending and self._fd >= 0):
            self._go_on()
        elif is_ending:
            self._end()
            if self._error is None and trouble.is_any():
                trouble.end(_TROUBLE)
            done, self._done = self._done, None
            if done is not None:
                done(self._error)
        if not self.is_full:
            self._on_room()


def _gone(done: Callable[[], None], work: "asyncio.Future[None]") -> None:
    if not work.cancelled():
        work.exception()  # it was looked at
    done()


def _open_new(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except (
        FileNotFoundError
    ):  # somebody has removed the folder, or the one above it: not the whole shard, else this fails too
        _make_again(os.path.dirname(path))
        return os.open(path, flags, 0o600)


def _make_again(folder: str) -> None:
    above = os.path.dirname(folder)
    for made in (above, folder):
        with contextlib.suppress(FileExistsError):
            os.mkdir(made, 0o700)
    durable.sync_folder(os.path.dirname(above))


def _is_writable(path: str, octets: int) -> bool:
    """Whether content of this size would find its place now; tried with a small file."""
    found = os.statvfs(os.path.dirname(os.path.dirname(path)))
    if found.f_bavail * found.f_frsize < octets:
        return False
    probe = f"{path}.probe"
    fd = _open_new(probe)
    try:
        os.write(fd, _PROBE)
        os.fsync(fd)
    finally:
        os.close(fd)
        os.unlink(probe)
    return True
