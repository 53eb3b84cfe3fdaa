"""Changes an array of tables ([[collect]]) in the text of a settings file: rows come, go, change and move.

A row is a piece of the text: the comment right above its header, the header, its values. It goes as a whole;
everything else stays as it was, octet for octet."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tomlkit

_HEADER: Final = re.compile(r"\s*\[(\[?)([^\[\]#]+)\]\]?\s*(?:#.*)?\Z")
_NAMES: Final = ("name", "domain", "address")  # what people tell rows apart by


@dataclass
class _Piece:
    """A part of the file; of one that is a row of the array, what is in it."""

    text: str
    row: dict[str, Any] | None = None
    tail: str = ""  # of a row: empty lines and comments behind it, which stay where they are


def set_rows(text: str, key: str, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The text with these rows of the array `key` (dotted). None: its rows are not written as [[key]]
    tables, or the text is such that this cannot be told."""
    pieces = _cut(text, key)
    if pieces is None:
        return None
    old = [piece for piece in pieces if piece.row is not None]
    new = _renewed(old, [dict(row) for row in rows], key)
    after = _put(pieces, new)
    return after if _is_as_meant(text, after, key, rows) else None


def _cut(text: str, key: str) -> list[_Piece] | None:
    """The pieces, of which those with a row are the rows; None: that is not how they are written."""
    lines = text.splitlines(keepends=True)
    heads = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    begins = [*(_with_comment(lines, number) for number in heads), len(lines)]
    pieces = [_Piece("".join(lines[: begins[0]]))]
    for head, begin, end in zip(heads, begins, begins[1:], strict=False):
        if _key_of(lines[head]) != key:
            pieces.append(_Piece("".join(lines[begin:end])))
            continue
        last = _last_of_row(lines, head, end)
        piece = _Piece("".join(lines[begin:last]), tail="".join(lines[last:end]))
        try:
            piece.row = _inner(tomllib.loads(piece.text), key)[0]
        except (tomllib.TOMLDecodeError, KeyError, IndexError, TypeError):
            return None
        pieces.append(piece)
    return pieces


def _last_of_row(lines: Sequence[str], head: int, end: int) -> int:
    """Behind its last value, and what stands right below that."""
    values = [n for n in range(head, end) if lines[n].strip() and not lines[n].lstrip().startswith("#")]
    last = values[-1] + 1
    while last < end and lines[last].strip():
        last += 1
    return last


def _with_comment(lines: Sequence[str], head: int) -> int:
    """Where the comment begins that stands right above a header."""
    begin = head
    while begin and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    return begin


def _key_of(line: str) -> str:
    """The dotted key of the header of a row; "" of any other header."""
    found = _HEADER.match(line)
    if not found or not found[1]:
        return ""
    return ".".join(part.strip().strip("\"'") for part in found[2].split("."))


def _inner(document: Mapping[str, Any], key: str) -> Any:
    found: Any = document
    for part in key.split("."):
        found = found[part]
    return found


def _renewed(old: Sequence[_Piece], rows: Sequence[dict[str, Any]], key: str) -> list[_Piece]:
    """A piece for each row: the one that says the same, else the one of the same name, else one that nobody
    else is like, else a new one."""
    left = list(old)
    found: list[_Piece | None] = [None] * len(rows)
    for is_alike in (_is_same, _has_same_name, lambda *_: True):
        for place, row in enumerate(rows):
            alike = [piece for piece in left if found[place] is None and is_alike(piece.row, row)]
            if alike:
                left.remove(alike[0])
                found[place] = alike[0]
    return [_changed(piece, row, key) for piece, row in zip(found, rows, strict=True)]


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other)


def _has_same_name(one: Any, other: Any) -> bool:
    return any(name in one and one[name] == other.get(name) for name in _NAMES)


def _changed(piece: _Piece | None, row: dict[str, Any], key: str) -> _Piece:
    if piece is None:
        return _Piece(f"[[{key}]]\n{_print(row)}", row)
    if piece.row == row:
        return piece
    return _Piece(_edited(piece.text, row, key), row)


def _print(values: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {tomlkit.item(value).as_string()}\n" for name, value in values.items())


def _edited(text: str, row: Mapping[str, Any], key: str) -> str:
    """A row with other values; a new one stands behind the last."""
    document = tomlkit.parse(text)
    table: Any = _inner(document, key)[0]
    new = {name: value for name, value in row.items() if name not in table}
    for name in list(table):
        if name not in row:
            table.remove(name)
        elif table[name] != row[name]:
            table[name] = row[name]
    return tomlkit.dumps(document).rstrip("\n") + "\n" + _print(new)


def _put(pieces: Sequence[_Piece], rows: Sequence[_Piece]) -> str:
    """The rows at the places of the old ones, in their order; what is more, behind the last of them."""
    count = sum(piece.row is not None for piece in pieces)
    places, more = iter(rows[:count]), rows[count:]
    text, seen = "", 0
    for piece in pieces:
        if piece.row is None:
            text += piece.text
            continue
        seen += 1
        row = next(places, None)
        text += _ended(row.text) if row else ""
        if seen == count:
            text += "".join("\n" + each.text for each in more)
        if row:
            text += piece.tail
        elif piece.tail.strip():
            text += piece.tail.lstrip("\n") if text.endswith("\n\n") else piece.tail
    if len(rows) < count and pieces[-1].row is not None and not pieces[-1].tail.strip() and text.strip():
        text = text.rstrip("\n") + "\n"  # the end of the file went
    if not count and more:
        text = text.rstrip("\n") + "\n\n" * bool(text.strip()) + "\n".join(each.text for each in more)
    return text


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _is_as_meant(before: str, after: str, key: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the text says what it said before, but for these rows."""
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        return False
    *path, name = key.split(".")
    for document in (old, new):
        table: Any = document
        for part in path:
            table = table.setdefault(part, {})
        found = table.pop(name, [])
        if document is new and found != [dict(row) for row in rows]:
            return False
    return _without_empty(old) == _without_empty(new)


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """[[link.via]] alone makes [link] too."""
    inner = {
        name: _without_empty(value) if isinstance(value, dict) else value for name, value in table.items()
    }
    return {name: value for name, value in inner.items() if value != {}}
