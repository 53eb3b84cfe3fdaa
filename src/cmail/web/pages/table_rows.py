"""Rows of an array of tables as a form shows them, and as they come back."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.datastructures import FormData

from cmail.web.desk import Problem, SettingView
from cmail.web.forms import Choice, Field, fields_of, in_control, read_fields
from cmail.web.pages.table_kinds import PASSWORD, PROGRAM, TableKind

Row = Mapping[str, Any]


def whole(row: Row, view: SettingView) -> dict[str, Any]:
    """A row with the defaults of what it does not say."""
    defaults = {name_of(each): "" if each.default is None else each.default for each in view.columns}
    return {**defaults, **row}


def name_of(column: SettingView) -> str:
    """collect.name: name."""
    return column.key.rpartition(".")[2]


def mark_of(row: Row) -> str:
    """By which a row is known again, when somebody else has changed the list meanwhile."""
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).hexdigest()[:16]


def rows_of(view: SettingView) -> list[dict[str, Any]]:
    """The rows as they are drafted. TypeError, in words: the file has something else there."""
    known = {name_of(each) for each in view.columns}
    rows = view.value if isinstance(view.value, list) else [view.value]
    if not all(isinstance(row, Mapping) and set(row) <= known for row in rows):
        raise TypeError(f"What cmail.toml says of {view.key} cannot be read. See Save Settings.")
    return [dict(row) for row in rows]


def sentence_of(kind: TableKind, view: SettingView, row: Row) -> str:
    """What a row says; somebody may have written nonsense into the file."""
    try:
        return kind.sentence(whole(row, view))
    except (TypeError, ValueError, KeyError, IndexError):
        return "What cmail.toml says of it is wrong."


def is_of_file(row: Row) -> bool:
    """It runs a program: it can be changed in the file only."""
    return bool(row.get(PROGRAM))


def row_fields(
    kind: TableKind, view: SettingView, row: Row, problems: Sequence[Problem] = (), given: Row | None = None
) -> dict[str, Field]:
    """A control for each column of the page. `given`: what was typed and refused."""
    shown = whole(row, view)
    columns = {each.key: replace(each, value=shown[name_of(each)]) for each in view.columns}
    keys = [f"{kind.key}.{name}" for name in kind.columns]
    typed = {f"{kind.key}.{name}": value for name, value in (given or {}).items()}
    found = {field.key.rpartition(".")[2]: field for field in fields_of(columns, keys, problems, typed)}
    return {name: _for_page(kind, name, field) for name, field in found.items()}


def _for_page(kind: TableKind, name: str, field: Field) -> Field:
    """Without Reset (the default stands beside it) and without what is the file's alone."""
    choices: list[Choice] = [each for each in field.choices if each.value != PROGRAM]
    return replace(field, is_resettable=False, sentence=kind.help.get(name, field.sentence), choices=choices)


def read_row(
    form: FormData | Mapping[str, Any], kind: TableKind, view: SettingView, before: Row
) -> dict[str, Any]:
    """What a posted form makes of a row. What is at its default is not written down, unless it was."""
    columns = {each.key: each for each in view.columns}
    keys = [f"{kind.key}.{name}" for name in kind.columns if name != PASSWORD]
    row = dict(before)
    for key, value in read_fields(form, columns, keys).items():
        column, name = columns[key], key.rpartition(".")[2]
        is_default = column.default is not None and in_control(value) == in_control(column.default)
        is_missing = column.default is None and value in ("", [])
        if is_missing or (is_default and name not in before):
            row.pop(name, None)
        else:
            row[name] = value
    order = [name_of(each) for each in view.columns]
    return {name: row[name] for name in sorted(row, key=order.index)}


def problems_of_row(
    kind: TableKind, number: int, problems: Iterable[Problem]
) -> tuple[list[Problem], list[Problem]]:
    """Those of a row, by its columns; and all others."""
    place = f"{kind.key}[{number}]."
    mine, others = [], []
    for each in problems:
        name = each.key.removeprefix(place).partition("[")[0]
        if each.key.startswith(place) and name in kind.columns:
            right = "" if name == PASSWORD else each.example
            mine.append(Problem(f"{kind.key}.{name}", each.reason, right))
        else:
            others.append(each)
    return mine, others
