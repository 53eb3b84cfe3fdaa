"""The soak, for `make torture`: half of the full speed for 20 minutes; memory and descriptors stay flat.

CMAIL_SOAK_S sets another time, in seconds."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.torture import Say, Summary

SOAK_S: Final = float(os.environ.get("CMAIL_SOAK_S", "1200"))
FULL_SPEED_S: Final = 15.0  # to learn what the full speed is
SAMPLE_S: Final = 2.0
HANG_UP_EVERY_S: Final = 20.0  # SIGHUP; the settings are others each time, and the log is rotated
SLOPE_MAX: Final = 2.0  # MiB in ten minutes, of the second half
GROWTH_MIN: Final = 1.5  # MiB; less than this in a whole run is no slope, caches fill and pages come and go
DESCRIPTORS_MAX: Final = 5  # more than before there was any load, when it is over
MIB: Final = 2**20
LISTENERS: Final = '[[listener]]\nkind = "lmtp"\naddress = "127.0.0.1:0"\n'
# The outsiders of the load are many and are not held back by what one address may do: that is not the point.
MORE: Final = """
[relay]
networks = ["127.0.0.1/32"]
[smtp]
host = "127.0.0.1"
port = {smtp}
[local]
delivery = "{delivery}"
lmtp = "127.0.0.1:{lmtp}"
[log]
file = "{log}"
"""


class Generator:
    """The process of tests/soak/load.py, and what it said last."""

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {"acknowledged": 0, "arrived": 0}
        self.words: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        self.ports: dict[str, int] = json.loads(self._process.stdout.readline())
        self._thread = threading.Thread(target=self._read, name="load", daemon=True)

    def begin(self, places: dict[str, Any]) -> None:
        """The ports of the server and the mailbox to empty."""
        self.say(json.dumps(places))
        self._thread.start()

    def say(self, words: str) -> None:
        """`rate N`, `stop`."""
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Let all arrive, and read what became of it."""
        self.say("stop")
        self._thread.join(240)
        self._process.wait(10)

    def kill(self) -> None:
        """Whatever it is doing."""
        self._process.kill()
        self._process.wait(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "words" in told:
                self.words.append(told["words"])
            else:
                self.counts = told


@dataclass
class Samples:
    """What was seen of one process: seconds, octets of memory, descriptors."""

    times: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def slope(self) -> float:
        """MiB in ten minutes, of a line through the second half: until then bounded caches fill."""
        start = len(self.times) // 2
        line = statistics.linear_regression(self.times[start:], self.memory[start:])
        return line.slope * 600 / MIB

    def words(self) -> str:
        """For the summary."""
        quarter, half = len(self.times) // 4, len(self.times) // 2
        return (
            f"{self.memory[quarter] / MIB:.1f} MiB after the first quarter, {self.memory[half] / MIB:.1f} after"
            f" the first half, {self.memory[-1] / MIB:.1f} at the end"
            f" ({self.slope():+.2f} MiB in 10 minutes), {min(self.descriptors)}-{max(self.descriptors)}"
            " descriptors"
        )


class Soak:
    """A server under load, and what is seen of its processes."""

    def __init__(self, folder: Path) -> None:
        self.generator = Generator()
        self.cmail = RunningCmail(folder, settings=SETTINGS.replace("[admin]", LISTENERS + "\n[admin]"))
        self._log = self.cmail.data / "maillog"
        self._bare = self.cmail.config.read_text()
        self.errors: list[str] = []
        self.samples: dict[str, Samples] = {}
        self._turns = 0

    def __enter__(self) -> Self:
        try:
            self._write_settings()
            self.cmail.start()
            self.idle = {name: descriptors_of(pid) for name, pid in self.pids().items()}
            ports = {kind: self.cmail.port(kind) for kind in ("smtp", "submission", "lmtp")}
            mailbox = str(self.cmail.data / "mail" / "example.org" / "anna" / "new")
            self.generator.begin({**ports, "mailbox": mailbox})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.generator.kill()
        self.cmail.stop()

    def pids(self) -> dict[str, int]:
        """All processes of the server."""
        status = self.cmail.status()
        return {"supervisor": status["pid"], **{c["name"]: c["pid"] for c in status["children"]}}

    def run(self, seconds: float) -> None:
        """Let time pass; look at memory, ask, hang up now and then."""
        until = time.monotonic() + seconds
        hang_up_at = time.monotonic() + min(HANG_UP_EVERY_S, seconds / 3)
        while time.monotonic() < until:
            self._sample()
            self._ask()
            if time.monotonic() >= hang_up_at:
                hang_up_at += HANG_UP_EVERY_S
                self._hang_up()
            time.sleep(min(SAMPLE_S, max(0.1, until - time.monotonic())))
        self._sample()

    def finish(self) -> None:
        """No more load; wait until what it needed is closed."""
        self.generator.end()
        with suppress(AssertionError):  # said by leaks()
            wait_for(lambda: not self.leaks(), "descriptors to be closed", 90)
        self._look_at_log()

    def leaks(self) -> list[str]:
        """Processes with more descriptors than before."""
        now = {name: descriptors_of(pid) for name, pid in self.pids().items()}
        return [
            f"{name} has {count} descriptors, before the load {self.idle[name]}"
            for name, count in now.items()
            if abs(count - self.idle[name]) > DESCRIPTORS_MAX
        ]

    def _sample(self) -> None:
        for name, pid in self.pids().items():
            samples = self.samples.setdefault(name, Samples())
            samples.times.append(time.monotonic())
            samples.memory.append(memory_of(pid))
            samples.descriptors.append(descriptors_of(pid))

    def _ask(self) -> None:
        """What an operator asks all the time."""
        for name in self.pids():
            if name.startswith("worker-"):
                for question in ("status", "metrics", "queue.figures"):
                    self.cmail.ask(name, question)
                self.cmail.rows(name, "queue.list", filter={}, limit=100)
        self.cmail.ask("link", "link.status")

    def _hang_up(self) -> None:
        """Other settings, and a log that was rotated."""
        self._turns += 1
        self._look_at_log()
        self._write_settings()
        self.cmail.hang_up()

    def _look_at_log(self) -> None:
        rotated = self._log.with_suffix(".1")
        os.rename(self._log, rotated)
        with open(rotated, errors="replace") as lines:
            self.errors += [line[:300] for line in lines if " error: " in line or " started again" in line]
        rotated.unlink()

    def _write_settings(self) -> None:
        delivery = ("maildir", "lmtp")[self._turns % 2]
        more = MORE.format(**self.generator.ports, delivery=delivery, log=self._log)
        self.cmail.config.write_text(self._bare + more)


def memory_of(pid: int) -> int:
    """Octets of RAM that a process has (VmRSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors_of(pid: int) -> int:
    """How many files and sockets it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def soak(folder: Path, say: Say, seconds: float, full_speed_s: float = FULL_SPEED_S) -> tuple[Summary, Soak]:
    """Full speed for a moment, then half of it for so long; and what came of it."""
    summary = Summary()
    with Soak(folder) as running:
        say("at full speed")
        running.run(full_speed_s)
        rate = running.generator.counts["acknowledged"] / full_speed_s / 2
        running.samples.clear()
        running.generator.say(f"rate {rate:.1f}")
        began, before = time.monotonic(), running.generator.counts["acknowledged"]
        while (left_s := began + seconds - time.monotonic()) > 1:
            running.run(min(30.0, left_s))
            took_s = time.monotonic() - began
            sent = running.generator.counts["acknowledged"]
            say(f"{sent} messages, {(sent - before) / took_s:.0f} a second, {left_s:.0f} s to go")
        took_s, sent = time.monotonic() - began, running.generator.counts["acknowledged"] - before
        running.finish()
        _judge(summary, running, f"{sent / took_s:.0f} messages a second, half of {2 * rate:.0f}")
    return summary, running


def _judge(summary: Summary, running: Soak, words: str) -> None:
    counts = running.generator.counts
    missing: Sequence[int] = counts.get("missing", [-1])
    summary.accepted, summary.delivered = counts["acknowledged"], counts["acknowledged"] - len(missing)
    summary.lost, summary.duplicated = len(missing), len(counts.get("duplicated", ()))
    summary.expect(not missing, f"lost: {missing[:20]}")
    summary.expect(not summary.duplicated, f"duplicated: {counts.get('duplicated', ())[:20]}")
    summary.expect(not running.errors, f"in the log: {running.errors[:5]}")
    said = running.generator.words
    summary.expect(len(said) <= counts["acknowledged"] / 1000, f"{len(said)} sessions broke: {said[:5]}")
    for leak in running.leaks():
        summary.expect(False, leak)
    summary.notes.append(f"{words}; {counts['refused']} refused on purpose")
    summary.notes += [f"{name}: {samples.words()}" for name, samples in running.samples.items()]


def torture(say: Say) -> Summary:
    """20 minutes, or CMAIL_SOAK_S."""
    folder = Path(tempfile.mkdtemp(prefix="cmail-soak-"))
    try:
        summary, running = soak(folder, say, SOAK_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    slope_max = max(SLOPE_MAX, GROWTH_MIN * 600 / (SOAK_S / 2))
    for name, samples in running.samples.items():
        summary.expect(samples.slope() < slope_max, f"{name} grows: {samples.words()}")
    return summary
