"""QueueFilter -> SQL: fixed terms, values bound (rule 16: no SQL out of people's words)."""

import json
from typing import Any, Final

import apsw

from cmail.storage.spool import QueueFilter

FROM_FILTER: Final = "FROM recipient r JOIN message m ON m.id = r.message_id"
_THESE: Final = (
    "(r.message_id, r.position) IN"
    " (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))"
)


def filter_terms(what: QueueFilter, wall_ms: int) -> tuple[str, list[Any]]:
    """The WHERE terms of a filter on recipient r and message m, and their values in order."""
    terms: list[str] = ["1"]
    values: list[Any] = []

    def add(term: str, value: Any) -> None:
        terms.append(term)
        values.append(value)

    if what.ids:
        add("r.message_id IN (SELECT value FROM json_each(?))", json.dumps(what.ids))
    if what.recipients:
        add(_THESE, json.dumps(what.recipients))
    if what.domain:
        ending = "@" + what.domain.lower()
        add("substr(r.forward_path, -length(?)) = ?", ending)
        values.append(ending)
    if what.from_ == "<>":
        terms.append("m.reverse_path = ''")
    elif what.from_:
        add(_has("m.reverse_path", what.from_), _pattern(what.from_))
    if what.to:
        add(_has("r.forward_path", what.to), _pattern(what.to))
    if what.reason:
        add(_has("r.reason", what.reason), _pattern(what.reason))
    if what.older_than_ms:
        add("m.arrived_wall_ms <= ?", wall_ms - what.older_than_ms)
    if what.states:
        states = json.dumps([int(state) for state in what.states])
        add("r.state IN (SELECT value FROM json_each(?))", states)
    return " AND ".join(terms), values


def _has(column: str, part: str) -> str:
    """LIKE knows the two cases of ASCII alone; for others a function that knows all."""
    if part.isascii():
        return f"{column} LIKE ? ESCAPE '\\'"
    return f"has_folded({column}, ?)"


def _pattern(part: str) -> str:
    if not part.isascii():
        return part.casefold()
    escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def add_functions(connection: apsw.Connection) -> None:
    """What the terms call."""
    connection.create_scalar_function("has_folded", _has_folded, 2, deterministic=True)


def _has_folded(*arguments: Any) -> bool:
    text, part = arguments
    return str(part) in str(text).casefold()
