"""The power cut, for long: recordings of a running server, and thousands of disk states from each.

    python -m tests.torture power-cut

What was acknowledged before the cut must be in the queue, in a mailbox, or with the server that took it; the spool
and the whole server must start on each state."""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.crash.disk_model import Disk, Without
from tests.crash.disk_moments import Scene, moments, promised, walk
from tests.crash.disk_scenes import Load, cut_again, killed, large_log, record, steady
from tests.crash.disk_serve import faults_of_server
from tests.crash.disk_variants import AnyOfIt, Nothing
from tests.support.torture import Say, Summary

SEED: Final = 20
_DATABASE: Final = r"/spool[^/]*\.sqlite3$"
# Paths of syncs -> what they are.
SYNCS: Final = {
    r"-wal$": "the log of the spool",
    r"/content/../\w{13}$": "a content file",
    r"/content(/..)?$": "a folder of content files",
    r"^/mail/.*/tmp/": "a file of a mailbox",
    r"^/mail/.*/new$": "the folder of a mailbox",
    r"^/mail(/[^/]+){0,2}$": "the folders above a mailbox",
    _DATABASE: "the database itself",
    r"^/spool/\d+$": "the folder of a shard",
    r"^/spool$": "the folder of the shards",
    r"^/$": "the data folder",
}
CHECKPOINT: Final = "the database when the log is moved into it"
_EIO: Final = ("fdatasync:error=EIO:when=40", "fsync:error=EIO:when=30")  # of each thread


@dataclass(frozen=True)
class Part:
    """One recording and the walk through it."""

    name: str
    record: Callable[[], Scene]
    moments: int
    some: int  # states by chance of each moment, beside the fixed ones
    budget_s: float


def torture(say: Say) -> Summary:
    """See tests/torture.py."""
    summary = Summary()
    chance = random.Random(SEED)
    scenes: dict[str, Scene] = {}
    with tempfile.TemporaryDirectory(prefix="cmail-cut-") as folder:
        Path(folder).chmod(0o755)
        for part in _parts(Path(folder), scenes, chance):
            say(f"{part.name}: recording")
            scenes[part.name] = part.record()
            _count(summary, scenes[part.name])
            _walk(summary, part, scenes[part.name], chance, say)
    _expect_what_was_meant(summary, scenes)
    _serve(summary, scenes, chance, say)
    _without(summary, scenes["mailboxes"], say)
    return summary


def _parts(folder: Path, scenes: dict[str, Scene], chance: random.Random) -> Iterator[Part]:
    def scene(name: str, load: Load, **options: Any) -> Callable[[], Scene]:
        return lambda: record(folder / name, load, **options)

    def again(name: str) -> Callable[[], Scene]:
        line = chance.choice(_in_the_middle(scenes[name]))
        return lambda: cut_again(folder / f"{name}-again", scenes[name], line, AnyOfIt(chance))

    yield Part("mailboxes", scene("mailboxes", steady(60)), 450, 4, 45)
    yield Part("lmtp", scene("lmtp", steady(30), has_lmtp=True), 200, 4, 15)
    yield Part("failed syncs", scene("failed", steady(100), inject=_EIO), 350, 4, 30)
    yield Part("killed", scene("killed", killed(40)), 350, 4, 30)
    yield Part("large log", scene("large", large_log(450), workers=1), 40, 2, 12)
    yield Part("failed syncs, cut again", again("failed syncs"), 120, 4, 10)
    yield Part("killed, cut again", again("killed"), 120, 4, 10)


def _expect_what_was_meant(summary: Summary, scenes: dict[str, Scene]) -> None:
    """Each scene shows what it is for."""
    paths = {event.path for event in scenes["failed syncs"].recording.events}
    for shard in (0, 1):
        has_successor = f"spool/{shard}/spool.1.sqlite3" in paths
        summary.expect(has_successor, f"no successor of a database whose sync failed in shard {shard}")
    large = scenes["large log"]
    summary.expect(_first_checkpoint(large) < promised(large.recording)[-1], "no checkpoint under load")
    summary.expect(len(scenes["killed"].recording.after) == 3, "it was not killed twice")


def _in_the_middle(scene: Scene) -> list[int]:
    lines = promised(scene.recording)
    return lines[len(lines) // 4 : len(lines) * 3 // 4]


def _count(summary: Summary, scene: Scene) -> None:
    """What came of the promises in the end, when nothing was cut."""
    here = {event.path for event in scene.recording.events if event.kind == "queued"}
    summary.accepted += len(here)
    summary.in_queue += len(here & scene.left)
    summary.delivered += len(here - scene.left)


def _walk(summary: Summary, part: Part, scene: Scene, chance: random.Random, say: Say) -> None:
    seen = walk(
        scene,
        moments(scene.recording, chance, part.moments),
        part.some,
        seed=SEED,
        budget_s=part.budget_s,
        say=lambda words: say(f"{part.name}: {words}"),
    )
    summary.lost += sum(fault.endswith("is lost") for fault in seen.faults)
    summary.broken += [f"{part.name}: {fault}" for fault in seen.faults]
    calls, kinds = len(scene.recording.events), ", ".join(f"{n} {kind}" for kind, n in seen.by_kind.items())
    summary.notes.append(f"{part.name}: {calls} calls, {seen.moments} moments, {seen.states} states: {kinds}")


def _serve(summary: Summary, scenes: dict[str, Scene], chance: random.Random, say: Say) -> None:
    """The whole server on some states of each scene, half of them from its first start."""
    count = 0
    for name in ("mailboxes", "lmtp", "failed syncs", "killed"):
        scene = scenes[name]
        lines = moments(scene.recording, chance, 1 << 30)
        first = promised(scene.recording)[0]
        early, late = [line for line in lines if line < first], [line for line in lines if line >= first]
        for line in (*chance.sample(early, 2), *chance.sample(late, 3)):
            count += 1
            say(f"{name}: the whole server on a state, {count}")
            disk = Disk(scene.recording)
            disk.advance(line)
            faults = faults_of_server(scene, disk.tree(Nothing() if count % 2 else AnyOfIt(chance)), line)
            summary.broken += [f"{name}: the server on line {line}: {fault}" for fault in faults]
    summary.notes.append(f"the whole server was started on {count} states")


def syncs_taken_out(scene: Scene) -> Mapping[str, Without]:
    """What they are -> how they are taken out: each of them must be missed, or it is made in vain."""
    taken_out = {what: Without(paths) for paths, what in SYNCS.items()}
    return {**taken_out, CHECKPOINT: Without(_DATABASE, _first_checkpoint(scene))}


def _first_checkpoint(scene: Scene) -> int:
    first, database = promised(scene.recording)[0], Without(_DATABASE)
    syncs = (e for e in scene.recording.events if e.kind == "sync" and database.has(e))
    return next(event.began for event in syncs if event.began > first)


def is_missed(scene: Scene, without: Without, some: int = 1) -> bool:
    """Whether the check fails with these syncs taken out."""
    lines = [line for line in promised(scene.recording) if line >= without.from_line]
    return bool(walk(scene, lines, some, seed=SEED, without=without, faults_max=1).faults)


def _without(summary: Summary, scene: Scene, say: Say) -> None:
    """The check is checked: with a kind of sync taken out of the recording, it fails."""
    for what, without in syncs_taken_out(scene).items():
        say(f"without the sync of {what}")
        summary.expect(is_missed(scene, without), f"nobody misses the sync of {what}")
    summary.notes.append(f"{len(SYNCS) + 1} kinds of syncs taken out, one by one: each was missed")
