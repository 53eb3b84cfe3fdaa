"""Changes values in the text of a settings file; comments, order and everything else stay as they were."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import tomlkit
from tomlkit.container import Container, OutOfOrderTableProxy
from tomlkit.items import AoT, Table

ABSENT: Final = object()  # as a new value: the key goes, and with it the default comes back

_Tables = Container | Table | OutOfOrderTableProxy


def edit(text: str, values: Mapping[str, Any]) -> str:
    """The text with these values (dotted key -> as in TOML, or ABSENT). A new key goes to the end of its
    own table, a new table to the end of the file. ValueError: the text is not TOML."""
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as error:
        raise ValueError(str(error)) from None
    new_tables: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        where, _, name = key.rpartition(".")
        table = _find(document, where)
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            _set_tables(document, key, value)
        elif value == [] and isinstance(document.get(key), AoT):
            document.remove(key)
        elif table is not None:
            _set(table, name, value)
        elif value is not ABSENT:
            new_tables.setdefault(where, {})[name] = value
    return _with_new_tables(tomlkit.dumps(document), new_tables)


def _find(document: Container, where: str) -> Any:
    """The table of this dotted name; None when the file has none."""
    found: Any = document
    for part in where.split(".") if where else ():
        if not isinstance(found, _Tables) or part not in found:
            return None
        found = found[part]
    return found if isinstance(found, _Tables) else None


def _set(table: Any, name: str, value: Any) -> None:
    if value is ABSENT:
        if name in table:
            table.remove(name)
    elif name in table:
        table[name] = value
    else:
        _append(table, name, value)


def _append(table: Any, name: str, value: Any) -> None:
    """Behind the last value of the table, in front of comments that belong to what follows."""
    container = table.value if isinstance(table, Table) else table
    last = None
    if isinstance(container, Container):
        for key, item in container.body:
            if key is not None and not isinstance(item, Table | AoT):
                last = key
    if last is None or not isinstance(container, Container):
        table[name] = value
    else:
        item = tomlkit.item(value)
        container._insert_after(last, tomlkit.key([name]) if "." in name else name, item)
        if isinstance(table, Table):  # the view that dict methods use
            dict.__setitem__(table, name, item.value if hasattr(item, "value") else item)


def _set_tables(document: Container, key: str, elements: Sequence[Mapping[str, Any]]) -> None:
    """An array of tables: those that stay keep their comments."""
    found = document.get(key)
    if not isinstance(found, AoT):
        found = tomlkit.aot()
        document[key] = found
    new = [dict(element) for element in elements]
    changed = []  # of the old ones: those that no new one is like
    for number, old in enumerate(found):
        if old.unwrap() in new:
            new.remove(old.unwrap())
        else:
            changed.append(number)
    for number, element in zip(changed, new, strict=False):
        _update(found[number], element)
    for number in reversed(changed[len(new) :]):
        del found[number]
    for element in new[len(changed) :]:
        found.append(tomlkit.table())
        _update(found[-1], element)


def _update(table: Any, element: Mapping[str, Any]) -> None:
    for name in [name for name in table if name not in element]:
        table.remove(name)
    for name, value in element.items():
        if table.get(name) != value:
            table[name] = value


def _with_new_tables(text: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    for where, values in tables.items():
        lines = [f"{name} = {tomlkit.item(value).as_string()}" for name, value in values.items()]
        text = text.rstrip("\n") + "\n\n" * bool(text.strip())
        text += (f"[{where}]\n" if where else "") + "\n".join(lines) + "\n"
    return text
