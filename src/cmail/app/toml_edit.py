"""Changes values in the text of a settings file; comments, order and everything else stay as they were."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import tomlkit
from tomlkit.container import Container, OutOfOrderTableProxy
from tomlkit.items import AoT, InlineTable, Table

from cmail.app.toml_tables import set_rows

ABSENT: Final = object()  # as a new value: the key goes, and with it the default comes back

_Tables = Container | Table | InlineTable | OutOfOrderTableProxy


def edit(text: str, values: Mapping[str, Any]) -> str:
    """The text with these values (dotted key -> as in TOML, or ABSENT). A new key goes to the end of its
    own table, a new table to the end of the file. ValueError: the text is not TOML."""
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as error:
        raise ValueError(str(error)) from None
    new_tables: dict[str, dict[str, Any]] = {}
    arrays: dict[str, Sequence[Mapping[str, Any]]] = {}
    for key, value in values.items():
        where, _, name = key.rpartition(".")
        table = _find(document, where)
        has_rows = table is not None and _is_rows(_plain(table.get(name)))
        if _is_rows(value) or (has_rows and (value is ABSENT or value == [])):
            arrays[key] = () if value is ABSENT else value
        elif table is not None:
            _set(table, name, value)
        elif value is not ABSENT:
            new_tables.setdefault(where, {})[name] = value
    text = _with_new_tables(tomlkit.dumps(document), new_tables)
    for key, rows in arrays.items():
        text = _with_rows(text, key, rows)
    return text


def _is_rows(value: Any) -> bool:
    """Whether it is an array of tables, with some in it."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _plain(item: Any) -> Any:
    return item.unwrap() if hasattr(item, "unwrap") else item


def _with_rows(text: str, key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """With these rows, as [[key]] each, or as one value where they are written so."""
    done = set_rows(text, key, rows)
    if done is not None:
        return done
    document = tomlkit.parse(text)
    where, _, name = key.rpartition(".")
    table = _find(document, where)
    if table is None:
        raise ValueError(f"{key} cannot be changed in this file: write it as [[{key}]]")
    array = tomlkit.array().multiline(len(rows) > 1)
    for row in rows:
        inline = tomlkit.inline_table()
        inline.update(row)
        array.append(inline)
    table[name] = array
    return tomlkit.dumps(document)


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


def _with_new_tables(text: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    for where, values in tables.items():
        lines = [f"{name} = {tomlkit.item(value).as_string()}" for name, value in values.items()]
        text = text.rstrip("\n") + "\n\n" * bool(text.strip())
        text += (f"[{where}]\n" if where else "") + "\n".join(lines) + "\n"
    return text
