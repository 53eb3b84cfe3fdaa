"""PARSERS: every parser of the product by name; torture() sets atheris and the count of instructions on each."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.fuzz.linear import instructions, is_worse
from tests.fuzz.parser import Parser
from tests.fuzz.parsers_house import HOUSE
from tests.fuzz.parsers_mail import MAIL
from tests.fuzz.parsers_smtp import SMTP
from tests.support.torture import Say, Summary

PARSERS: Final[dict[str, Parser]] = {**SMTP, **MAIL, **HOUSE}
NOT_COUNTED: Final = frozenset({"questions to the real spool"})  # its threads take their time by themselves

FUZZ_S: Final = 560.0  # all parsers together, with the start of each process
COUNT_S: Final = 150.0
START_S: Final = 60.0  # a process on a machine that does much else besides
LEAST_S: Final = 1.0  # of a parser, however slow the machine is
COUNT_OCTETS: Final = 131_072  # where it is quick enough
_BAD: Final = ("crash-", "timeout-", "oom-", "leak-")  # how libFuzzer names what it found
_ROOT: Final = Path(__file__).parents[2]


def torture(say: Say) -> Summary:
    """Atheris on each parser, one process after the other; then instructions are counted."""
    summary = Summary()
    runs, start_s, until = 0, 3.0, time.monotonic() + FUZZ_S
    has_atheris = find_spec("atheris") is not None
    if not has_atheris:
        summary.notes.append("atheris is not installed: it has wheels for x86-64 alone")
    for number, name in enumerate(PARSERS if has_atheris else (), 1):
        began = time.monotonic()
        seconds = max(LEAST_S, (until - began) / (len(PARSERS) - number + 1) - start_s)
        say(f"{name} ({number} of {len(PARSERS)}), {seconds:.0f} s")
        some, broken = fuzz(name, seconds)
        start_s = max(0.0, time.monotonic() - began - seconds)
        runs += some
        if broken:
            summary.broken.append(f"{name}: {broken}")
    summary.notes.append(f"{len(PARSERS)} parsers, {runs:,} inputs")
    say("instructions of the processor")
    _count(summary)
    return summary


def fuzz(name: str, seconds: float, table: str = "tests.fuzz.parsers:PARSERS") -> tuple[int, str]:
    """How many inputs a parser was given, and the input that broke it with its trace; "" when none did."""
    with tempfile.TemporaryDirectory(prefix="cmail-fuzz-") as folder:
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.with_atheris",
            table,
            name,
            folder,
            str(max(1, round(seconds))),
        ]
        code, said = _run(command, seconds + START_S)
        runs = next((int(line.split()[1]) for line in said.splitlines() if "executed_units" in line), 0)
        crashes = sorted(
            path for path in Path(folder).iterdir() if path.is_file() and path.name.startswith(_BAD)
        )
        if crashes:
            kind = crashes[0].name.partition("-")[0]
            return runs, f"{kind} by {crashes[0].read_bytes()!r}\n{_trace(said)}"
        if code or not runs:
            return runs, f"ended with {code}:\n{said[-2000:]}"
        return runs, ""


def _run(command: Sequence[str], timeout_s: float) -> tuple[int, str]:
    """A process with all that it starts, ended when it takes too long."""
    with tempfile.TemporaryFile() as out:
        began = subprocess.Popen(
            command, cwd=_ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: os.nice(10) and None, env=_environ(),
        )  # fmt: skip
        try:
            code = began.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(began.pid, signal.SIGKILL)
            code = began.wait()
        out.seek(0)
        return code, out.read().decode("utf-8", "replace")


def _environ() -> Mapping[str, str]:
    """Another copy of the product that comes first on PYTHONPATH stays first."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [*os.environ.get("PYTHONPATH", "").split(os.pathsep), str(_ROOT)]
        ).lstrip(os.pathsep),
    }


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
    found = instructions("tests.fuzz.parsers:PARSERS", names, COUNT_OCTETS, 100_000, COUNT_S)
    for case, (octets, counts) in found.items():
        summary.expect(not is_worse(counts), f"worse than linear: {case}, from {octets} octets: {counts}")
    summary.expect(found, "nothing was counted")
    summary.notes.append(
        f"{len(found)} cases counted up to {COUNT_OCTETS} octets ({time.monotonic() - began:.0f} s)"
    )
