"""No regular expression of the product can take more than linear time, and the audit that says so can be red."""

from pathlib import Path

import pytest

import cmail
from tests.fuzz.regexes import expressions, faults, uses_others

SOURCE = Path(cmail.__file__).parent

BAD: dict[str, tuple[str | bytes, bool]] = {
    "a repeat in a repeat": (r"(?:a+)+b", False),
    "the same with a comma that may be missing": (rb"(?:\w*,?)*x\Z", False),
    "words parted by what may be missing": (r"(?:[a-z]+ ?)*\Z", False),
    "two blanks' worth": (r"\s*\s*;", False),
    "two of the same, with something between that may be missing": (r"[a-z]*-?[a-z0-9]*@", False),
    "a search that begins with a repeat": (r"\s+;", True),
    "in one branch of two": (r"x(?:y|(?:z*)*)!", False),
}
GOOD: dict[str, tuple[str | bytes, bool]] = {
    "words parted by dots": (r"[a-z]+(?:\.[a-z]+)*\Z", False),
    "a quoted string": (r'"(?:[^"\\]|\\.)*"', False),
    "blanks around an equals sign": (r"[a-z]+\s*=\s*\d+", False),
    "a search for a letter": (r"[\x00-\x1f]", True),
    "a match that begins with blanks": (r"\s*;", False),
}


@pytest.mark.parametrize("name", BAD)
def test_the_audit_is_red(name: str) -> None:
    """A planted bad expression is seen."""
    assert faults(*BAD[name])


@pytest.mark.parametrize("name", GOOD)
def test_the_audit_is_not_red_for_all(name: str) -> None:
    """What is linear passes."""
    assert not faults(*GOOD[name])


def test_expressions_of_the_product() -> None:
    """Each one is found and none can go back far."""
    found = list(expressions(SOURCE, "cmail"))
    assert len(found) > 20
    bad = [
        f"{place}: {wrong}: {what!r}"
        for place, what, is_searched in found
        for wrong in faults(what, is_searched)
    ]
    assert not bad, "\n".join(bad)
    assert not uses_others(SOURCE)
