"""Looks through the files of the journal from their end: a bounded number of octets each time, in blocks."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from cmail.admin.event_reader import EventReader
from cmail.admin.events import KINDS, USUAL, Event
from cmail.mail.queue_id import arrival_ms, parse_queue_id
from cmail.observe.journal_files import Piece, day_of, open_to_read, pieces, place_of

BLOCK: Final = 128 * 1024
OVERLAP: Final = 4 * 1024  # looked at before a block, for the first lines of a message that ends in it
LOOKED_MAX: Final = 256 * 2**20  # octets in one go; then somebody asks to go on
LOOKED_S: Final = 1.0
WORDS_MAX: Final = 10
WORD_MAX: Final = 200
# Lines that lend something to the event of another line.
_LENDING: Final = (b"(queue active)", b": client=", b": message-id=", b": error: ")
_PLACE: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.(\d{1,20})\.(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to see."""

    text: str = ""  # an address, a queue id, words: all of them
    kinds: frozenset[str] = USUAL
    day: str = ""  # this one alone


@dataclass(frozen=True, slots=True)
class Found:
    """Events, the newest first."""

    events: Sequence[Event]
    further: str  # the place to go on from; "" when there is nothing before
    is_cut: bool = False  # so much was looked at that it is for somebody to say whether to go on
    looked_back_ms: int = 0  # so far; 0: nothing was there to be looked at


class Filter:
    """Whether an event is wanted, and whether a block may have one."""

    def __init__(self, wanted: Wanted) -> None:
        self._kinds = wanted.kinds
        self._words = [word[:WORD_MAX].lower() for word in wanted.text.split()[:WORDS_MAX]]
        self._octets = [word.encode() for word in self._words if word.isascii()]
        self._patterns = [
            re.compile(rf"(?<![\w.+-]){re.escape(word)}") for word in self._words if "@" in word[1:]
        ]
        marks = [KINDS[kind][1] for kind in wanted.kinds]
        self._marks = [mark for some in marks for mark in some] if all(marks) else []
        self._is_picky = bool(self._octets or self._marks)
        self._lending = _LENDING if self._words or "accepted" in wanted.kinds else ()

    def may_be_in(self, block: bytes) -> bool:
        """False: there is nothing in it."""
        if self._octets:
            small = block.lower()
            if not all(octets in small for octets in self._octets):
                return False
        return not self._marks or any(mark in block for mark in self._marks)

    def may_be_of(self, line: bytes) -> bool:
        """False: it need not be parsed."""
        if not self._is_picky:
            return True
        if self._marks and any(mark in line for mark in self._marks):
            return True
        small = line.lower() if self._octets and not self._marks else b""
        if small and any(octets in small for octets in self._octets):
            return True
        return any(mark in line for mark in self._lending)

    def takes(self, event: Event) -> bool:
        """Whether this is one."""
        if event.kind not in self._kinds:
            return False
        if not self._words:
            return True
        small = event.raw.lower()
        return all(word in small for word in self._words) and all(p.search(small) for p in self._patterns)


def find(folder: str, wanted: Wanted, limit: int, before: str = "", looked_max: int = LOOKED_MAX) -> Found:
    """At most `limit` events, from the end or from before a place; blocks."""
    wants = Filter(wanted)
    until = time.monotonic() + LOOKED_S
    events: list[Event] = []
    queue_id = wanted.text.strip().upper()  # if it is one: nothing of it is older than its arrival
    looked, looked_back_ms = 0, 0
    for piece, end in _to_look_at(folder, wanted, before):
        try:
            fd = open_to_read(piece.path)
        except OSError:
            continue  # it was removed meanwhile
        try:
            while end > 0:
                if looked >= looked_max or time.monotonic() > until:
                    return Found(events, place_of(piece, end), True, looked_back_ms)
                start, block, skipped = _read_block(fd, end)
                looked += end - start
                if wants.may_be_in(block):
                    found = list(_events(piece, start, block, skipped, wants))
                    looked_back_ms = found[0].wall_ms if found else looked_back_ms
                    for event in reversed(found):
                        if not wants.takes(event):
                            continue
                        events.append(event)
                        if event.what == "accepted" and event.queue_id == queue_id:
                            return Found(events, "", False, event.wall_ms)
                        if len(events) == limit:
                            return Found(events, event.place, False, event.wall_ms)
                end = start
        finally:
            os.close(fd)
    return Found(events, "", False, looked_back_ms)


def _to_look_at(folder: str, wanted: Wanted, before: str) -> Iterator[tuple[Piece, int]]:
    """The files and where in them to begin, the newest first."""
    place = _PLACE.fullmatch(before)
    oldest = _oldest_day(wanted.text)
    for piece in reversed(pieces(folder)):
        if piece.day < oldest or (wanted.day and piece.day != wanted.day):
            continue
        if place is None:
            yield piece, piece.size
        elif piece.day == place[1] and piece.inode == int(place[2]):
            yield piece, min(int(place[3]), piece.size)
            place = None
        elif piece.day < place[1]:  # that file is gone
            place = None
            yield piece, piece.size


def _oldest_day(text: str) -> str:
    """Of a message nothing is older than its id."""
    try:
        return day_of(arrival_ms(parse_queue_id(text.strip())) / 1000)[0]
    except (ValueError, OverflowError):
        return ""


def is_day(text: str) -> bool:
    """Whether it is written as the days here are."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _read_block(fd: int, end: int) -> tuple[int, bytes, int]:
    """Where a block of whole lines up to `end` begins, its octets with some of before, how many those are."""
    wanted = max(0, end - BLOCK)
    first = max(0, wanted - OVERLAP)
    octets = os.pread(fd, end - first, first)
    start = 0
    if wanted > 0:
        start = octets.find(b"\n", wanted - first - 1) + 1
        if not start or start >= len(octets):  # a line as long as a block is none of ours
            return first, b"", 0
    return first + start, octets, start


def _events(piece: Piece, start: int, octets: bytes, skipped: int, wants: Filter) -> Iterator[Event]:
    """In their order. The lines before the block only lend what belongs to a message in it."""
    reader = EventReader(piece.day)
    head, body = octets[:skipped], octets[skipped:]
    for line in head.split(b"\n")[1 if skipped < start else 0 :]:
        reader.read(line.decode("utf-8", "replace"))
    offset = start
    for line in body.split(b"\n")[:-1]:  # what has no end is being written
        event = reader.read(line.decode("utf-8", "replace")) if wants.may_be_of(line) else None
        if event is not None:
            event.place = place_of(piece, offset)
            yield event
        offset += len(line) + 1
