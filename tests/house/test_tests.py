"""What every test file owes its reader: a goal in its first line, no waiting for luck, nothing hidden."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests").rglob("test_*.py"))


def each_test(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The tests of a file, also those within classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def test_every_test_states_its_goal() -> None:
    """Each test has a first line that says what it shows."""
    silent = [
        f"{path.relative_to(ROOT)}:{test.lineno} {test.name}"
        for path in FILES
        for test in each_test(ast.parse(path.read_text()))
        if not ast.get_docstring(test)
    ]
    assert not silent, "\n".join(["tests without a first line that says what they show:", *silent])


def test_no_test_is_skipped_by_itself() -> None:
    """A test that lacks something says so by `needs`, which CI does not forgive: no other way out."""
    words = ("mark.skip", "mark.xfail", "pytest.skip(", "pytest.xfail(", "importorskip")
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in FILES
        if path != Path(__file__).resolve()
        for word in words
        if word in path.read_text()
    ]
    assert not found
