"""The README and the other pages name only commands, files and settings that exist."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.torture import PARTS

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / page
    for page in (
        "README.md",
        "bench/README.md",
        "bench/link/README.md",
        "docs/page.md",
        "docs/install.md",
        "docs/promises.md",
        "packaging/README.md",
    )
]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_that_a_page_names_exist(page: Path) -> None:
    """Whoever types what the page says gets what it promises."""
    text = page.read_text()
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    named = set(re.findall(r"\bmake ([a-z-]+)", code))
    assert named <= TARGETS


def test_the_two_commands_are_named() -> None:
    """The README shows the two commands that everything begins with."""
    assert {"run", "test"} <= set(re.findall(r"^make ([a-z]+)", PAGES[0].read_text(), re.MULTILINE))


def test_every_target_is_in_help() -> None:
    """`make help` has a word on each target, and no target is taken for a file."""
    explained = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert explained == TARGETS == set(phony[1].split())


def test_measurements_are_named_where_one_looks_for_them() -> None:
    """Each script that a target of measurements runs is there, and its page names the target and its cases."""
    for target, page in (("bench", "bench/README.md"), ("bench-link", "bench/link/README.md")):
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
        assert recipe
        script = re.search(r"(bench/\S+\.py)", recipe[1])
        assert script and (ROOT / script[1]).exists()
        text = (ROOT / page).read_text()
        assert f"make {target}" in text
        cases = re.search(r"^CASES = \((.*)\)$", (ROOT / script[1]).read_text(), re.MULTILINE)
        for case in re.findall(r'"(\w+)"', cases[1]) if cases else ():
            assert f"**{case}**" in text
    assert "bench/link/README.md" in PAGES[0].read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of ours leads to one that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_sample_of_the_settings_is_toml() -> None:
    """The sample in the README parses, and uses the sections of the settings."""
    sample = re.search(r"```toml\n(.*?)```", PAGES[0].read_text(), re.DOTALL)
    assert sample
    assert set(tomllib.loads(sample[1])) == {"host", "listener", "smtp"}


def test_scripts_say_what_they_are_for_and_can_be_run() -> None:
    """Each script is executable and begins with a comment for who reads it first."""
    for script in [*(ROOT / "scripts").iterdir(), ROOT / ".ci/run"]:
        lines = script.read_text().splitlines()
        assert lines[0].startswith("#!"), script
        assert lines[1].startswith("# "), script
        assert script.stat().st_mode & 0o111 == 0o111, script


def test_promises_name_the_parts_that_try_them() -> None:
    """docs/promises.md names every part of `make torture` and no other; a test that it names is there."""
    text = (ROOT / "docs/promises.md").read_text()
    named = {part for parts in re.findall(r'PART="?([a-z -]+)', text) for part in parts.split()}
    assert named == {part.name for part in PARTS}
    for path in re.findall(r"`(tests/[^`]+)`", text):
        assert (ROOT / path).exists(), path
