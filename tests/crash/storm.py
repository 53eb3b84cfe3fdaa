"""kill -9 storm: the server's processes are killed at random moments under load, on each path that mail takes.

    CMAIL_STORM_SEED=7 CMAIL_STORM_KILLS=90 python -m tests.torture storm

What was acknowledged is at its end or in the queue; a second copy of it needs a kill that excuses it (see judge)."""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from cmail.net.control import ControlError
from tests.crash.arrivals import MailboxReader, taking_sink
from tests.crash.judge import Copy, Kill, Verdict, verdict
from tests.crash.processes import living, of_group
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.ledger import Senders
from tests.support.peers import Peers
from tests.support.sink_mx import HANG
from tests.support.torture import Say, Summary

KILLS: Final = int(os.environ.get("CMAIL_STORM_KILLS", "72"))  # a path
SENDERS: Final = 8
RATE: Final = 250.0  # messages a second of all senders, as far as they get there
SIZES: Final = (600, 3000, 1500, 20_000, 800, 90_000, 1500, 300_000)  # the last has a content file of its own
END_S: Final = 120.0  # for what waits to be delivered when it is over
GONE_S: Final = 90.0  # for processes whose supervisor was killed to end in order
BACK_S: Final = 90.0  # for a killed process to be there again
LOAD_LEAST: Final = 10  # messages a kill; fewer, and it proves little
WORKERS: Final = 2
AT_REPLY: Final = 0.6  # so many of the kills come right after a client got its 250
REPLY_S: Final = 0.5  # for that 250 to come


@dataclass(frozen=True)
class Path_:
    """A way that mail takes: recipients ("a,b" are two of one message), and more settings."""

    name: str
    recipients: Sequence[str]
    is_lmtp: bool = False


_LOCAL: Final = ("anna@example.org", "bert@example.org,anna@example.org", "bert@example.org,b@example.net")
PATHS: Final = (
    Path_("smarthost", ("b@example.net", "c@example.net,d@example.com", "e@example.com")),
    Path_("Maildir", _LOCAL),
    Path_("LMTP", _LOCAL, is_lmtp=True),
)


