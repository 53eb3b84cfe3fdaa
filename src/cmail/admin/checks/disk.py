"""The disk: space and inodes of the data folder and the mailboxes, against limits.free_space."""

import asyncio
import os
from dataclasses import dataclass
from typing import Final

from cmail.admin.checks.finding import Finding, State, worst
from cmail.admin.checks.inquiry import Inquiry
from cmail.storage.spool_space import INODES_MIN

FOLDERS: Final = (("", "data folder"), ("spool", "queue"), ("mail", "mailboxes"))
TIMES: Final = 4  # less than so many times the limit is worth a look


@dataclass(frozen=True, slots=True)
class Space:
    """Of one file system."""

    device: int
    words: str  # which folder of ours is on it
    path: str
    free: int
    size: int
    inodes_free: int
    inodes: int  # 0: without a limit


async def check_disk(inquiry: Inquiry) -> Finding:
    """Every file system that a folder of ours is on."""
    free_min = inquiry.subject.free_min
    expected = f"At least {_size(free_min)} free, better {_size(TIMES * free_min)}."
    try:
        spaces = await asyncio.to_thread(look, inquiry.subject.data_dir)
    except OSError as error:
        words = f"{inquiry.subject.data_dir} cannot be looked at: {(error.strerror or str(error)).lower()}."
        return Finding(State.WRONG, words, expected, "Is its disk there?")
    return judge(spaces, free_min)


def look(data_dir: str) -> list[Space]:
    """Blocks when a disk hangs. OSError: the data folder is not there."""
    found: dict[int, Space] = {}
    for name, words in FOLDERS:
        path = os.path.join(data_dir, name) if name else data_dir
        try:
            device, told = os.stat(path).st_dev, os.statvfs(path)
        except FileNotFoundError:
            if not name:
                raise
            continue
        if device not in found:
            free, size = told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize
            found[device] = Space(device, words, path, free, size, told.f_favail, told.f_files)
    return list(found.values())


def judge(spaces: list[Space], free_min: int) -> Finding:
    """What is to be said of them."""
    expected = f"At least {_size(free_min)} free, better {_size(TIMES * free_min)}."
    states = [_state(space, free_min) for space in spaces]
    words = " ".join(_words(space) for space in spaces)
    state = worst(states)
    if state is State.GOOD:
        return Finding(state, words, expected)
    advice = "Make room: delete what nobody needs, or give it a larger disk."
    if state is State.WRONG:
        advice = f"New mail has to wait outside until there is room again. {advice}"
    return Finding(state, words, expected, advice)


def _state(space: Space, free_min: int) -> State:
    if space.free < free_min or (0 < space.inodes and space.inodes_free < INODES_MIN):
        return State.WRONG
    if space.free < TIMES * free_min or (0 < space.inodes and space.inodes_free < TIMES * INODES_MIN):
        return State.LOOK
    return State.GOOD


def _words(space: Space) -> str:
    words = f"The {space.words} ({space.path}) has {_size(space.free)} free of {_size(space.size)}"
    if space.inodes:
        count = f"{space.inodes_free:,}".replace(",", "\u202f")
        words += f", and room for {count} files"
    return f"{words}."


def _size(octets: int) -> str:
    """As a person says it, in the units of the file."""
    for shift, name in ((40, "TiB"), (30, "GiB"), (20, "MiB")):
        if octets >= 1 << shift:
            number = octets / (1 << shift)
            return f"{number:.1f} {name}" if number < 10 else f"{number:.0f} {name}"
    return f"{octets >> 10} KiB"
