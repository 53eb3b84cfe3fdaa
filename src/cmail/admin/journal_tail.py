"""Tail: what is new in the journal since the last look; bounded, however much that is."""

import os
import re
from typing import Final

from cmail.admin.event_reader import EventReader
from cmail.admin.events import Event
from cmail.observe.journal_files import Piece, open_to_read, pieces, place_of

READ_MAX: Final = 256 * 1024  # octets a look; of more the newest are shown
EVENTS_MAX: Final = 200
_SENDERS_MAX: Final = 5000  # messages whose sender is remembered
_FILES: Final = 2  # the newest: one that was set aside is written for a moment longer
_PLACE: Final = re.compile(r"(\d{1,20})\.(\d{1,18})")


class Tail:
    """Follows the newest files. Begins at their end, or behind a place where another one was."""

    def __init__(self, folder: str, after: str = "") -> None:
        self._folder = folder
        self._offsets: dict[int, int] = {}  # of each inode
        self._readers: dict[int, EventReader] = {}
        self._senders: dict[str, str] = {}
        given = {int(found[1]): int(found[2]) for found in _PLACE.finditer(after[:100])}
        newest = pieces(folder)[-_FILES:]
        is_known = any(piece.inode in given for piece in newest)
        for piece in newest:
            self._offsets[piece.inode] = given.get(piece.inode, 0 if is_known else piece.size)

    @property
    def place(self) -> str:
        """Where it is now."""
        return "-".join(f"{inode}.{offset}" for inode, offset in self._offsets.items())

    def read(self) -> tuple[list[Event], bool]:
        """What is new, in its order; whether some of it is left out. Blocks."""
        events: list[Event] = []
        is_cut = False
        newest = pieces(self._folder)[-_FILES:]
        for piece in newest:
            is_cut |= self._read(piece, events)
        there = {piece.inode for piece in newest}
        self._offsets = {inode: at for inode, at in self._offsets.items() if inode in there}
        self._readers = {inode: reader for inode, reader in self._readers.items() if inode in there}
        return events[-EVENTS_MAX:], is_cut or len(events) > EVENTS_MAX

    def _read(self, piece: Piece, events: list[Event]) -> bool:
        start = self._offsets.setdefault(piece.inode, 0)
        if start > piece.size:  # another file that was given the number of one that is gone
            start = 0
        first = max(start, piece.size - READ_MAX)
        octets = _read(piece.path, first, piece.size)
        if first > start:
            skipped = octets.find(b"\n") + 1
            first, octets = first + skipped, octets[skipped:]
        whole = octets[: octets.rfind(b"\n") + 1]
        self._offsets[piece.inode] = first + len(whole)
        reader = self._readers.setdefault(piece.inode, EventReader(piece.day))
        for line in whole.split(b"\n"):
            if event := reader.read(line.decode("utf-8", "replace")):
                event.place = place_of(piece, first)
                self._add_sender(event)
                events.append(event)
            first += len(line) + 1
        return piece.size - start > READ_MAX

    def _add_sender(self, event: Event) -> None:
        if event.what == "accepted":
            self._senders[event.queue_id] = event.get("reverse_path")
            if len(self._senders) > _SENDERS_MAX:
                del self._senders[next(iter(self._senders))]
        elif (sender := self._senders.get(event.queue_id)) is not None:
            event.fields.setdefault("reverse_path", sender)


def _read(path: str, start: int, end: int) -> bytes:
    if start >= end:
        return b""
    try:
        fd = open_to_read(path)
    except OSError:
        return b""  # it was removed meanwhile
    try:
        return os.pread(fd, end - start, start)
    finally:
        os.close(fd)
