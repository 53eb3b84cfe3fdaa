"""docs/dependencies.md and pyproject.toml name the same packages."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    """The packages that these requirements ask for."""
    return {re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def rows(heading: str) -> dict[str, list[str]]:
    """Package -> its other cells, from the table under this heading of the page."""
    page = (ROOT / "docs/dependencies.md").read_text()
    section = page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_dependency_at_run_time_has_a_row() -> None:
    """What the server needs to run is explained, and nothing is explained that it does not need."""
    assert set(rows("To run")) == names(PROJECT["dependencies"])


def test_every_dependency_of_the_tests_has_a_row() -> None:
    """The same for what the tests need."""
    assert set(rows("To test")) == names(PROJECT["optional-dependencies"]["test"])


def test_every_row_says_all_three_things() -> None:
    """What for, why not ourselves, how to leave it: none is left empty."""
    for package, cells in {**rows("To run"), **rows("To test")}.items():
        assert len(cells) == 3, package
        assert all(cell.strip() for cell in cells), package


def test_what_is_imported_is_asked_for() -> None:
    """No module of ours imports a package that the installation does not bring."""
    modules = {"argon2": "argon2-cffi", "dns": "dnspython", "prometheus_client": "prometheus-client"}
    brought = names(PROJECT["dependencies"])
    pattern = re.compile(r"^\s*(?:from|import) ([A-Za-z0-9_]+)", re.MULTILINE)
    imported = {
        module: path
        for path in (ROOT / "src").rglob("*.py")
        for module in pattern.findall(path.read_text())
        if module in NOT_OURS
    }
    for module, path in imported.items():
        assert modules.get(module, module) in brought, f"{path} imports {module}"


# Packages that come along with others, or are there in a developer's environment only.
NOT_OURS = {
    *("apsw", "argon2", "click", "cryptography", "dns", "idna", "prometheus_client", "pydantic", "scramp"),
    *("starlette", "tomlkit", "uvicorn", "uvloop"),
    *("aiosmtplib", "dkim", "h11", "anyio", "jinja2", "multipart", "typing_extensions", "attr", "attrs"),
    *("asyncpg", "httpx", "requests", "aiosmtpd", "setuptools", "packaging", "cffi"),
}
