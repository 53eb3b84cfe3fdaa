"""The whole server on a state: it starts, says no mistake of its own, and delivers what it has."""

import os
import pwd
import shutil
import tempfile
from pathlib import Path

from tests.crash.disk_check import Checker, write_tree
from tests.crash.disk_load import neighbours, settings
from tests.crash.disk_model import Tree
from tests.crash.disk_moments import Scene
from tests.crash.recording import tree_of
from tests.support.house import RunningCmail, wait_for

START_WAIT_S = 60.0


def faults_of_server(scene: Scene, tree: Tree, line: int) -> list[str]:
    """Start it on a state of a moment, let it try all that is queued, stop it: what is wrong then, in words."""
    after = scene.promises_at(line)
    place = Path(tempfile.mkdtemp(prefix="cmail-cut-"))
    place.chmod(0o755)
    try:
        with neighbours(after, has_lmtp=scene.has_lmtp) as more:
            cmail = RunningCmail(place, settings=settings(more))
            lay(cmail.data, tree)
            faults = _run(cmail)
        whole, left = scene.whole(), tree_of(cmail.data)
        names = {path.rpartition("/")[2] for path in whole}
        new = {path: octets for path, octets in left.items() if path.rpartition("/")[2] not in names}
        with Checker(after, {**whole, **new}, scene.has_lmtp) as checker:
            return faults + checker.faults_of(left, scene.acknowledged(line), (), 1e99)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run(cmail: RunningCmail) -> list[str]:
    try:
        with cmail:
            wait_for(
                lambda: is_tried(cmail),
                f"an attempt for each recipient:\n{cmail.log()}",
                START_WAIT_S,
            )
    except AssertionError as error:
        return [f"the server does not do its work: {error}"]
    log = cmail.log()
    return [f"a mistake of the program: {log}"] if "Traceback" in log else []


def is_tried(cmail: RunningCmail) -> bool:
    """Whether all that is queued had its attempt; what is held has none."""
    return all(row["attempts"] or row["state"] == "held" for row in cmail.queue())


def lay(data: Path, tree: Tree) -> None:
    """Make a state real, as the data folder of a server."""
    data.mkdir(mode=0o711)
    data.chmod(0o711)
    write_tree(data, tree)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (data, *data.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
