"""Where each key of a TOML text stands: dotted key -> line number, for messages to people.

tomllib says what a file means and not where; this walks over the same text once. It is only read when
something is wrong, and a text that is no TOML has been refused before."""

import re
from typing import Final

_KEY_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY: Final = rf"{_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*"
_HEADER: Final = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_KEY})[ \t]*\]")
_PAIR: Final = re.compile(rf"[ \t]*({_KEY})[ \t]*=")
_PART: Final = re.compile(_KEY_PART)
# What a value is made of, as far as its end matters; the longest quotes first.
_TOKEN: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'|#[^\n]*|.",
    re.DOTALL,
)


def find_lines(text: str) -> dict[str, int]:
    """Dotted key -> line, from 1. Tables of an array are numbered from 1: listener[2].kind."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    position = counted = 0
    line = 1
    while position < len(text):
        line, counted = line + text.count("\n", counted, position), position
        if header := _HEADER.match(text, position):
            table = _place(_dotted(header[2]), counts, is_array=header[1] == "[[")
            lines.setdefault(table, line)
            position = _end_of_line(text, header.end())
        elif pair := _PAIR.match(text, position):
            key = _dotted(pair[1])
            lines.setdefault(f"{table}.{key}" if table else key, line)
            position = _end_of_value(text, pair.end())
        else:
            position = _end_of_line(text, position)
    return lines


def _dotted(key: str) -> str:
    return ".".join(part.strip("\"'") for part in _PART.findall(key))


def _place(key: str, counts: dict[str, int], *, is_array: bool) -> str:
    """The table with the number of each array of tables that it stands in."""
    if is_array:
        counts[key] = counts.get(key, 0) + 1
    placed = ""
    parts = key.split(".")
    for end in range(1, len(parts) + 1):
        number = counts.get(".".join(parts[:end]))
        placed += ("." if placed else "") + parts[end - 1] + (f"[{number}]" if number else "")
    return placed


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _end_of_value(text: str, position: int) -> int:
    """Behind the line in which the value ends; brackets may take it over several lines."""
    depth = 0
    while (token := _TOKEN.match(text, position)) is not None:
        position = token.end()
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == "\n" and depth <= 0:
            break
    return position
