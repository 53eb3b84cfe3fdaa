"""Moments: when the power is cut, and the walk through all of them with several states each."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.crash.disk_check import Checker
from tests.crash.disk_load import Promises
from tests.crash.disk_model import Disk, Tree, Without
from tests.crash.disk_variants import Everything, choosers
from tests.crash.recording import Recording

FAULTS_MAX: Final = 20  # told of one walk


@dataclass
class Scene:
    """A recording with what was promised in it."""

    recording: Recording
    promises: Promises
    has_lmtp: bool = False
    earlier: list[str] = field(default_factory=list)  # queue ids that were acknowledged before it began
    left: set[str] = field(default_factory=set)  # queue ids in the queue at its end

    def whole(self) -> Tree:
        """The folder at the end, nothing lost."""
        disk = Disk(self.recording)
        disk.advance(self.recording.lines + 1)
        return disk.tree(Everything())

    def acknowledged(self, line: int) -> list[str]:
        """The queue ids whose 250 was being said before a line."""
        here = [e.path for e in self.recording.events if e.kind == "queued" and e.began < line]
        return self.earlier + here

    def sent(self, line: int) -> list[tuple[str, str]]:
        """(queue id, recipient) that the log called sent before a line."""
        return [(e.path, e.other) for e in self.recording.events if e.kind == "sent" and e.began < line]

    def promises_at(self, line: int) -> Promises:
        """What was promised, and what was taken before a moment; to be gone on with."""
        now = self.time(line)
        earlier = {key: when for key, when in self.promises.taken.items() if when < now}
        return Promises(dict(self.promises.messages), earlier)

    def time(self, line: int) -> float:
        """By the wall clock."""
        return self.recording.times[line - 1] if line else 0.0


@dataclass
class Walk:
    """What a walk saw."""

    moments: int = 0
    states: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def moments(recording: Recording, chance: random.Random, count: int) -> list[int]:
    """Around each sync, right after each promise and each change of a name, and some by chance; at most so
    many, in order."""
    found = set()
    for event in recording.events:
        if event.kind == "sync":
            found |= {event.began, event.ended + 1}
        elif event.kind in ("queued", "sent"):
            found.add(event.began + 1)
        elif event.kind not in ("write", "size"):
            found.add(event.ended + 1)
    found |= {chance.randrange(recording.lines + 1) for _ in range(len(found) // 10)}
    in_time = sorted(line for line in found if line <= recording.lines)
    return in_time if len(in_time) <= count else sorted(chance.sample(in_time, count))


def promised(recording: Recording) -> list[int]:
    """Right after each promise alone: where a missing sync shows first."""
    return sorted(e.began + 1 for e in recording.events if e.kind in ("queued", "sent"))


def walk(
    scene: Scene,
    lines: Sequence[int],
    some: int,
    *,
    seed: int = 1,
    without: Without | None = None,
    faults_max: int = FAULTS_MAX,
    budget_s: float = 1e9,
    say: Callable[[str], None] = lambda words: None,
) -> Walk:
    """Through these moments, each with the fixed states and `some` by chance. Ends early at so many faults;
    leaves moments out when it is behind its time. The chance of a moment is its own: what failed once does so
    again."""
    seen, began = Walk(), time.monotonic()
    disk = Disk(scene.recording, without)
    with Checker(scene.promises, scene.whole(), scene.has_lmtp) as checker:
        for number, line in enumerate(lines):
            if (time.monotonic() - began) / budget_s > (number + 1) / len(lines):
                continue
            disk.advance(line)
            seen.moments += 1
            say(f"moment {number + 1} of {len(lines)}, {seen.states} states")
            chance = random.Random(f"{seed} {line}")
            for name, faults in _states(scene, disk, checker, line, chance, some):
                seen.states += 1
                seen.by_kind[name] = seen.by_kind.get(name, 0) + 1
                seen.faults += [f"line {line}, {name}: {fault}" for fault in faults]
                if len(seen.faults) >= faults_max:
                    return seen
    return seen


def _states(
    scene: Scene, disk: Disk, checker: Checker, line: int, chance: random.Random, some: int
) -> Iterator[tuple[str, list[str]]]:
    queued, sent, now = scene.acknowledged(line), scene.sent(line), scene.time(line)
    for name, chooser in choosers(chance, line, some):
        yield name, checker.faults_of(disk.tree(chooser), queued, sent, now)
