"""The files of the journal: their names, which there are, and which go when there are too many.

The file that is written has the day for its name; when it has grown large it is set aside as .1, then .2 and
so on, oldest first, so that a part of a day can go and the rest stay."""

import contextlib
import os
import re
import stat
import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

FOLDER: Final = "log"  # in the data folder
PIECES: Final = 4  # a file is set aside when it has this part of all that may be kept
PIECE_MIN: Final = 64 * 1024
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.log(?:\.([1-9]\d{0,8}))?")
_WRITTEN_NOW: Final = 1 << 62  # behind all numbers


@dataclass(frozen=True, slots=True)
class Piece:
    """One file: a day, or the part of it with this number."""

    day: str
    number: int
    path: str
    size: int
    inode: int


def day_of(wall_s: float) -> tuple[str, float, float]:
    """The day of a moment here, as 2026-11-23, when it begins and when the next one does."""
    t = time.localtime(wall_s)
    begins_s = time.mktime((t.tm_year, t.tm_mon, t.tm_mday, 0, 0, 0, 0, 0, -1))
    ends_s = time.mktime((t.tm_year, t.tm_mon, t.tm_mday + 1, 0, 0, 0, 0, 0, -1))
    day = f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}"
    return day, min(begins_s, wall_s), max(ends_s, wall_s + 1)  # a midnight that the clocks leave out


def path_of(folder: str, day: str) -> str:
    """The file that is written on a day."""
    return os.path.join(folder, f"{day}.log")


def place_of(piece: Piece, offset: int) -> str:
    """A place that stays when the file is set aside."""
    return f"{piece.day}.{piece.inode}.{offset}"


def pieces(folder: str) -> list[Piece]:
    """All files there are, oldest first; blocks."""
    found = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or not _is_day(match[1]):
            continue
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):  # it was removed meanwhile
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                continue
            number = int(match[2]) if match[2] else _WRITTEN_NOW
            found.append(Piece(match[1], number, path, status.st_size, status.st_ino))
    return sorted(found, key=lambda piece: (piece.day, piece.number))


def open_to_read(path: str) -> int:
    """A file of the journal, and nothing that somebody may have put in its place; OSError: it is gone."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def prune(
    folder: str, keep: timedelta, size_max: int, free_min: int = 0, wall_s: float | None = None
) -> None:
    """Remove what is older than `keep` and, oldest first, what is beyond `size_max`; set the written file
    aside in time. With less than `free_min` free on the disk all but that file goes: mail needs the room
    more than its history. Blocks; OSError: it cannot be done."""
    today = day_of(time.time() if wall_s is None else wall_s)[0]
    oldest = (date.fromisoformat(today) - keep).isoformat() if keep < timedelta(36500) else ""
    kept = []
    for piece in pieces(folder):
        if piece.day < oldest and piece.day != today:
            os.unlink(piece.path)
        else:
            kept.append(piece)
    total = sum(piece.size for piece in kept)
    while len(kept) > 1 and (total > size_max or _is_short(folder, free_min)):
        piece = kept.pop(0)
        os.unlink(piece.path)
        total -= piece.size
    if kept and kept[-1].number == _WRITTEN_NOW and kept[-1].size > max(size_max // PIECES, PIECE_MIN):
        _set_aside(kept)


def _set_aside(kept: list[Piece]) -> None:
    """Whoever has it open writes on in it for a moment, until he sees that its name is another's."""
    written = kept[-1]
    numbers = [piece.number for piece in kept[:-1] if piece.day == written.day]
    os.rename(written.path, f"{written.path}.{max(numbers, default=0) + 1}")


def _is_short(folder: str, free_min: int) -> bool:
    if not free_min:
        return False
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < free_min


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
