"""docs/rfc.md lists each standard that the code cites, once, and no other."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CITED: Final = re.compile(r"\bRFC\s?(\d{3,5})\b")
ROW: Final = re.compile(r"^\| RFC (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def cited() -> dict[int, set[str]]:
    """Numbers that the code cites, and where."""
    found: dict[int, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "src").rglob("*")):
        if path.suffix in {".py", ".c", ".sql"}:
            for number in CITED.findall(path.read_text()):
                found[int(number)].add(str(path.relative_to(ROOT)))
    return found


def listed() -> list[int]:
    """Numbers of the rows of docs/rfc.md, in their order."""
    return [int(number) for number, _, _ in ROW.findall((ROOT / "docs/rfc.md").read_text())]


def test_every_standard_that_the_code_cites_is_listed() -> None:
    """Who reads a paragraph sign in the code finds the standard's title and what we do of it."""
    missing = {f"RFC {n}": sorted(where) for n, where in cited().items() if n not in listed()}
    assert not missing, f"add a row to docs/rfc.md for each of {missing}"


def test_every_standard_that_is_listed_is_obeyed_somewhere() -> None:
    """A row without a citation in the code promises what nobody keeps."""
    idle = [f"RFC {number}" for number in listed() if number not in cited()]
    assert not idle, f"docs/rfc.md lists {idle}, and nothing in src cites them"


def test_the_list_is_in_order_and_names_each_once() -> None:
    """Rows by number, so that a second one for the same standard cannot hide."""
    assert listed() == sorted(set(listed()))
    assert len(listed()) > 10


def test_a_citation_is_written_in_one_way() -> None:
    """`RFC 5321 §4.5.4.1`: a blank, a paragraph sign, so that a search finds all of them."""
    odd = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for found in re.findall(r"\bRFC(?:\d|-\d| \d+[ ,]+(?:section|sect\.|s\d)).{0,20}", path.read_text())
    ]
    assert not odd
