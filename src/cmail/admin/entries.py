"""Between the spool's entries and filters and the rows and fields of the control socket."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cmail.admin.rows import Row
from cmail.mail.queue_id import QueueId, parse_queue_id, print_queue_id
from cmail.storage.spool import QueueEntry, QueueFilter, RecipientState

ShowDue = Callable[[str, int], int]  # route, due on its clock -> wall milliseconds; 0: nobody knows
NUMBER_MAX: Final = 2**62  # a number that is reckoned with must not run over in the spool
STATES: Final = {state.name.lower(): state for state in RecipientState}


def row_of(entry: QueueEntry, show_due: ShowDue) -> Row:
    """One recipient as it goes through the control socket. Times in wall milliseconds, 0: none."""
    is_queued = entry.state == RecipientState.QUEUED
    return {
        "id": print_queue_id(entry.queue_id),
        "position": entry.position,
        "from": entry.reverse_path,
        "to": entry.forward_path,
        "size": entry.size_bytes,
        "state": entry.state.name.lower(),
        "attempts": entry.attempts,
        "next_ms": show_due(entry.route, entry.due_ms) if is_queued else 0,
        "reason": entry.reason,
        "arrived_ms": entry.arrived_wall_ms,
        "kind": int(entry.kind),
        "route": entry.route,
        "origin": entry.origin,
        "kept": "",
        "hold_until_ms": entry.hold_until_ms,
        "sent_for_ms": None,  # how long it is being sent already; None: it waits
    }


def filter_of(fields: Mapping[str, Any]) -> QueueFilter:
    """A filter as it comes through the control socket; ValueError says what is wrong with it."""
    unknown = set(fields) - {"ids", "recipients", "to", "from", "domain", "older_than_ms", "reason", "states"}
    if unknown:  # a filter that is not understood must not mean "everything"
        raise ValueError(f"no such filter: {', '.join(sorted(unknown))}")
    return QueueFilter(
        ids=tuple(parse_queue_id(text) for text in _texts(fields, "ids")),
        to=_text(fields.get("to", "")),
        from_=_text(fields.get("from", "")),
        domain=_text(fields.get("domain", "")).lower(),
        older_than_ms=number_of(fields.get("older_than_ms", 0)),
        reason=_text(fields.get("reason", "")),
        states=tuple(_state(name) for name in _texts(fields, "states")),
        recipients=_recipients(fields.get("recipients")),
    )


def _recipients(value: object) -> tuple[tuple[QueueId, int], ...]:
    """[["ID", position], ...]; an empty list, which would mean everything, is a mistake of the asker."""
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise ValueError("recipients is no list of an id and a position each")
    found = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"{pair!r:.40} is not an id and a position")
        found.append((parse_queue_id(_text(pair[0])), number_of(pair[1])))
    return tuple(found)


def number_of(value: object, least: int = 0) -> int:
    """A whole number of a question; ValueError."""
    if type(value) is not int or not least <= value <= NUMBER_MAX:
        raise ValueError(f"{value!r:.40} is not a number that can be meant here")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is not text")
    value.encode()  # a lone surrogate is none either
    return value


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    values = fields.get(name, [])
    if not isinstance(values, list):
        raise ValueError(f"{name} is not a list")
    return [_text(value) for value in values]


def _state(name: str) -> RecipientState:
    if name not in STATES:
        raise ValueError(f"no such state: {name!r:.40}")
    return STATES[name]
