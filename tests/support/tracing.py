"""strace on a running process: its system calls in the order in which they ended, or made to fail."""

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.support.house import wait_for

_LINE = re.compile(r"(\d+) +(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))\Z")
_UNFINISHED = " <unfinished ...>"
_FILLED = re.compile(r"\) +=")  # results stand in a column, where what is before them leaves room for it


@dataclass(frozen=True)
class Call:
    """One system call: where in the trace it began and ended (numbers of lines), and its arguments with
    the result, as strace prints them (with -y: descriptors with their paths)."""

    name: str
    text: str
    began: int
    ended: int


@contextmanager
def attached(pid: int, *options: str) -> Iterator[None]:
    """strace on all threads of a process, from the first line of the block to its last."""
    strace = subprocess.Popen(["strace", "-f", "-q", "-p", str(pid), *options], stderr=subprocess.PIPE)
    try:
        others = [int(option) for before, option in pairwise(options) if before == "-p"]
        for each in (pid, *others):
            wait_for(lambda: _is_traced(each, strace.pid), "strace on all threads")  # noqa: B023
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=60)


def _is_traced(pid: int, tracer: int) -> bool:
    """Whether all threads of a process are; one may end while it is looked at."""
    try:
        states = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return bool(states) and all(f"TracerPid:\t{tracer}\n" in state for state in states)


@contextmanager
def failing(pid: int, calls: str, error: str) -> Iterator[None]:
    """Every such system call of a process fails, as it would on a disk that does."""
    with attached(pid, "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"):
        yield


def calls_of(trace: Path) -> Sequence[Call]:
    """The calls of a trace that `strace -f -o trace` wrote, in the order in which they ended."""
    under_way: dict[str, tuple[str, str, int]] = {}
    calls = []
    for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
        found = _LINE.match(line)
        if found is None:
            continue
        pid, name, text, resumed, rest = found.groups()
        if name is not None and text.endswith(_UNFINISHED):
            under_way[pid] = (name, text.removesuffix(_UNFINISHED), number)
        elif name is not None:
            calls.append(Call(name, text, number, number))
        elif pid in under_way and under_way[pid][0] == resumed:
            _, begun, began = under_way.pop(pid)
            text = begun + _FILLED.sub(") =", rest, count=1)
            calls.append(Call(resumed, text, began, number))
    return calls
