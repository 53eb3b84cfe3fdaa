"""docs/page.md: every page of the menu, and no command, path of the API or picture that does not exist."""

import json
import re
from importlib import import_module

import click

from cmail.cli.program import COMMANDS
from cmail.web.page import MENU
from tests.house.test_readme import ROOT

TEXT = (ROOT / "docs" / "page.md").read_text()
TABLE = TEXT[TEXT.index("| What |") :]
# They serve, tell of themselves, or are named in words below the table.
APART = {"serve", "version", "backup", "restore"}


def commands() -> set[str]:
    """All of them, such as `queue list`."""
    found = set()
    for name, (module, _) in COMMANDS.items():
        command = import_module(module).command
        inner = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {each}" for each in inner} or {name}
    return found


def operations() -> set[str]:
    """All of the API, such as `GET /queue`."""
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    return {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method in methods
        if method != "parameters"
    }


def test_every_page_is_described() -> None:
    """In the list of what is where."""
    assert [words for _, words in MENU if f"- **{words}**" not in TEXT] == []


def test_every_command_and_operation_stands_in_the_table() -> None:
    """A new one has to be put beside what the page does; nothing stands there that does not exist."""
    named = set(re.findall(r"`cmail ([a-z -]+)`", TABLE)) - APART
    assert named == commands() - APART - {"config init"}
    assert set(re.findall(r"`([A-Z]+ /[^`]*)`", TABLE)) == operations() - {"GET /openapi.json"}


def test_commands_that_words_name_have_these_options() -> None:
    """What pages, commands and manuals advise somebody to type can be typed."""
    pages = [*ROOT.glob("src/cmail/**/*.py"), *ROOT.glob("src/cmail/**/*.html"), *ROOT.glob("docs/*.md")]
    wrong = []
    for page in pages:
        for name, rest in re.findall(r"\bcmail ([a-z-]+)((?: [^\s`'\",;:)(.]+)*)", page.read_text()):
            if name not in COMMANDS or "--" not in rest:
                continue
            words, command = rest.split(), import_module(COMMANDS[name][0]).command
            inner = command.commands if isinstance(command, click.Group) else {}
            known = {each for one in (inner.get(words[0], command).params) for each in one.opts}
            wrong += [
                f"{page.name}: cmail {name}{rest}"
                for word in words
                if word.startswith("--") and word not in known | {"--help"}
            ]
    assert wrong == []


def test_every_command_stands_in_its_manual() -> None:
    """In a line of docs/commands.md that begins with its name, or among those of the queue."""
    rows = re.findall(
        r"^(?:\| `|    )(cmail [^\n]*)", (ROOT / "docs" / "commands.md").read_text(), re.MULTILINE
    )
    missing = []
    for each in sorted(commands() - {"version"}):
        name, _, inner = each.partition(" ")
        of_it = [row for row in rows if re.match(rf"cmail {name}\b", row)]
        if not any(re.search(rf"\b{inner or name}\b", row) for row in of_it):
            missing.append(each)
    assert missing == []


def test_its_pictures_are_there() -> None:
    """`make screenshots` makes them."""
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert pictures and all((ROOT / "docs" / each).is_file() for each in pictures)
