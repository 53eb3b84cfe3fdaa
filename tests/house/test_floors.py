"""The map of the floors in pyproject.toml names every package that there is, and each once."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
FLOORS = next(contract for contract in LINTER["contracts"] if contract["id"] == "floors")


def test_every_package_is_on_the_map() -> None:
    """A package or module directly under cmail that no floor names is refused."""
    named = [name for layer in FLOORS["layers"] for name in re.findall(r"\w+", layer)]
    assert len(named) == len(set(named)), "a package stands on two floors"
    there = {
        path.stem
        for path in (ROOT / "src/cmail").iterdir()
        if (path.is_dir() and (path / "__init__.py").exists()) or path.suffix == ".py"
    } - {"__init__", "__main__"}
    assert there <= set(named), "not on the map: give it a floor in pyproject.toml, or find its home"


def test_the_linter_refuses_what_is_not_on_the_map() -> None:
    """lint-imports itself is told that the map is whole; nothing is excepted but cmail's own door."""
    assert FLOORS["exhaustive"] is True
    assert FLOORS["exhaustive_ignores"] == ["__main__"]
    assert "ignore_imports" not in FLOORS


def test_every_package_is_a_package() -> None:
    """Each folder with code has an __init__.py: without one the linter and the type checker overlook it."""
    folders = {path.parent for path in (ROOT / "src/cmail").rglob("*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
