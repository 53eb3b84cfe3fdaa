"""A recording is what happened: replayed, it gives the folder as it was found at each end of the server.

Of a call during which the server was killed nobody saw the end: whether it happened shows the folder."""

from dataclasses import replace

from tests.crash.disk_model import Disk, Tree
from tests.crash.disk_variants import Everything
from tests.crash.recording import NEVER, Event, Recording


def settle(recording: Recording) -> Recording:
    """The recording with each call that was cut off either ended or gone; AssertionError when it does not
    give the folder as it was."""
    began = 0
    for line, found in recording.after:
        cut_off = [e for e in recording.events if e.ended == NEVER and began <= e.began < line]
        recording.events = [e for e in recording.events if e not in cut_off]
        for event in cut_off:
            _settle(recording, event, line, found)
        different = _different(_replayed(recording, line), found)
        assert not different, f"the recording does not tell all: {different[:5]} at line {line}"
        began = line
    return recording


def _settle(recording: Recording, event: Event, line: int, found: Tree) -> None:
    """Keep the call when the folder is nearer to what was found with it; of a write as much as is there."""
    events = recording.events
    before = _replayed(recording, line)
    happened = replace(event, ended=line - 1)
    if event.kind == "write":
        happened = _as_far_as_it_came(happened, before.get(event.path), found.get(event.path))
    recording.events = sorted([*events, happened], key=lambda e: e.ended)
    if event.kind in ("queued", "sent"):
        return  # it may have been said
    if len(_different(_replayed(recording, line), found)) > len(_different(before, found)):
        recording.events = events


def _as_far_as_it_came(event: Event, before: bytes | None, found: bytes | None) -> Event:
    """A signal ends a write between any two pages."""
    offset = event.offset if event.offset >= 0 else len(before or b"")
    there = (found or b"")[offset : offset + len(event.octets)]
    count = next((n for n, (a, b) in enumerate(zip(event.octets, there, strict=False)) if a != b), len(there))
    return replace(event, octets=event.octets[:count])


def _replayed(recording: Recording, line: int) -> Tree:
    disk = Disk(recording)
    disk.advance(line)
    return disk.tree(Everything())


def _different(one: Tree, other: Tree) -> list[str]:
    return sorted(path for path in {*one, *other} if one.get(path, b"?") != other.get(path, b"?"))