class Storm:
    """One path: a server, its senders, those that take its mail, and the kills. `with` starts the load."""

    def __init__(self, path: Path_, folder: Path, seed: int, *, rate: float = RATE) -> None:
        self.path = path
        self.chance = random.Random(seed)
        self.copies: list[Copy] = []
        self.kills: list[Kill] = []
        self.stops_count = 0
        self.workers = WORKERS
        self.broken: list[str] = []
        self._folder = folder
        self._stack = ExitStack()
        self.senders = Senders(
            lambda: self.cmail.port("smtp"), path.recipients, senders=SENDERS, rate=rate, sizes=SIZES
        )

    def __enter__(self) -> "Storm":
        with self._stack as stack:
            sent = self.senders.sent
            self.peers = stack.enter_context(Peers())
            self.sink = self.peers.start(taking_sink(self.copies, sent))
            more = f'[smtp]\nhost = "127.0.0.1"\nport = {self.sink.port}\n'
            if self.path.is_lmtp:
                self.mailboxes = self.peers.start(taking_sink(self.copies, sent, is_lmtp=True))
                more += f'[local]\ndelivery = "lmtp"\nlmtp = "127.0.0.1:{self.mailboxes.port}"\n'
            users = (("anna@example.org", "secret"), ("bert@example.org", "secret"))
            self.cmail = RunningCmail(self._folder, more=more, users=users)
            stack.enter_context(self.cmail)
            stack.enter_context(MailboxReader(self.cmail.data / "mail", self.copies, sent))
            stack.enter_context(self.senders)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note("the log ends with:\n" + "\n".join(self.cmail.log().splitlines()[-60:]))
        self.senders.stop()
        self._stack.__exit__(kind, error, trace)

    # --- what happens to it --------------------------------------------------------------------

    def do(self, what: str) -> None:
        """One thing that happens; what is away is there again, or is on its way."""
        self.sink.delay_s = self.chance.choice((0.0, 0.0, 0.001, 0.01))  # now and then much is under way
        time.sleep(self.chance.uniform(0.02, 0.9))
        ACTIONS[what](self)

    def kill_child(self, name: str) -> None:
        """One process; its supervisor starts it again."""
        before = {pid for pid, its in self.processes().items() if its == name}
        self._kill(name, before, self._shards_of(name))
        if self.chance.random() < 0.5:  # else the next may hit it while it starts
            self.wait_for_child(name, before)

    def wait_for_child(self, name: str, before: set[int]) -> None:
        """Until it runs again."""
        wait_for(lambda: self._state_of(name, before) == "running", f"a new {name}", BACK_S)
        if f"{name} ended with signal SIGKILL; it is started again" not in self.cmail.log():
            self.broken.append(f"the log does not say that {name} was killed")

    def kill_all(self) -> None:
        """All processes at once; then a new server, perhaps with more workers or fewer: shards that
        nobody has are adopted."""
        self._kill_group()
        self.workers = self.chance.choice((1, 2, 2, 3))
        self.restart()

    def kill_starting(self) -> None:
        """All at once, and again while the new server starts."""
        self._kill_group()
        self.cmail.launch()
        time.sleep(self.chance.uniform(0.1, 1.5))
        self._kill_group()
        self.restart()

    def kill_supervisor(self) -> None:
        """The supervisor alone. A new server is started at once: it waits until the orphans are gone."""
        supervisor = self._pid()
        orphans = set(self.processes()) - {supervisor}
        self._kill("supervisor", {supervisor}, frozenset())
        self._reap()
        self.restart()
        left = orphans & living(orphans)
        if left:
            self.broken.append(f"{len(left)} processes have outlived their supervisor and a new start")

    def stop(self) -> None:
        """In order (SIGTERM), in the middle of it all; then a new server."""
        self.stops_count += 1
        code = self.cmail.stop()
        if code != 0:
            self.broken.append(f"SIGTERM: exit code {code}")
        self.restart()

    def restart(self) -> None:
        """A new `cmail serve` that has to come up."""
        text = SETTINGS.replace("workers = 2", f"workers = {self.workers}")
        old = self.cmail.config.read_text()
        self.cmail.config.write_text(text + old[old.index("[smtp]") :])
        self.cmail.start()

    def _kill(self, what: str, pids: set[int], shards: frozenset[int]) -> None:
        if not pids:
            return  # it is away at the moment
        wall = self._moment()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not living(pids), f"{what} to be gone", GONE_S)
        self.kills.append(Kill(what, shards, wall, time.time()))

    def _moment(self) -> float:
        """When to kill: now, or right after the next 250 (so that one which was said too early is a loss)."""
        if self.chance.random() < AT_REPLY:
            self.senders.heard.clear()
            self.senders.heard.wait(REPLY_S)
        return time.time()

    def _kill_group(self) -> None:
        group = self._pid()
        wall = self._moment()
        os.killpg(group, signal.SIGKILL)
        self._reap()
        wait_for(lambda: not self.processes(group), "all to be gone", GONE_S)
        self.kills.append(Kill("all", frozenset(range(64)), wall, time.time()))

    def _reap(self) -> None:
        assert self.cmail.process is not None
        self.cmail.process.wait(GONE_S)

    # --- who is there --------------------------------------------------------------------------

    def _pid(self) -> int:
        assert self.cmail.process is not None
        return self.cmail.process.pid

    def processes(self, group: int = 0) -> dict[int, str]:
        """Those of the server: pid and name ("worker-0")."""
        return {pid: name.removeprefix("cmail-") for pid, name in of_group(group or self._pid()).items()}

    def _shards_of(self, name: str) -> frozenset[int]:
        """Those of a worker: its own, and the first also has what belongs to nobody."""
        if not name.startswith("worker-"):
            return frozenset()
        number = int(name.removeprefix("worker-"))
        return frozenset([number, *(range(self.workers, 64) if number == 0 else ())])

    def _state_of(self, name: str, before: set[int]) -> str:
        try:
            children = self.cmail.status()["children"]
        except ControlError:
            return ""
        return next((str(c["state"]) for c in children if c["name"] == name and c["pid"] not in before), "")

    # --- the end -------------------------------------------------------------------------------

    def finish(self, with_backlog: bool = True) -> Verdict:
        """No further load; the last kill leaves mail in all shards, one worker has to deliver it all. Then
        the server ends in order."""
        if with_backlog:
            self._back_up()
            self._kill_group()
            self.workers = 1
        self.senders.stop()
        self.peers.heal(self.sink)
        self.sink.delay_s = 0.0
        if with_backlog:
            self.restart()
        queued = self._drain()
        self._stack.close()
        assert self.cmail.process is not None
        if self.cmail.process.returncode != 0:
            self.broken.append(f"the last SIGTERM: exit code {self.cmail.process.returncode}")
        found = verdict(self.senders.acknowledged, self.senders.sent, self.copies, self.kills, queued)
        found.broken += self.broken + self._trouble_in_log()
        if queued:
            found.broken.append(
                f"{len(queued)} recipients still wait though everybody takes mail: {queued[:3]}"
            )
        return found

    def _back_up(self) -> None:
        """Nobody takes mail for the Internet any more: it stays in the queue."""
        self.sink.script = {"connect": HANG, "content": HANG}
        before = len(self.senders.acknowledged)
        self.senders.wait_for(before + 40, BACK_S)

    def _drain(self) -> list[tuple[str, str]]:
        until = time.monotonic() + END_S
        while (rows := self.cmail.queue()) and time.monotonic() < until:
            time.sleep(0.1)
        return [(str(row["id"]), str(row["to"])) for row in rows]

    def _trouble_in_log(self) -> list[str]:
        lines = self.cmail.log().splitlines()
        first = next((n for n, line in enumerate(lines) if "Traceback" in line), None)
        return [] if first is None else ["a trace in the log: " + " | ".join(lines[first : first + 25])]


