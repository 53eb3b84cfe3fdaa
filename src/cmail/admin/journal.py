"""The journal as page and API read it: search, older days, what happened to a message, what happens now."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cmail.admin.events import KINDS, Event
from cmail.admin.journal_scan import Filter, Found, Wanted, find, is_day
from cmail.admin.journal_tail import Tail
from cmail.admin.rows import rfc3339
from cmail.admin.senders import Senders
from cmail.admin.sentences import sentence
from cmail.observe.journal_files import open_to_read, pieces

SEARCHES_MAX: Final = 2  # at once; the others wait
STREAMS_MAX: Final = 8
LIMIT_MAX: Final = 1000
LOOK_S: Final = 0.5  # between two looks at what is new
IDLE_S: Final = 15.0  # without anything new a word is said all the same: is anybody there?
PIECE_OCTETS: Final = 256 * 1024
ALL: Final = frozenset(KINDS)


class TooManyError(Exception):
    """So many look at what happens now that there is no room for another."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day that is kept."""

    day: str  # 2026-11-23
    size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What has happened since the last one; perhaps nothing."""

    events: Sequence[Event]
    after: str  # the place to go on from, should this be cut off
    is_cut: bool = False  # there was more than can be shown at once


class Journal:
    """The journal of one server. All of it reads; nothing blocks the event loop."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._searching = asyncio.Semaphore(SEARCHES_MAX)
        self._streams = 0
        self._is_closed = False

    async def days(self) -> list[Day]:
        """Those that are kept, the newest first."""
        sizes: dict[str, int] = {}
        for piece in await asyncio.to_thread(pieces, self._folder):
            sizes[piece.day] = sizes.get(piece.day, 0) + piece.size
        return [Day(day, size) for day, size in sorted(sizes.items(), reverse=True)]

    async def find(self, wanted: Wanted, limit: int = 100, before: str = "") -> Found:
        """The newest of what is wanted; with `before` (Found.further) what is older."""
        async with self._searching:
            return await asyncio.to_thread(self._find, wanted, min(limit, LIMIT_MAX), before)

    def _find(self, wanted: Wanted, limit: int, before: str) -> Found:
        found = find(self._folder, wanted, limit, before)
        Senders(self._folder).add(found.events)
        return found

    async def events(self, last: int = 20, address: str = "") -> Sequence[Event]:
        """The last events that people are interested in, the newest first."""
        return (await self.find(Wanted(address), last)).events

    async def attempts(self, queue_id: str, limit: int = 200) -> Sequence[Event]:
        """What happened to a message, in its order: the last of it when that is much."""
        found = await self.find(Wanted(queue_id, ALL), limit)
        return [event for event in reversed(found.events) if queue_id in event.raw]

    async def place(self) -> str:
        """Where stream() would begin now: who asks before he looks misses nothing."""
        return (await asyncio.to_thread(Tail, self._folder)).place

    async def stream(self, wanted: Wanted, after: str = "") -> AsyncGenerator[Batch, None]:
        """What happens from now on, or from behind a place (Batch.after); an empty batch now and then.
        TooManyError: come later."""
        if self._streams >= STREAMS_MAX:
            raise TooManyError
        self._streams += 1
        try:
            tail, wants = await asyncio.to_thread(Tail, self._folder, after), Filter(wanted)
            silent_s = IDLE_S  # the first batch says where we are
            while not self._is_closed:
                events, is_cut = await asyncio.to_thread(tail.read)
                events = [event for event in events if wants.takes(event)]
                silent_s += LOOK_S
                if events or is_cut or silent_s >= IDLE_S:
                    silent_s = 0.0
                    yield Batch(events, tail.place, is_cut)
                await asyncio.sleep(LOOK_S)
        finally:
            self._streams -= 1

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True

    def download(self, day: str) -> Iterator[bytes]:
        """A whole day as it is in the files; blocks. KeyError: it is not there."""
        found = [piece for piece in pieces(self._folder) if piece.day == day]
        if not is_day(day) or not found:
            raise KeyError(day)
        return _octets([piece.path for piece in found])


def _octets(paths: Sequence[str]) -> Iterator[bytes]:
    for path in paths:
        try:
            fd = open_to_read(path)
        except OSError:
            continue  # it was removed meanwhile
        with os.fdopen(fd, "rb", buffering=0) as file:
            rest = os.fstat(fd).st_size
            while rest > 0 and (octets := file.read(min(rest, PIECE_OCTETS))):
                rest -= len(octets)
                yield octets


def as_object(event: Event) -> dict[str, Any]:
    """An event for programs."""
    return {
        "time": rfc3339(event.wall_ms),
        "kind": event.kind,
        "event": event.what,
        "process": event.process,
        "id": event.queue_id or None,
        "sentence": sentence(event),
        "fields": event.fields,
        "line": event.raw,
        "place": event.place,
    }
