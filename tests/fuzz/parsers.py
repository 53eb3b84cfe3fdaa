"""PARSERS: every parser of the product by name; torture() sets atheris and the count of instructions on each."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.fuzz.linear import instructions, is_worse
from tests.fuzz.parser import Parser
from tests.fuzz.parsers_collect import COLLECT
from tests.fuzz.parsers_house import HOUSE
from tests.fuzz.parsers_link import LINK
from tests.fuzz.parsers_mail import MAIL
from tests.fuzz.parsers_smtp import SMTP
from tests.fuzz.parsers_validation import VALIDATION
from tests.support.torture import Say, Summary

PARSERS: Final[dict[str, Parser]] = {**SMTP, **MAIL, **HOUSE, **LINK, **VALIDATION, **COLLECT}
TABLE: Final = "tests.fuzz.parsers:PARSERS"
NOT_COUNTED: Final = frozenset({"questions to the real spool"})  # its threads take their time by themselves

FUZZ_S: Final = 540.0  # all parsers together
COUNT_S: Final = 150.0
COUNT_OCTETS: Final = 131_072  # where it is quick enough
_BAD: Final = ("crash-", "timeout-", "oom-", "leak-")  # how libFuzzer names what it found
_ROOT: Final = Path(__file__).parents[2]
_NICE: Final = 10


def torture(say: Say) -> Summary:
    """Atheris on each parser, one after the other; then instructions are counted."""
    summary = Summary()
    if find_spec("atheris") is None:
        summary.notes.append("atheris is not installed: it has wheels for x86-64 alone")
    else:
        ended = fuzz(list(PARSERS), FUZZ_S, say=say)
        summary.broken += [f"{name}: {broken}" for name, (_, broken) in ended.items() if broken]
        summary.expect(ended.keys() == PARSERS.keys(), "not every parser had its turn")
        runs = [some for some, _ in ended.values()]
        summary.notes.append(
            f"{len(ended)} parsers, {sum(runs):,} inputs, at least {min(runs, default=0):,} each"
        )
    say("instructions of the processor")
    _count(summary)
    return summary


def fuzz(
    names: Sequence[str], seconds: float, table: str = TABLE, say: Say = lambda words: None
) -> dict[str, tuple[int, str]]:
    """How many inputs each parser was given, and the input that broke it with its trace, "" when none did."""
    with tempfile.TemporaryDirectory(prefix="cmail-fuzz-") as folder:
        command = [sys.executable, "-m", "tests.fuzz.with_atheris", table, folder, str(seconds), *names]
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(_ROOT)]))
        with subprocess.Popen(
            command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": path},
        ) as process:  # fmt: skip
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip().isdigit():
                    say(f"{names[int(line)]} ({int(line) + 1} of {len(names)})")
        places = [Path(folder, str(number)) for number in range(len(names))]
        return {name: _ended(place) for name, place in zip(names, places, strict=True) if place.is_dir()}


def _ended(place: Path) -> tuple[int, str]:
    said = (place / "said").read_text(errors="replace")
    runs = next((int(line.split()[1]) for line in said.splitlines() if "executed_units" in line), 0)
    crashes = [path for path in place.iterdir() if path.name.startswith(_BAD)]
    if crashes:
        kind = crashes[0].name.partition("-")[0]
        return runs, f"{kind} by {crashes[0].read_bytes()!r}\n{_trace(said)}"
    return runs, "" if runs else f"never ran:\n{said[-2000:]}"


def _trace(said: str) -> str:
    """From the exception on."""
    at = said.find(" === Uncaught Python exception")
    return said[max(at, 0) :].partition("\n==")[0][-2500:]


def _count(summary: Summary) -> None:
    if shutil.which("valgrind") is None:
        summary.notes.append("instructions were not counted: valgrind is not installed")
        return
    began = time.monotonic()
    names = [name for name in PARSERS if name not in NOT_COUNTED]
    found = instructions(TABLE, names, COUNT_OCTETS, 100_000, COUNT_S)
    for case, (octets, counts) in found.items():
        summary.expect(not is_worse(counts), f"worse than linear: {case}, from {octets} octets: {counts}")
    summary.expect(found, "nothing was counted")
    summary.notes.append(
        f"{len(found)} cases counted, up to {COUNT_OCTETS} octets ({time.monotonic() - began:.0f} s)"
    )
