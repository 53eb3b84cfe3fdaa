"""No parser takes time that grows worse than linearly with its input: opcodes and instructions are counted."""

from typing import Final

import pytest

from tests.fuzz.linear import Case, cases, count_opcodes, instructions, is_worse
from tests.fuzz.parsers import NOT_COUNTED, PARSERS
from tests.fuzz.parsers_smtp import SMTP
from tests.fuzz.planted import PLANTED

OPCODES_OCTETS: Final = 32  # and twice, four and eight times that
OPCODES_CASES: Final = 12  # of a parser; make torture takes them all
OPCODES_SLACK: Final = 400
INSTRUCTIONS_CASES: Final = 40
INSTRUCTIONS_OCTETS: Final = 16384


def test_a_step_is_not_a_curve() -> None:
    """Linear, with a limit that is reached or a buffer that grows: fine. Quadratic: not."""
    assert not is_worse([1000, 2000, 4000, 8000], 0)
    assert not is_worse([10, 10, 9000, 18000], 0)
    assert not is_worse([1000, 2000, 4000, 200], 0)
    assert is_worse([1000 + n * n for n in (100, 200, 400, 800)], 0)
    assert is_worse([100 * n + n * n for n in (100, 200, 400, 800)], 0)


def test_opcodes_see_what_is_planted() -> None:
    """The counter of bytecode is red for a parser that looks at all that came before, and green for a good one."""
    assert is_worse(
        count_opcodes(PLANTED["looks again"], Case("looks again", b"", b",", b""), 32), OPCODES_SLACK
    )
    assert not is_worse(count_opcodes(PLANTED["reads"], Case("reads", b"", b",", b""), 32), OPCODES_SLACK)


@pytest.mark.needs("valgrind")
@pytest.mark.limit(300)
def test_instructions_see_what_is_planted() -> None:
    """The counter of instructions is red for copies and for an expression that goes back, which are one
    opcode each, and green for a good one."""
    found = instructions("tests.fuzz.planted:PLANTED", ["cuts off", "goes back", "reads"], 16384, 7)
    for name in ("cuts off", "goes back", "reads"):
        verdicts = {is_worse(counts) for case, (_, counts) in found.items() if case.parser == name}
        assert verdicts == {name != "reads"}, found


@pytest.mark.parametrize("name", PARSERS)
def test_bytecode_grows_linearly(name: str) -> None:
    """Twice the input, twice the bytecode at most, whatever is repeated in it."""
    parser = PARSERS[name]
    every = list(cases(name, parser)) if name not in NOT_COUNTED else []
    step = max(1, len(every) // OPCODES_CASES)
    for case in every[sum(name.encode()) % step :: step]:
        counts = count_opcodes(parser, case, OPCODES_OCTETS)
        assert not is_worse(counts, OPCODES_SLACK), f"{case}: {counts}"


@pytest.mark.needs("valgrind")
@pytest.mark.limit(600)
def test_instructions_grow_linearly() -> None:
    """The same for what Python does in C, for some of what peers may say; make torture counts the others."""
    found = instructions("tests.fuzz.parsers_smtp:SMTP", list(SMTP), INSTRUCTIONS_OCTETS, INSTRUCTIONS_CASES)
    bad = [f"{case}: {counts}" for case, (_, counts) in found.items() if is_worse(counts)]
    assert found and not bad, "\n".join(bad)
