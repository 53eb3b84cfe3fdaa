"""A power cut at any moment: what was acknowledged is there, and the server starts. The long form: power_cut.py."""

import random

import pytest

from tests.crash.disk_model import Disk
from tests.crash.disk_moments import Scene, moments, promised, walk
from tests.crash.disk_scenes import record, steady
from tests.crash.disk_serve import faults_of_server
from tests.crash.disk_variants import AnyOfIt, Nothing
from tests.crash.power_cut import CHECKPOINT, SEED, SYNCS, is_missed, syncs_taken_out
from tests.support.house import reachable

pytestmark = pytest.mark.needs("strace")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A recording of a server with mailboxes here and a smarthost."""
    return record(reachable(tmp_path_factory.mktemp("power-cut")) / "scene", steady(22))


def test_nothing_acknowledged_is_lost(scene: Scene) -> None:
    """From every state that a power cut may leave the spool opens, and each message that got its 250 is queued
    whole, in its mailbox whole, or was taken by the next server; no mailbox ever shows a torn file."""
    seen = walk(scene, moments(scene.recording, random.Random(SEED), 24), 2, seed=SEED)
    assert seen.faults == []
    assert len(scene.promises.messages) == 44 and seen.states == 24 * 7


@pytest.mark.parametrize("what", [*SYNCS.values(), CHECKPOINT])
def test_each_sync_is_missed(scene: Scene, what: str) -> None:
    """With one kind of sync taken out of the recording, the same check finds mail lost or torn: it would see a
    server that forgot it, and no such sync is made in vain."""
    without = syncs_taken_out(scene)[what]
    assert any(without.has(event) for event in scene.recording.events if event.kind == "sync")
    assert is_missed(scene, without)


@pytest.mark.parametrize("part", ["of its first start", "of its work"])
def test_the_whole_server_starts_on_what_is_left(scene: Scene, part: str) -> None:
    """The server starts on the state, works off its queue, and all that was acknowledged before is there."""
    chance = random.Random(SEED)
    lines = moments(scene.recording, chance, 1 << 30)
    first = promised(scene.recording)[0]
    is_start = part == "of its first start"
    line = chance.choice([line for line in lines if (line < first) is is_start])
    disk = Disk(scene.recording)
    disk.advance(line)
    assert faults_of_server(scene, disk.tree(AnyOfIt(chance) if is_start else Nothing()), line) == []
