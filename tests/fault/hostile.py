"""Hostile: every attack at once for long, while good clients are served and timed; then few files, then no room.

The quick part is test_hostile.py. Attackers and good clients are processes of their own."""

import os
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.fault.attackers import ATTACKS, NICENESS, Attackers, missing
from tests.fault.good_clients import GoodClients, Told
from tests.support.house import RunningCmail, wait_for
from tests.support.ledger import Acknowledged, balance_of, tags_of
from tests.support.torture import Say, Summary

RELAY: Final = '[relay]\nnetworks = ["127.0.0.1/32"]\n'
LONG_S: Final = 120.0
CROWD_S: Final = 40.0
P99_S: Final = 1.0
BUSY: Final = 4  # on a machine where even without attackers p99 is more than 250 ms, so much more is allowed
CALM_CLIENTS_S: Final = 10.0
MEMORY_MAX_MIB: Final = 400  # of one worker: 2,000 sessions, content in memory, log-ins
CALM_S: Final = 40.0  # until what hangs about is ended, once the attackers are gone


class Siege:
    """A server, those who attack it, and those who use it."""

    def __init__(self, cmail: RunningCmail, say: Say = lambda _: None) -> None:
        self.cmail = cmail
        self._say = say
        self.told = Told()
        self.met: dict[str, dict[str, int]] = {}
        self.memory_mib = 0.0
        self.sessions_most = 0

    def hold(
        self,
        seconds: float,
        names: tuple[str, ...],
        people: tuple[str, ...],
        idle_count: int = 2000,
        niceness: int = NICENESS,
    ) -> None:
        """Attack for so long, with good clients from the first moment to the last."""
        ports = {kind: self.cmail.port(kind) for kind in ("smtp", "submission")}
        log_in_once(self.cmail)
        until = time.monotonic() + seconds
        with (
            GoodClients(ports, seconds, people) as good,
            Attackers(ports, seconds, names, idle_count, niceness) as attackers,
        ):
            while (left_s := until - time.monotonic()) > 0:
                self._look()
                self._say(f"{left_s:.0f} s to go, {self.sessions_most} sessions at most")
                time.sleep(min(1.0, left_s))
            self.met = attackers.met()
            self.told = good.told()

    def _look(self) -> None:
        workers = [c for c in self.cmail.status()["children"] if c["name"].startswith("worker-")]
        sessions = 0
        for worker in workers:
            status = Path(f"/proc/{worker['pid']}/status").read_text()
            self.memory_mib = max(self.memory_mib, int(status.split("VmRSS:")[1].split()[0]) / 1024)
            sessions += self.cmail.ask(worker["name"], "status", 30)["sessions"]
        self.sessions_most = max(self.sessions_most, sessions)

    def rest(self, seconds: float, people: tuple[str, ...]) -> float:
        """The same clients without attackers, for so long: the worst p99 of them, which is the machine's."""
        ports = {kind: self.cmail.port(kind) for kind in ("smtp", "submission")}
        with GoodClients(ports, seconds, people, "calm") as good:
            told = good.told()
        return max(told.quantile(name, 0.99) for name in people)

    def judge(self, summary: Summary, p99_s: float) -> None:
        """What must hold after it."""
        told = self.told
        for name in told.times:
            summary.expect(told.times[name], f"{name} was never served")
            if told.times[name]:
                summary.notes.append(told.words(name))
                is_timed = name != "office"  # 60 at once on a machine that attacks itself
                p99 = told.quantile(name, 0.99)
                summary.expect(not is_timed or p99 <= p99_s, f"{name}: p99 {p99:.2f} s")
        summary.expect(
            not told.troubles, f"good clients had {len(told.troubles)} troubles: {told.troubles[:5]}"
        )
        summary.broken += missing(self.met)
        summary.notes.append(f"{self.sessions_most} sessions and {self.memory_mib:.0f} MiB a worker at most")
        summary.expect(self.memory_mib < MEMORY_MAX_MIB, f"a worker had {self.memory_mib:.0f} MiB")
        children = self.cmail.status()["children"]
        summary.expect(
            all(c["restarts"] == 0 for c in children), f"a process had to be restarted: {children}"
        )
        log = self.cmail.log()
        summary.notes.append(f"{len(log) / 2**20:.1f} MiB of log")
        for words in ("Traceback", "could not be"):
            at = log.find(words)
            summary.expect(at < 0, f"the log says: {log[max(0, at - 200) : at + 1500]}")
        self._judge_mail(summary)

    def _judge_mail(self, summary: Summary) -> None:
        sent = {tag: Acknowledged("anna", queue_id, 0.0) for tag, queue_id in self.told.acknowledged.items()}

        def arrived() -> bool:
            return sent.keys() <= tags_of(self.cmail.mailbox("anna@example.org")).keys()

        try:
            wait_for(arrived, "all good mail")
        except AssertionError:
            pass  # told by the balance
        queued = {str(row["id"]) for row in self.cmail.queue()}
        summary.add(balance_of(sent, tags_of(self.cmail.mailbox("anna@example.org")), queued))

    def calms(self, timeout_s: float = CALM_S) -> None:
        """The attackers are gone: no session is left, and a stranger is welcome."""
        names = [c["name"] for c in self.cmail.status()["children"] if c["name"].startswith("worker-")]
        wait_for(lambda: not any(self.cmail.ask(n, "status")["sessions"] for n in names), "calm", timeout_s)


def log_in_once(cmail: RunningCmail) -> None:
    """anna logs in from her office: from then on that is a known place."""
    ports = {kind: cmail.port(kind) for kind in ("smtp", "submission")}
    with GoodClients(ports, 0.5, ["mail program"], "in") as one:
        assert not (told := one.told()).troubles, told.troubles


def torture(say: Say) -> Summary:
    """All attacks at once; then attackers from so many addresses that all room is taken."""
    summary = Summary()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        os.chmod(folder, 0o755)
        for name, more, seconds, attacks in (
            ("all attacks", "", LONG_S, tuple(ATTACKS)),
            ("no room", "[limits]\nsessions = 300\n", CROWD_S, ("idle", "slow writers", "guess")),
        ):
            place = Path(folder) / name.replace(" ", "-")
            place.mkdir()
            with RunningCmail(place, more=RELAY + more) as cmail:
                siege = Siege(cmail, lambda words, name=name: say(f"{name}: {words}"))  # type: ignore[misc]
                people = (
                    ("own", "mail program")
                    if name == "no room"
                    else ("own", "server", "mail program", "office")
                )
                siege.hold(seconds, attacks, people)
                part = Summary()
                siege.calms()
                calm_s = siege.rest(CALM_CLIENTS_S, ("own", "mail program"))
                part.notes.append(f"without attackers: p99 {1000 * calm_s:.0f} ms")
                siege.judge(part, max(P99_S, BUSY * calm_s))
                _merge(summary, part, name)
    return summary


def _merge(whole: Summary, part: Summary, name: str) -> None:
    for field in ("accepted", "delivered", "in_queue", "lost", "duplicated"):
        setattr(whole, field, getattr(whole, field) + getattr(part, field))
    whole.notes += [f"{name}: {words}" for words in part.notes]
    whole.broken += [f"{name}: {words}" for words in part.broken]
