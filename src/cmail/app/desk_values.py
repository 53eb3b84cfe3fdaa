"""Values of settings as a file has them: by dotted key, as they are shown, and what kind each is."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING
from datetime import timedelta
from typing import Any, Final, Literal, get_args, get_origin

from cmail.app.catalog import (
    Setting,
    Table,
    describe_type,
    element_of,
    plain_type,
    print_duration,
    print_size,
)
from cmail.app.toml_edit import ABSENT
from cmail.settings import ByteSize, SettingError
from cmail.web.desk import DraftError, Problem, SettingView

Raw = Any  # a value as TOML has it, or ABSENT
_NONE: Final = {"absent": True}  # ABSENT in JSON


def all_settings(table: Table) -> Iterator[tuple[str, Setting | Table]]:
    """Every setting by its key; an array of tables is one."""
    for setting in table.settings.values():
        yield setting.key, setting
    for inner in table.tables.values():
        if inner.is_array:
            yield inner.key, inner
        else:
            yield from all_settings(inner)


def raw_of(text: str) -> dict[str, Raw]:
    """The values of a file by their dotted keys."""
    found: dict[str, Raw] = {}

    def walk(where: str, table: Mapping[str, Any]) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                walk(f"{where}{name}.", value)
            else:
                found[where + name] = value

    try:
        walk("", tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DraftError([Problem("settings file", f"this is not TOML: {error}")]) from None
    return found


def default_of(setting: Setting | Table) -> Raw:
    """As the file would have it; None where the file has to say it."""
    if isinstance(setting, Table):
        return []
    return None if setting.default is MISSING else _raw_value(setting.type, setting.default)


def _raw_value(type_: Any, value: Any) -> Raw:
    """A value of a settings dataclass as it stands in the file."""
    if isinstance(value, timedelta):
        return print_duration(value)
    if plain_type(type_) is ByteSize:
        return print_size(value)
    if isinstance(value, tuple):
        return [_raw_value(element_of(type_), element) for element in value]
    return value


def kind_of(setting: Setting | Table) -> tuple[str, Sequence[str], str, str]:
    """kind, choices, unit and the kind of the elements, as SettingView has them."""
    if isinstance(setting, Table):
        return "tables", (), "", ""
    return _kind_of_type(setting.type)


def _kind_of_type(type_: Any) -> tuple[str, Sequence[str], str, str]:
    type_ = plain_type(type_)
    element = element_of(type_)
    if element is not None:
        return "list", (), "one a line", _kind_of_type(element)[0]
    if get_origin(type_) is Literal:
        return "choice", get_args(type_), "", ""
    kinds = {bool: "switch", int: "number", float: "decimal", timedelta: "duration", ByteSize: "size"}
    kind = kinds.get(type_, "text")
    return kind, (), describe_type(type_) if kind in ("duration", "size") else "", ""


def columns_of(table: Table) -> list[SettingView]:
    """What a row of an array of tables may have."""
    found = []
    for setting in table.settings.values():
        default = default_of(setting)
        kind, choices, unit, element = kind_of(setting)
        found.append(
            SettingView(
                setting.key,
                default,
                default,
                default,
                kind,
                choices,
                unit,
                setting.sentence,
                is_in_file=False,
                is_changed=False,
                is_at_restart=False,
                is_file_only=setting.name in ("password_file", "command"),
                element_kind=element,
            )
        )
    return found


def is_about(key: str, values: Mapping[str, Raw]) -> bool:
    """Whether a problem is about one of these values."""
    return any(key == each or key.startswith((f"{each}.", f"{each}[")) for each in values)


def names_new_path(value: Raw, before: Raw) -> bool:
    """Whether a value, or one within it, is a Unix socket that the one of before did not name."""
    known = set(_texts(before))
    return any(text.startswith("unix:") and text not in known for text in _texts(value))


def _texts(value: Raw) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | Mapping):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def is_tables(value: Raw) -> bool:
    """Whether it can be an array of tables, or none (the default)."""
    if value is None or value is ABSENT:
        return True
    return isinstance(value, list) and all(
        isinstance(each, Mapping) and not _has_null(each) for each in value
    )


def is_plain(value: Raw) -> bool:
    """Whether it can be a value, or a list of values."""
    if isinstance(value, list):
        return not any(isinstance(each, list | Mapping) or each is None for each in value)
    return not isinstance(value, Mapping)


def _has_null(value: Raw) -> bool:
    """TOML has no null."""
    if isinstance(value, list | Mapping):
        return any(map(_has_null, value.values() if isinstance(value, Mapping) else value))
    return value is None


def problems_of(error: SettingError) -> list[Problem]:
    """What a check said, for the page."""
    return [Problem(each.key, each.reason, each.example) for each in error.problems]


def print_raw(value: Raw) -> str:
    """As it stands in the file; "" for none."""
    if value is ABSENT or value is None:
        return ""
    if isinstance(value, list):
        return "[" + ", ".join(print_raw(each) for each in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {print_raw(each)}" for name, each in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def print_change(old: Raw, new: Raw) -> tuple[str, str]:
    """Both as they stand in the file; of arrays of tables the rows alone that are not in the other."""
    if _has_rows(old) or _has_rows(new):
        before, after = (value if isinstance(value, list) else [] for value in (old, new))
        gone, come = [row for row in before if row not in after], [row for row in after if row not in before]
        if gone or come:
            return ", ".join(map(print_raw, gone)), ", ".join(map(print_raw, come))
    return print_raw(old), print_raw(new)


def _has_rows(value: Raw) -> bool:
    return isinstance(value, list) and any(isinstance(each, Mapping) for each in value)


def pack(value: Raw) -> Any:
    """For JSON."""
    return _NONE if value is ABSENT else value


def unpack(value: Any) -> Raw:
    """From JSON."""
    return ABSENT if value == _NONE else value
