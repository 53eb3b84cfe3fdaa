"""The manuals of the link say what is so: their settings are taken by the server, their commands and paths exist."""

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from cmail.app.config import load_text
from cmail.cli.program import COMMANDS
from cmail.mail.priority import header_priority

ROOT = Path(__file__).parents[2]
NAMES = ("docs/link.md", "docs/kick.md", "docs/collect.md", "docs/sites.md", "packaging/README.md")
PAGES = {name: (ROOT / name).read_text() for name in NAMES}
SETTINGS = [
    (name, text) for name, page in PAGES.items() for text in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
]


@pytest.mark.parametrize(("name", "text"), SETTINGS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(SETTINGS)])
def test_settings_that_are_shown_are_taken(name: str, text: str) -> None:
    """As they stand, by the parser that the server has."""
    assert load_text(text, "/etc/cmail/cmail.toml", is_machine_checked=False)


def test_each_kind_of_place_has_its_example() -> None:
    """A ship, an hour, a field office; kicks, mailboxes, sites."""
    counts = {name: sum(each == name for each, _ in SETTINGS) for name in NAMES}
    assert counts["docs/link.md"] >= 3 and counts["docs/kick.md"] and counts["docs/sites.md"]


@pytest.mark.parametrize("page", NAMES)
def test_commands_that_are_named_exist(page: str) -> None:
    """Whoever types what the page says is not told that there is no such command."""
    for name, inner in re.findall(r"`cmail ([a-z-]+)(?: ([a-z-]+))?", PAGES[page]):
        command = import_module(COMMANDS[name][0]).command
        if inner and isinstance(command, click.Group):
            assert inner in command.commands, f"cmail {name} {inner}"


@pytest.mark.parametrize("page", NAMES)
def test_links_and_headings_are_there(page: str) -> None:
    """A link leads to a file, and to a heading of it where it names one."""
    for target, heading in re.findall(r"\]\(([^)#:]*)(?:#([a-z-]+))?\)", PAGES[page]):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^a-z -]", "", each.lower()).replace(" ", "-") for each in titles}


def test_what_mail_programs_write_is_urgent() -> None:
    """The fields that the manual names."""
    fields = ("X-Priority: 1", "X-Priority: 2", "Importance: high", "Priority: urgent")
    assert all(header_priority(f"Subject: a\r\n{field}\r\n\r\n".encode()) > 0 for field in fields)
    text = PAGES["docs/link.md"]
    assert all(part in text for field in fields for part in field.split(": "))