ACTIONS: Final[dict[str, Callable[[Storm], None]]] = {
    "worker": lambda storm: storm.kill_child(f"worker-{storm.chance.randrange(storm.workers)}"),
    "link": lambda storm: storm.kill_child("link"),
    "supervisor": Storm.kill_supervisor,
    "all": Storm.kill_all,
    "starting": Storm.kill_starting,
    "stop": Storm.stop,
}
_WEIGHTS: Final = {"worker": 10, "link": 2, "supervisor": 3, "all": 6, "starting": 1, "stop": 1}


def torture(say: Say) -> Summary:
    """The long storm: KILLS on each path, at random."""
    summary = Summary()
    seed = int(os.environ.get("CMAIL_STORM_SEED") or random.SystemRandom().randrange(1_000_000))
    summary.notes.append(f"CMAIL_STORM_SEED={seed}")
    for number, path in enumerate(PATHS):
        with tempfile.TemporaryDirectory(prefix="cmail-storm-") as folder:
            add(summary, *blow(path, Path(folder), seed + number, say))
    return summary


def blow(path: Path_, folder: Path, seed: int, say: Say) -> tuple[Storm, Verdict]:
    """One path, until so many were killed."""
    with Storm(path, folder, seed) as storm:
        while len(storm.kills) < KILLS - 1:
            kinds = list(_WEIGHTS)
            what = storm.chance.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
            say(
                f"{path.name}: {len(storm.kills)} of {KILLS} kills, {len(storm.senders.acknowledged)} accepted"
            )
            storm.do(what)
        return storm, storm.finish()


def add(summary: Summary, storm: Storm, found: Verdict) -> None:
    """Count a path in."""
    summary.accepted += found.accepted
    summary.delivered += found.delivered
    summary.in_queue += found.in_queue
    summary.lost += len(found.lost)
    summary.duplicated += found.duplicated
    name = storm.path.name
    summary.broken += [f"{name}: {words}" for words in found.broken[:20]]
    if found.lost:
        summary.broken.append(f"{name}: lost {len(found.lost)}: {'; '.join(found.lost[:10])}")
    kinds = [kill.what.partition("-")[0] for kill in storm.kills]
    enough = f"{name}: {found.accepted} messages and {len(kinds)} kills are no load to speak of"
    summary.expect(found.accepted >= LOAD_LEAST * len(kinds) > 0, enough)
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    summary.notes.append(
        f"{name}: {len(kinds)} kills ({counts}), {storm.stops_count} stops, {found.accepted} accepted,"
        f" {found.unanswered} arrived without an answer to their client, {found.duplicated} twice, all excused by"
        f" a kill (at most {found.twice_max} by one, {found.late_s * 1000:.0f} ms before it)"
    )
