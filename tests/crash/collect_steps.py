"""Collecting, ended by SIGKILL at each of its steps: the link's side or the worker's, then both go on.

`steps(folder, role)` forks a POP3 server, a worker's side (the real spool) and a link's side (the real ledger),
kills the role's process at its first step, then with a new folder at its second, and so on until it comes to its
end by itself. Run as a program of its own: what forks must have no threads."""

import asyncio
import contextlib
import functools
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cmail.link.collect.collector import Collector
from cmail.link.collect.ledger import Ledger
from cmail.link.collect.parts import Terms
from cmail.link.settings import CollectSettings
from cmail.net.clock import RealClock
from cmail.net.control import ControlClient, ControlServer
from cmail.smtpd.collected import Collected
from cmail.storage import durable
from cmail.storage.quarantine import Quarantine
from cmail.storage.spool import FIRST, Change, QueueFilter, RecipientState, Settlement
from cmail.storage.spool import Final as Ended
from cmail.storage.spool_sqlite import SqliteSpool
from tests.support.clock import FakeClock
from tests.support.fake_dns import FakeResolver
from tests.support.intake import ListLog, make_context
from tests.support.mailboxes_elsewhere import message
from tests.support.scripted_pop3 import ScriptedPop3

BROKEN: Final = message(4).replace(b"From: Bert <bert@example.net>\r\n", b"From: a\r\nFrom: b\r\n")
MESSAGES: Final = [("a", message(1)), ("b", message(2, 300_000)), ("c", message(3)), ("d", BROKEN)]
COUNT: Final = 4
WAIT_S: Final = 60.0

_left = 0  # steps until the end; 0: none is counted


def tick() -> None:
    """A step. At the chosen one there is no other."""
    global _left
    if _left:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: Any, name: str) -> None:
    """A step before and one after each call."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def stepped(*args: Any, **named: Any) -> Any:
        tick()
        result = function(*args, **named)
        tick()
        return result

    setattr(owner, name, stepped)


def link_side(folder: Path, port: int, kill_at: int, keep: bool) -> None:
    """All of it is collected when this returns."""
    for name in ("hand", "handed", "skip", "deleted", "seen", "box"):
        _around(Ledger, name)
    for name in ("sync_file", "sync_folder", "remove"):
        _around(durable, name)
    global _left
    _left = kill_at

    async def ask(question: str, fields: dict[str, Any]) -> dict[str, Any]:
        tick()
        answer = (await ControlClient(str(folder / "run"), "worker-0", 20.0).ask(question, fields)).ok
        tick()
        return answer

    async def collect() -> None:
        collector = Collector(str(folder), ask, FakeResolver(), RealClock(), ListLog())
        account = CollectSettings(
            "isp", "pop3", "127.0.0.1", "anna", "anna@example.org", port, "none", "/p", keep=keep,
            every=timedelta(0), idle=False,
        )  # fmt: skip
        collector.apply([account], Terms("mail.example.org", 2**30, "", {"/p": "x"}), is_planned=True)
        await collector.start(is_online=True)
        await collector.ready.wait()
        [result] = await collector.run_all("demand")
        await collector.stop()
        assert result.is_ok, result.words

    asyncio.run(collect())


def worker_side(folder: Path, kill_at: int) -> None:
    """Answers until it is ended. Deliveries are noted in `arrivals`, before the spool hears of them."""
    for owner, name in (
        (os, "rename"),
        (durable, "sync_folder"),
        (durable, "write_new"),
        (durable, "remove"),
    ):
        _around(owner, name)
    global _left

    async def serve() -> None:
        global _left
        spool = SqliteSpool.open(str(folder / "spool"), 0, RealClock())
        context = make_context(spool, RealClock(), link_clock=FakeClock(), maillog=ListLog(), validation=True)

        async def let_go(queue_id: Any) -> None:
            tick()
            await spool.change(QueueFilter(ids=(queue_id,)), Change.RELEASE, {"": 0})
            tick()
            await _deliver(spool, folder)
            tick()

        accept = spool.accept

        async def accept_in_steps(new: Any) -> None:
            tick()
            await accept(new)
            tick()

        spool.accept = accept_in_steps  # type: ignore[assignment, method-assign]
        collected = Collected(
            str(folder / "collect" / "incoming"), lambda: context, Quarantine(str(folder)), let_go
        )
        await _deliver(spool, folder)
        _left = kill_at
        server = ControlServer(collected.functions(), lambda text: traceback.print_exc())
        await server.start(str(folder / "run"), "worker-0")
        await asyncio.Event().wait()

    asyncio.run(serve())


async def _deliver(spool: SqliteSpool, folder: Path) -> None:
    """What waits and is not on hold, as the scheduler would."""
    for queued in await spool.due("local", 1 << 60, FIRST, 100, 1 << 30):
        path = queued.content.path
        octets = await asyncio.to_thread(Path(path).read_bytes) if path else queued.content.octets
        number = octets.partition(b"Subject: number ")[2].split(b"\r")[0].decode()
        fd = os.open(folder / "arrivals", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{queued.queue_id} {number}\n".encode())
        os.close(fd)
        done = (Ended(0, RecipientState.DELIVERED),)
        await spool.settle(Settlement(queued.queue_id, done, is_whole=True))


def server_side(folder: Path) -> None:
    """POP3, until it is ended; what is there is written down after each session."""

    async def serve() -> None:
        async with ScriptedPop3(list(MESSAGES)) as server:
            (folder / "port.new").write_text(str(server.port))
            (folder / "port.new").rename(folder / "port")
            while True:
                await asyncio.sleep(0.02)
                (folder / "there.new").write_text(json.dumps([uid for uid, _ in server.messages]))
                (folder / "there.new").rename(folder / "there")

    asyncio.run(serve())


def fork(work: Callable[[], None]) -> int:
    """A process; exit code 1 when it raises."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true value."""
    until = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < until, f"waited for {what}"
        time.sleep(0.005)
    return found


