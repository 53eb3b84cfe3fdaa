"""Senders: who sent the mail that an attempt was about. A line about an attempt names the recipient alone."""

import os
from collections.abc import Sequence
from typing import Final

from cmail.admin.event_reader import EventReader
from cmail.admin.events import Event
from cmail.observe.journal_files import Piece, open_to_read, pieces

BEHIND: Final = 128 * 1024  # octets before an event: most mail is tried right after it has come
_OF_MAIL: Final = frozenset("sent expanded deferred bounced removed held released deleted reported".split())


class Senders:
    """Looks them up for the events of one page."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: dict[str, str] = {}
        self._last: tuple[int, int, bytes] = (0, 0, b"")  # inode, offset and octets that were read last

    def add(self, events: Sequence[Event]) -> None:
        """Give them their reverse_path where it is near by; blocks."""
        for event in events:
            if event.what == "accepted":
                self._known[event.queue_id] = event.get("reverse_path")
        lacking = [event for event in events if event.what in _OF_MAIL]
        files = {piece.inode: piece for piece in pieces(self._folder)} if lacking else {}
        for event in lacking:
            if event.queue_id not in self._known:
                self._look(event, files)
            if (sender := self._known.get(event.queue_id)) is not None:
                event.fields["reverse_path"] = sender

    def _look(self, event: Event, files: dict[int, Piece]) -> None:
        _, inode, offset = event.place.split(".")
        piece = files.get(int(inode))
        if piece is None:
            return
        octets = self._before(piece, int(offset))
        name, at = event.queue_id.encode(), 0
        while (at := octets.find(name, at)) >= 0:
            begin, end = octets.rfind(b"\n", 0, at) + 1, octets.find(b"\n", at)
            line = octets[begin : end if end >= 0 else len(octets)]
            if b"(queue active)" in line or b'"event":"accepted"' in line:
                found = EventReader(piece.day).read(line.decode("utf-8", "replace"))
                if found and found.what == "accepted" and found.queue_id == event.queue_id:
                    self._known[event.queue_id] = found.get("reverse_path")
                    return
            at = begin + len(line)

    def _before(self, piece: Piece, offset: int) -> bytes:
        """Octets in front of an offset. Events come newest first: often what was read for the one before
        will do."""
        inode, start, octets = self._last
        if inode == piece.inode and start <= max(0, offset - BEHIND // 2) and offset <= start + len(octets):
            return octets[: offset - start]
        start = max(0, offset - BEHIND)
        try:
            fd = open_to_read(piece.path)
        except OSError:
            return b""
        try:
            octets = os.pread(fd, offset - start, start)
        finally:
            os.close(fd)
        self._last = (piece.inode, start, octets)
        return octets
