"""Arrays of tables in a settings file: rows come, go, change and move; comments go with them or stay, and every other
octet is as it was."""

import tomllib
from typing import Any, Final

import pytest

from cmail.app.toml_edit import ABSENT, edit

FILE: Final = """\
# Ours.
[host]
hostname = "mail.example.org"  # the name

# The provider.
[[link.kick]]
method = "etrn"  # it wants that
host = "mx.isp.example"

# When the provider is away.
[[link.kick]]
# no port
method = "command"
command = ["/usr/local/bin/ask", "now"]
# until here

# Sites: none yet.

[smtp]
host = "smtp.isp.example"
"""
ETRN: Final[dict[str, Any]] = {"method": "etrn", "host": "mx.isp.example"}
COMMAND: Final[dict[str, Any]] = {"method": "command", "command": ["/usr/local/bin/ask", "now"]}
FINGER: Final[dict[str, Any]] = {"method": "finger", "repeat": 3}
FIRST: Final = FILE[FILE.index("# The provider") : FILE.index("\n# When the")]
SECOND: Final = FILE[FILE.index("# When the") : FILE.index("\n# Sites")]
NEW: Final = '[[link.kick]]\nmethod = "finger"\nrepeat = 3\n'

# name -> rows, the text that stands between [host] and the comment on sites
CASES: Final[dict[str, tuple[Any, str]]] = {
    "the same": ([ETRN, COMMAND], f"{FIRST}\n{SECOND}\n"),
    "moved": ([COMMAND, ETRN], f"{SECOND}\n{FIRST}\n"),
    "the first goes": ([COMMAND], f"{SECOND}\n"),
    "the second goes": ([ETRN], f"{FIRST}\n"),
    "all go": ([], ""),
    "the default": (ABSENT, ""),
    "one more": ([ETRN, COMMAND, FINGER], f"{FIRST}\n{SECOND}\n{NEW}\n"),
    "one more, in front": ([FINGER, ETRN, COMMAND], f"{NEW}\n{FIRST}\n{SECOND}\n"),
    "another value": (
        [ETRN | {"host": "b"}, COMMAND],
        FIRST.replace("mx.isp.example", "b") + f"\n{SECOND}\n",
    ),
    "a value more": ([ETRN | {"port": 587}, COMMAND], f"{FIRST}port = 587\n\n{SECOND}\n"),
    "a value less": ([{"method": "etrn"}, COMMAND], f"{FIRST.rpartition('host')[0]}\n{SECOND}\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_and_what_is_around_them(name: str) -> None:
    """The comment right above a row goes where it goes; what stands apart stays."""
    rows, between = CASES[name]
    begin, end = FILE[: FILE.index("# The provider")], FILE[FILE.index("# Sites") :]
    assert edit(FILE, {"link.kick": rows}) == begin + between + end


OTHER_WAYS: Final = {
    "one value": 'link = {kick = [{method = "etrn"}], probe = "off"}\n[smtp]\nport = 25\n',
    "one value of many lines": '[link]\nprobe = "off"\nkick = [\n  {method = "etrn"},  # one\n]\n[smtp]\nport = 25\n',
    "rows that stand apart": '[[link.kick]]\nmethod = "etrn"\n[smtp]\nport = 25\n[[link.kick]]\nmethod = "finger"\n',
    "odd headers": '[[ link . "kick" ]]  # a step\nmethod = "etrn"\n[smtp] # rest\nport = 25',
    "a text that looks like a header": '[[link.kick]]\nmethod = "string"\ntext = """\n[[link.kick]]\n"""\n',
    "nothing": "",
    "no line end": "[smtp]\nport = 25",
    "lines of Windows": '[[link.kick]]\r\nmethod = "etrn"\r\n\r\n[smtp]\r\nport = 25\r\n',
}


@pytest.mark.parametrize("rows", [[COMMAND, ETRN], [FINGER], [ETRN, FINGER, COMMAND], []])
@pytest.mark.parametrize("name", OTHER_WAYS)
def test_however_the_file_is_written(name: str, rows: list[dict[str, Any]]) -> None:
    """The rows are those that were asked for, and everything else says what it said; twice, because what was written
    has to be read again."""
    text = before = OTHER_WAYS[name]
    for wanted in (rows, [ETRN], rows):
        text = edit(text, {"link.kick": wanted, "link.small": "1KiB"})
        found = tomllib.loads(text)
        assert found["link"].pop("kick", []) == wanted
        assert found["link"].pop("small") == "1KiB"
        was = tomllib.loads(before)
        was.get("link", {}).pop("kick", None)
        assert {key: value for key, value in found.items() if value} == {
            key: value for key, value in was.items() if value
        }


def test_a_row_that_came_at_the_end_leaves_nothing_when_it_goes() -> None:
    """The file is as it was, octet for octet."""
    text = "[smtp]\nport = 25\n"
    for rows in ([ETRN], [ETRN, FINGER, COMMAND]):
        assert edit(edit(text, {"link.kick": rows}), {"link.kick": []}) == text
