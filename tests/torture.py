"""`make torture`: every promise of docs/promises.md tried for long; a progress line, and a table at the end.

    python -m tests.torture [PART ...] [--list]

Parts run one after the other, but those marked as quiet run beside the soak, which takes 20 minutes by the
clock and half of the machine. The exit code is 1 when anything broke."""

import argparse
import importlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.support.torture import Say, Summary, table

PROGRESS_S: Final = 1.0


@dataclass(frozen=True)
class Part:
    """A function torture(say) -> Summary in a module."""

    name: str
    module: str
    words: str
    limit_s: float  # longer than this, and it is broken
    is_beside: bool = False  # runs beside the soak


PARTS: Final = (
    Part("storm", "tests.crash.storm", "kill -9 at random moments under load", 900),
    Part("power-cut", "tests.crash.power_cut", "disk states that a power cut may leave", 420),
    Part(
        "link",
        "tests.crash.link_storm",
        "a cable that comes and goes, a site and its hub that are killed",
        420,
    ),
    Part("disk", "tests.fault.disk", "a disk that is full, fails, is read-only, is gone", 300),
    Part("hostile", "tests.fault.hostile", "hostile clients while a good one is served", 300),
    Part("soak", "tests.soak.soak", "20 minutes at half speed: memory and descriptors", 1500),
    Part("peers", "tests.fault.peers", "each stage of a delivery in each kind of trouble", 600, True),
    Part("parsers", "tests.fuzz.parsers", "atheris on every parser", 900, True),
    Part("time", "tests.fault.clocks", "clocks that jump, a laptop that slept", 300, True),
    Part("backup", "tests.fault.backups", "backup and restore under load", 300, True),
)


@dataclass
class _Run:
    part: Part
    words: str = "waits"
    began: float = 0.0
    took_s: float = 0.0
    summary: Summary | None = None

    def say(self, words: str) -> None:
        self.words = words

    def run(self) -> None:
        self.began = time.monotonic()
        try:
            self.summary = function_of(self.part)(self.say)
        except BaseException:
            self.summary = Summary(broken=[traceback.format_exc()])
        self.took_s = time.monotonic() - self.began
        if self.took_s > self.part.limit_s:
            self.summary.broken.append(f"took {self.took_s:.0f} s, more than {self.part.limit_s:.0f}")


def function_of(part: Part) -> Callable[[Say], Summary]:
    """What runs this part."""
    function: Callable[[Say], Summary] = importlib.import_module(part.module).torture
    return function


def run_all(parts: Sequence[Part]) -> list[_Run]:
    """Run them; the soak and those beside it last and together."""
    runs = [_Run(part) for part in parts]
    beside = [run for run in runs if run.part.is_beside]
    for run in runs:
        if run.part.is_beside:
            continue
        if run.part.name == "soak" and beside:
            _together([run], beside)
            beside = []
        else:
            _together([run])
    if beside:
        _together(beside)
    return runs


def _together(*lines: Sequence[_Run]) -> None:
    """Each line of runs in a thread of its own, with a progress line until all are through."""
    threads = [threading.Thread(target=lambda line=line: [run.run() for run in line]) for line in lines]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        _progress([run for line in lines for run in line])
        for thread in threads:
            thread.join(PROGRESS_S / len(threads))
    for run in (run for line in lines for run in line):
        assert run.summary is not None
        verdict = "BROKEN" if run.summary.broken else "held"
        print(f"\r\x1b[K{run.part.name}: {verdict} after {run.took_s:.0f} s", flush=True)


def _progress(runs: Sequence[_Run]) -> None:
    now = time.monotonic()
    words = [f"{r.part.name} {now - r.began:.0f} s: {r.words}" for r in runs if r.began and r.summary is None]
    if sys.stdout.isatty():
        print("\r\x1b[K" + " | ".join(words)[:200], end="", flush=True)
    elif int(now) % 30 == 0:
        print(" | ".join(words), flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("part", nargs="*", help="only these, by name")
    parser.add_argument("--list", action="store_true", help="what there is")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{part.name:10} {part.words}" for part in PARTS))
        return 0
    unknown = set(arguments.part) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; --list tells them")
    runs = run_all([part for part in PARTS if not arguments.part or part.name in arguments.part])
    print("\n" + table([(run.part.name, run.summary or Summary(), run.took_s) for run in runs]))
    return 1 if any(run.summary is None or run.summary.broken for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
