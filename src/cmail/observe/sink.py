"""Sink: where log lines go. Buffered, written once a turn of the event loop, never in its way."""

import asyncio
import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable
from typing import Final

from cmail.observe import metrics
from cmail.observe.journal import JournalWriter

PIECE_OCTETS: Final = 4096  # PIPE_BUF: a pipe that polls writable takes this much without waiting
LINES_AT_ONCE: Final = 512  # buffered lines that are written without waiting for the end of the turn
KEPT_OCTETS_MAX: Final = 1 << 20  # kept while nobody reads the pipe; then lines are lost, and counted
RETRY_S: Final = 0.1
PATIENCE_S: Final = 1.0  # of close(), for a reader that is slow

# Rule 17: no octet but what prints; put() sees to it that \n stands only where a line ends.
_PRINTING: Final = bytes(c if (c >= 0x20 and c != 0x7F) or c == 0x0A else 0x3F for c in range(256))


def printing(text: str) -> str:
    """The text with ? for whatever does not print."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


class Sink:
    """A file, a pipe or a terminal that takes whole lines. Usable from any thread, with or without a
    loop. No write raises: a log that cannot be written must not stop mail."""

    def __init__(self, fd: int, path: str = "", *, is_substitute: bool = False) -> None:
        """`is_substitute`: it could not be opened, and `fd` is where lines go until it can."""
        self._fd = fd
        self._path = path
        self._is_substitute = is_substitute
        self._is_cut = False  # the file ends in the middle of a line
        self._why = ""  # why the last write came to nothing; "" when it did not
        self._lost_count = 0  # lines, since somebody took the number
        self._lost_why = ""
        self._is_file = _is_regular(fd)
        self._lines: list[str] = []
        self._kept = bytearray()  # encoded, not taken yet; begins with a whole line
        self._is_scheduled = False
        self._lock = threading.Lock()
        self.journal: JournalWriter | None = None  # is given the same lines

    def put(self, line: str) -> None:
        """Append a line, given without its end."""
        self._lines.append(line if "\n" not in line else line.replace("\n", "?"))
        if self._is_scheduled:
            if len(self._lines) >= LINES_AT_ONCE:
                self.flush()
            return
        try:
            asyncio.get_running_loop().call_soon(self._flush_in_loop)
        except RuntimeError:
            self.flush()
        else:
            self._is_scheduled = True

    def flush(self) -> None:
        """Write what can be written now."""
        with self._lock:
            count = len(self._lines)
            if count:
                octets = self._encode(self._lines[:count])
                del self._lines[:count]
                self._kept += octets
                if self.journal is not None:
                    self.journal.write(octets)
            if self._kept:
                self._write()

    def close(self) -> None:
        """Write all, with some patience for a slow reader, and close a file of our own."""
        self.flush()
        if self._kept:
            _is_writable(self._fd, PATIENCE_S)
            self.flush()
        if self._path:
            with contextlib.suppress(OSError):
                os.close(self._fd)

    def reopen(self, open_file: Callable[[str], int]) -> None:
        """Close the file and open its name again (it was rotated). When that fails the OSError goes
        up and the old file is written on."""
        if not self._path:
            return
        fd = open_file(self._path)
        with self._lock:
            old, self._fd = self._fd, fd
            self._is_file = _is_regular(fd)
            self._is_substitute = self._is_cut = False
        os.close(old)

    def heal(self, open_file: Callable[[str], int]) -> None:
        """Open the file when it was removed or never could be opened. OSError: not yet."""
        if self._path and (self._is_substitute or (self._is_file and not os.fstat(self._fd).st_nlink)):
            self.reopen(open_file)
        if self._why and _has_room(self._fd):
            self._why = ""

    def heal_journal(self) -> str:
        """See JournalWriter.heal."""
        if self.journal is None:
            return ""
        with self._lock:
            return self.journal.heal()

    def take_lost(self) -> tuple[int, str]:
        """How many lines were lost, and why; once, and not before lines can be written again."""
        if self._why or not self._lost_count:
            return 0, ""
        count, self._lost_count = self._lost_count, 0
        return count, self._lost_why

    def trouble(self) -> str:
        """What is wrong, in words; "" for nothing."""
        if self._why and not _has_room(self._fd):
            return f"lines of the log {self._path or 'on standard error'} are lost: {self._why}"
        if self._is_substitute:
            return f"the log {self._path} cannot be opened: its lines go to standard error"
        if self._path and not _leads_to(self._path, self._fd):
            return f"the log {self._path} is not there: its lines go to the file that had this name"
        return ""

    def forget(self) -> None:
        """In a process that was just forked: the lines are those of its parent, who writes them."""
        self._lines.clear()
        self._kept.clear()
        self._is_scheduled = False
        self._lock = threading.Lock()

    def _flush_in_loop(self) -> None:
        self._is_scheduled = False
        self.flush()
        if self._kept:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(RETRY_S, self._flush_in_loop)

    def _encode(self, lines: list[str]) -> bytes:
        text = "\n".join(lines)
        if not text.isascii():
            text = "\n".join(map(printing, lines))
        return text.encode("utf-8", "replace").translate(_PRINTING) + b"\n"

    def _write(self) -> None:
        try:
            while self._kept:
                size = self._next_piece()
                if not size:
                    break
                if self._is_cut:
                    os.write(self._fd, b"\n")
                written = os.write(self._fd, bytes(self._kept[:size]))
                self._is_cut = self._is_file and self._kept[written - 1] != 0x0A
                del self._kept[:written]
                if self._is_cut:  # the disk is full: what is left of this line is lost with it
                    self._lose(1)
                self._why = ""
        except BlockingIOError:
            pass  # somebody made it non-blocking: later
        except OSError as error:
            self._why = error.strerror or str(error)
            self._lose(len(self._kept))  # disk full, reader gone
        if len(self._kept) > KEPT_OCTETS_MAX:
            self._lose(len(self._kept) - KEPT_OCTETS_MAX)

    def _next_piece(self) -> int:
        """How much may be written without waiting: whole lines of a pipe's piece, so that the lines
        of several processes do not mix."""
        if self._is_file:
            return len(self._kept)
        if not _is_writable(self._fd, 0):
            return 0
        end = self._kept.rfind(b"\n", 0, PIECE_OCTETS) + 1
        return end or PIECE_OCTETS

    def _lose(self, size: int) -> None:
        """Drop the oldest lines, at least `size` octets of them."""
        end = self._kept.find(b"\n", max(size - 1, 0)) + 1 or len(self._kept)
        count = self._kept.count(b"\n", 0, end)
        metrics.LOG_LINES_LOST.value += count
        self._lost_count += count
        self._lost_why = self._why or "nobody took them"
        del self._kept[:end]


def _is_regular(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def _has_room(fd: int) -> bool:
    try:
        found = os.fstatvfs(fd)
    except OSError:
        return False
    return not _is_regular(fd) or (found.f_bavail > 0 and not found.f_flag & os.ST_RDONLY)


def _leads_to(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False


def _is_writable(fd: int, wait_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(wait_s * 1000))
