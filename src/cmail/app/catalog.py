"""The catalog of settings: every key of cmail.toml with type, default and sentence, read from the types."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from cmail.settings import ByteSize

# Tables that the design names and that no code here obeys yet: refused, never ignored in silence.
NOT_YET: Final[dict[str, str]] = {}
LISTENERS_NOT_YET: Final = frozenset({"pop3", "pop3s", "imap", "imaps"})

_UNITS_S: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_UNITS_SIZE: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a table."""

    key: str  # dotted: "smtp.advanced.timeout", "listener.kind"
    name: str  # its last part
    type: Any
    default: Any  # MISSING where the file has to say it
    sentence: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the file: the settings in it, and its sub-tables."""

    key: str  # "" is the file itself
    type: Any
    is_array: bool  # [[listener]]
    sentence: str
    settings: dict[str, Setting]
    tables: dict[str, "Table"]

    def walk(self) -> Iterator["Table"]:
        """The table and all below it, in the order of the types."""
        yield self
        for table in self.tables.values():
            yield from table.walk()


@cache
def read_catalog(root: Any) -> Table:
    """The catalog of a settings dataclass, e.g. app.settings.Settings."""
    return _table("", root, False)


def _table(key: str, type_: Any, is_array: bool) -> Table:
    settings: dict[str, Setting] = {}
    tables: dict[str, Table] = {}
    hints = get_type_hints(type_, include_extras=True)
    for field in fields(type_):
        plain, sentence = _annotation(hints[field.name])
        dotted = f"{key}.{field.name}" if key else field.name
        element = element_of(plain)
        if dotted in NOT_YET:
            continue
        if is_dataclass(plain):
            tables[field.name] = _table(dotted, plain, False)
        elif element is not None and is_dataclass(element):
            tables[field.name] = _table(dotted, element, True)
        else:
            settings[field.name] = Setting(dotted, field.name, plain, _default(field), sentence)
    return Table(key, type_, is_array, _sentence(type_), settings, tables)


def _annotation(hint: Any) -> tuple[Any, str]:
    if get_origin(hint) is Annotated:
        plain, *notes = get_args(hint)
        return plain, next((note for note in notes if isinstance(note, str)), "")
    return hint, ""


def _default(field: "Field[Any]") -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _sentence(type_: Any) -> str:
    """What the docstring of a settings class says behind its [table]."""
    return (type_.__doc__ or "").strip().partition("]")[2].strip("] .:").strip()


def element_of(type_: Any) -> Any:
    """X of tuple[X, ...]; None for every other type."""
    arguments = get_args(type_)
    is_list = get_origin(type_) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis
    return arguments[0] if is_list else None


def plain_type(type_: Any) -> Any:
    """X of X | None; every other type itself."""
    if get_origin(type_) in (Union, UnionType):
        return next(kind for kind in get_args(type_) if kind is not NoneType)
    return type_


def print_value(value: Any) -> str:
    """A value as it stands in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return f'"{print_duration(value)}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(print_value(element) for element in value) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)


def print_setting_value(setting: Setting, value: Any) -> str:
    """A value of this setting as it stands in the file (a size needs to be told from a number)."""
    return f'"{print_size(value)}"' if setting.type is ByteSize else print_value(value)


def print_duration(value: timedelta) -> str:
    """30s, 5m, 4h, 5d: the largest unit that says it without a rest."""
    seconds = value.total_seconds()
    for unit_s, letter in _UNITS_S:
        if seconds and seconds % unit_s == 0:
            return f"{seconds // unit_s:.0f}{letter}"
    return f"{seconds:g}s"


def print_size(size_bytes: int) -> str:
    """50MiB, 64KiB, 1000."""
    for unit, name in _UNITS_SIZE:
        if size_bytes and size_bytes % unit == 0:
            return f"{size_bytes // unit}{name}"
    return str(size_bytes)


def describe_type(type_: Any) -> str:
    """The type in words, for the manual and for whoever wrote another."""
    type_ = plain_type(type_)
    element = element_of(type_)
    if element is not None:
        return f"a list of: {describe_type(element)}"
    if get_origin(type_) is Literal:
        return " | ".join(f'"{value}"' for value in get_args(type_))
    return _WORDS.get(type_, "a value")


_WORDS: Final[dict[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    timedelta: 'a duration like "30s", "5m", "4h", "5d"',
    ByteSize: 'a size like "50MiB", "64KiB" or 1000 (octets)',
}