def ended(pid: int) -> int | None:
    """How it ended; None: it lives."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def one_run(folder: Path, role: str, kill_at: int, keep: bool) -> bool:
    """Killed at that step, and gone on with until all is collected; False: it came to its end before."""
    folder.mkdir()
    for name in ("run", "spool"):
        (folder / name).mkdir()
    server = fork(lambda: server_side(folder))
    others = [server]
    try:
        port = int(
            wait_for(lambda: (folder / "port").exists() and (folder / "port").read_text(), "the server")
        )
        worker = fork(lambda: worker_side(folder, kill_at if role == "worker" else 0))
        others.append(worker)
        wait_for(lambda: (folder / "run" / "worker-0.sock").exists(), "the worker")
        was_killed, kill = False, kill_at if role == "link" else 0
        link = fork(lambda: link_side(folder, port, kill, keep))
        others.append(link)
        until = time.monotonic() + WAIT_S
        while True:
            assert time.monotonic() < until, "it does not come to its end"
            if worker and ended(worker) is not None:  # the supervisor starts it again
                was_killed = True
                others.remove(worker)
                worker = fork(lambda: worker_side(folder, 0))
                others.append(worker)
            code = ended(link)
            if code is None:
                time.sleep(0.002)
                continue
            was_killed = was_killed or code == -signal.SIGKILL
            others.remove(link)
            link = fork(lambda: link_side(folder, port, 0, keep))  # also once more: nothing is new then
            others.append(link)
            if code == 0:
                break
        wait_for(lambda: ended(link) is not None, "the last session")
        others.remove(link)
        check(folder, keep)
        return was_killed
    finally:
        for pid in others:
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def check(folder: Path, keep: bool) -> None:
    """Each message once: three delivered, one in quarantine; the box empty, or as it was."""
    arrived = (folder / "arrivals").read_text().splitlines()
    counts = Counter(line.split()[1] for line in arrived)
    assert counts == {"1": 1, "2": 1, "3": 1}, counts
    kept = Quarantine(str(folder)).all_kept()
    assert len(kept) == 1, [each.id for each in kept]
    most = COUNT if keep else 0
    wait_for(lambda: len(json.loads((folder / "there").read_text())) == most, f"a box with {most} messages")
    left = os.listdir(folder / "collect" / "incoming")
    assert not left, left


def steps(folder: Path, role: str, keep: bool) -> int:
    """How many steps there are: at each of them it was killed, and nothing was lost or doubled."""
    kill_at = 1
    while True:
        place = folder / f"{role}-{kill_at}"
        try:
            was_killed = one_run(place, role, kill_at, keep)
        except AssertionError as error:
            raise AssertionError(f"{role} killed at step {kill_at}: {error}") from error
        shutil.rmtree(place)
        if not was_killed:
            return kill_at - 1
        kill_at += 1


if __name__ == "__main__":
    print(steps(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "keep"))
