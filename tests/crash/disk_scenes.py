"""The scenes of the power cut: loads whose recordings hold all that the spool and the mailboxes do."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Final

from tests.crash.disk_load import ALIASES, USERS, Promises, neighbours, send_all, settings
from tests.crash.disk_model import Chooser, Disk, Tree
from tests.crash.disk_moments import Scene
from tests.crash.disk_replay import settle
from tests.crash.disk_serve import is_tried, lay
from tests.crash.recording import RecordedCmail
from tests.support.house import wait_for

IDLE_S: Final = 1.5  # the spool tidies up when it had nothing to write for a second
SETTLED_S: Final = 60.0
_LARGE_LOG: Final = (60_000, 62_000, 58_000)  # all of it in the database
Load = Callable[[RecordedCmail, Promises], None]


def record(
    folder: Path,
    load: Load,
    *,
    has_lmtp: bool = False,
    inject: Sequence[str] = (),
    workers: int = 2,
    state: Tree | None = None,
    promises: Promises | None = None,
) -> Scene:
    """A server from its first start (or from a state) to its end, with a load between."""
    promises = promises or Promises()
    folder.mkdir(exist_ok=True)
    with neighbours(promises, has_lmtp=has_lmtp) as more:
        text = settings(more).replace("workers = 2", f"workers = {workers}")
        cmail = RecordedCmail(folder, settings=text, users=USERS, aliases=ALIASES, inject=inject)
        if state is not None:
            lay(cmail.data, state)
        with cmail:
            load(cmail, promises)
            wait_for(lambda: is_tried(cmail), f"an attempt for each recipient\n{cmail.log()}", SETTLED_S)
            left = {str(row["id"]) for row in cmail.queue()}
    return Scene(settle(cmail.recording()), promises, has_lmtp, left=left)


def steady(count: int) -> Load:
    """Messages, a pause in which the log is moved into the database, and as many again over it."""

    def load(cmail: RecordedCmail, promises: Promises) -> None:
        send_all(cmail.port("smtp"), promises, count, name="m")
        time.sleep(IDLE_S)
        send_all(cmail.port("smtp"), promises, count, name="n")

    return load


def large_log(count: int) -> Load:
    """So much, and without a pause, that the log is moved into the database while mail comes in."""

    def load(cmail: RecordedCmail, promises: Promises) -> None:
        send_all(cmail.port("smtp"), promises, count, name="g", sizes=_LARGE_LOG)

    return load


def killed(count: int) -> Load:
    """SIGKILL to all of it under load, and on it goes: what was not synced then is not yet synced now."""

    def load(cmail: RecordedCmail, promises: Promises) -> None:
        for name in ("p", "q"):
            port, already = cmail.port("smtp"), len(promises.messages)
            sender = Thread(
                target=send_all, args=(port, promises, 10_000), kwargs={"name": name, "may_break": True}
            )
            sender.start()
            _wait_for_more(promises, already + count)
            cmail.kill()
            sender.join()
            cmail.start()
        send_all(cmail.port("smtp"), promises, count, name="r")

    return load


def _wait_for_more(promises: Promises, count: int) -> None:
    wait_for(lambda: len(promises.messages) >= count, f"{count} messages", SETTLED_S)


def cut_again(folder: Path, scene: Scene, line: int, chooser: Chooser) -> Scene:
    """A server that starts on a state that a power cut left, and works off what it finds: to be cut too."""
    disk = Disk(scene.recording)
    disk.advance(line)
    second = record(
        folder,
        lambda cmail, promises: time.sleep(IDLE_S),
        has_lmtp=scene.has_lmtp,
        state=disk.tree(chooser),
        promises=scene.promises_at(line),
    )
    second.earlier = scene.acknowledged(line)
    return second
