"""No time grows worse than linearly with the input: counted, never measured by the clock.

Two counters. opcodes() counts the bytecode of Python that a parser runs: quick, needs nothing, and blind for
what one opcode does in C. instructions() counts those of the processor, by valgrind, in a process of its own:
regular expressions that go back, searches and copies of whole buffers are all in it. Inputs of length n, 2n,
4n and 8n are counted. Each step may cost twice the one before; where it costs nearly four times as much, and
the next again, it is quadratic (differences, so that what is the same for every input falls out; two in a
row, because a limit that is reached, or a buffer that grows, is one step)."""

import gc
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.fuzz.parser import FRAGMENTS, Parser

STEPS: Final = 4
GROWTH_MAX: Final = 2.5  # 2 is linear, 4 quadratic; a quadratic part of a tenth is beyond it
GROWTH_DOUBTED: Final = 2.2  # in the step before: what is copied in C shows late
REPEATED_MIN: Final = 16  # what does not fit so often into the longest input is not worth a look
_SLACK: Final = 20_000  # of instructions that come and go: a look-up that misses, memory that is fetched
_START_S: Final = 300.0  # more than the budget: imports under valgrind, and the longest case
_CASE_S: Final = 0.5  # about, for one case under valgrind: chooses the sizes, decides nothing
_MARK: Final = "getpgid"  # a function of the C library that nobody else calls: it parts the counts
_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to make an input of any length."""

    parser: str
    head: bytes
    fragment: bytes
    tail: bytes

    def of(self, octets: int) -> bytes:
        """An input of about so many octets."""
        return self.head + self.fragment * max(1, octets // len(self.fragment)) + self.tail

    def __str__(self) -> str:
        """For people."""
        return f"{self.parser}: {self.head!r:.60} + {self.fragment!r:.60} * n + {self.tail!r:.60}"


def cases(name: str, parser: Parser) -> Iterator[Case]:
    """Each fragment and seed in each frame."""
    for head, tail in parser.frames:
        for fragment in dict.fromkeys([*FRAGMENTS, *parser.fragments, *filter(None, parser.seeds)]):
            if len(fragment) * REPEATED_MIN + len(head + tail) <= parser.octets_max:
                yield Case(name, head, fragment, tail)


def is_worse(counts: Sequence[int], slack: int = _SLACK) -> bool:
    """Whether counts for n, 2n, 4n and 8n octets grow worse than linearly."""
    steps = [b - a for a, b in pairwise(counts)]
    grown = [b - slack > GROWTH_MAX * max(a, 0) for a, b in pairwise(steps)]
    begun = [b - slack > GROWTH_DOUBTED * max(a, 0) for a, b in pairwise(steps)]
    return all(begun) and grown[-1]


# Bytecode


def opcodes(run: Callable[[], object]) -> int:
    """How many opcodes of Python it takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def count_opcodes(parser: Parser, case: Case, octets: int) -> list[int]:
    """For n, 2n, 4n and 8n: of a long fragment one, two, four and eight, or a step would look like a curve."""
    length = len(case.fragment)
    octets = -(-octets // length) * length
    parser.feed(case.of(octets // 2))  # imports and caches
    return [opcodes(partial(parser.feed, case.of(size))) for size in sizes(octets)]


def sizes(octets: int) -> list[int]:
    """What is counted."""
    return [octets << step for step in range(STEPS)]


# Instructions


def instructions(
    table: str, names: Sequence[str], octets_max: int, cases_max: int, budget_s: float = 900.0
) -> dict[Case, tuple[int, list[int]]]:
    """Case -> octets and counts. `table` is module:NAME of a table of parsers, because the counting is
    done by another process, under valgrind. Cases are taken from all over, so many and for so long."""
    with tempfile.TemporaryDirectory(prefix="cmail-count-") as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        command += [f"--dump-before={_MARK}", sys.executable, "-m", "tests.fuzz.linear"]
        command += [table, str(octets_max), str(cases_max), str(budget_s), f"{folder}/told", *names]
        environ = {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": os.pathsep.join([*_paths(), str(_ROOT)]),
        }
        ran = subprocess.run(
            command, env=environ, cwd=_ROOT, capture_output=True, text=True, timeout=budget_s + _START_S
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        found: dict[Case, tuple[int, list[int]]] = {}
        for line in Path(folder, "told").read_text().splitlines():
            number, octets, case = line.split(" ", 2)
            counts = [_summary(Path(folder, f"out.{int(number) + step}")) for step in range(1, STEPS + 1)]
            found[eval(case)] = int(octets), counts
        return found


def _paths() -> list[str]:
    """What stands on PYTHONPATH already comes first: another copy of the product, perhaps."""
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _summary(path: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.MULTILINE)
    assert found is not None, f"no counts in {path}"
    return int(found[1])


def _count(
    parsers: Mapping[str, Parser], wanted: Sequence[Case], octets_max: int, budget_s: float, told: str
) -> None:
    """In the process that is counted: run each case for n, 2n, 4n and 8n, each between two marks."""
    gc.disable()
    # Python reads numbers in quadratic time and therefore refuses those of more than 4300 digits: with a
    # smaller bound the same is seen in inputs that are not so long.
    sys.set_int_max_str_digits(sys.int_info.str_digits_check_threshold)
    marks, until = 0, time.monotonic() + budget_s
    with open(told, "w") as file:
        for case in wanted:
            if time.monotonic() > until:
                break
            parser = parsers[case.parser]
            octets = _fitting(parser, case, octets_max)
            made = [case.of(size) for size in sizes(octets)]
            os.getpgid(0)
            for one in made:
                parser.feed(one)
                os.getpgid(0)
            file.write(f"{marks + 1} {octets} {case!r}\n")
            marks += STEPS + 1


def _fitting(parser: Parser, case: Case, octets_max: int) -> int:
    """So many octets that the longest input is one that the product may meet, and does not take all day."""
    octets = max(min(parser.octets_max - len(case.head + case.tail), octets_max) // 8, 2 * len(case.fragment))
    parser.feed(case.of(octets // 16))  # the first time is slow: valgrind translates what it runs
    began = time.process_time()
    parser.feed(case.of(octets // 8))
    took_s = (time.process_time() - began) * 120  # 15n to come
    while took_s > _CASE_S and octets > 32 * len(case.fragment):
        octets, took_s = octets // 2, took_s / 2
    parser.feed(case.of(octets // 2))
    return octets


def _main() -> None:
    import importlib

    table, octets_max, cases_max, budget_s, told, *names = sys.argv[1:]
    module, _, attribute = table.partition(":")
    parsers = getattr(importlib.import_module(module), attribute)
    wanted = [case for name in names for case in cases(name, parsers[name])]
    random.Random(1).shuffle(wanted)
    _count(parsers, wanted[: int(cases_max)], int(octets_max), float(budget_s), told)


if __name__ == "__main__":
    from tests.fuzz.linear import _main as main  # the module by its own name: cases are its values

    main()
