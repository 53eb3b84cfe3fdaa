"""/exchanges, /plan: what went, what will go, and one exchange now: `cmail link history|plan|exchange`."""

from typing import Any, Final

from cmail.admin import links
from cmail.admin.link_words import as_json, order_words
from cmail.admin.rows import rfc3339
from cmail.web.api.operation import Call, Operation
from cmail.web.api.schema import fields, list_of, moment, number, told, whole

Fields = dict[str, Any]
_WAITING: Final = ("messages", "octets", "urgent", "admitted_messages", "admitted_octets")


async def history(call: Call) -> Fields:
    """The newest first."""
    return {"exchanges": [as_json(entry) for entry in await links.history(call.context.processes)]}


async def begin(call: Call) -> Fields:
    """One now; or what goes on is done once more."""
    answer = await links.exchange(call.context.processes)
    call.context.overviews.forget()
    return {"is_new": bool(answer.get("is_new")), "begin": rfc3339(int(answer.get("begin_ms") or 0))}


async def plan(call: Call) -> Fields:
    """When, what, in which order, how long."""
    found = await links.plan(call.context.processes)
    waiting = found.get("waiting") or {}
    return {
        "is_planned": bool(found.get("is_planned")),
        "is_open": bool(found.get("is_open")),
        "is_down": bool(found.get("is_down")),
        "next": rfc3339(int(found.get("next_ms") or 0)),
        "next_why": str(found.get("next_why") or ""),
        "rules": list(found.get("rules") or ()),
        "rate": int(found.get("rate") or 0),
        "takes_s": found.get("takes_s"),
        "left": found.get("left"),
        "waiting": {name: int(waiting.get(name) or 0) for name in _WAITING},
        "messages": [_message(row) for row in found.get("listed") or ()],
    }


def _message(row: Fields) -> Fields:
    return {
        "id": str(row.get("id", "")),
        "from": str(row.get("from", "")),
        "to": [str(each) for each in row.get("to") or ()],
        "size": int(row.get("size") or 0),
        "priority": int(row.get("priority") or 0),
        "order": order_words(row),
        "takes_s": row.get("takes_s"),
    }


_SECONDS: Final = {
    "type": ["number", "null"],
    "description": "At the rate of the link; null: it has none in the settings.",
}
_LEFT: Final = {
    "type": ["integer", "null"],
    "minimum": 0,
    "description": "Octets that may go by the link before its budgets are used; null: no limit.",
}
_ENTRY: Final = fields(
    {
        "begin": moment(),
        "end": moment("null: it goes on."),
        "why": told("Why it began."),
        "link": told("By which link; line: whatever the machine has."),
        "ended": told("Why it ended."),
        "messages_out": whole(),
        "octets_out": whole(),
        "messages_in": whole(),
        "octets_in": whole(),
        "cost": number("By the prices in the settings."),
        "kicks": list_of(told(), words="How the kicks in it ended."),
        "collections": list_of(told(), words="How the collections in it ended."),
    }
)
_ENTRY_EXAMPLE: Final = {
    "begin": "2026-01-31T08:00:00Z",
    "end": "2026-01-31T08:01:10Z",
    "why": "its time has come: at 08:00",
    "link": "satellite",
    "ended": "all that may go has gone",
    "messages_out": 12,
    "octets_out": 240000,
    "messages_in": 3,
    "octets_in": 18000,
    "cost": 1.11,
    "kicks": ["kick: answered (atrn odmr.isp.example)"],
    "collections": ["collect: anna: 3 fetched"],
}
_MESSAGE: Final = fields(
    {
        "id": told("Its queue id."),
        "from": told("Reverse-path; empty: the null one."),
        "to": list_of(told(), words="The first of its recipients."),
        "size": whole("Octets."),
        "priority": whole("Above 0: urgent."),
        "order": told("Why it has its place."),
        "takes_s": _SECONDS,
    }
)
_MESSAGE_EXAMPLE: Final = {
    "id": "1Q3F8ZK2M0T40",
    "from": "anna@example.org",
    "to": ["bob@example.net"],
    "size": 4711,
    "priority": 0,
    "order": "small (up to 64 KiB)",
    "takes_s": 0.1,
}
_WAITS: Final = fields(
    {
        "messages": whole("For the Internet."),
        "octets": whole(),
        "urgent": whole("Of these messages."),
        "admitted_messages": whole("That the links which are up may carry; off line: that any could."),
        "admitted_octets": whole(),
    }
)
_PLAN: Final = fields(
    {
        "is_planned": {"type": "boolean", "description": "Whether mail waits for exchanges ([exchange])."},
        "is_open": {"type": "boolean", "description": "Whether one goes on."},
        "is_down": {"type": "boolean", "description": "Whether we are off line."},
        "next": moment("null: none is planned by time."),
        "next_why": told(),
        "rules": list_of(told(), words="What else begins one."),
        "rate": whole("Of the link by which mail goes, kbit/s; 0: fast, or nobody said."),
        "takes_s": _SECONDS,
        "left": _LEFT,
        "waiting": _WAITS,
        "messages": list_of(_MESSAGE, words="The first twenty, in the order of sending."),
    }
)
_PLAN_EXAMPLE: Final = {
    "is_planned": True,
    "is_open": False,
    "is_down": False,
    "next": "2026-01-31T09:00:00Z",
    "next_why": "every 1 hour",
    "rules": ["at once for urgent mail"],
    "rate": 256,
    "takes_s": 1,
    "left": 5242880,
    "waiting": {
        "messages": 1,
        "octets": 4711,
        "urgent": 0,
        "admitted_messages": 1,
        "admitted_octets": 4711,
    },
    "messages": [_MESSAGE_EXAMPLE],
}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/exchanges",
        "read",
        "The last fifty exchanges",
        history,
        "The newest first; the one that goes on has no end. Where none are planned, each time that the link"
        " was up is one.",
        result=fields({"exchanges": list_of(_ENTRY)}),
        result_example={"exchanges": [_ENTRY_EXAMPLE]},
    ),
    Operation(
        "POST",
        "/exchanges",
        "admin",
        "An exchange now",
        begin,
        "What waits for the Internet goes; what waits elsewhere for us is kicked and collected. When one goes"
        " on already (`is_new` is false) it does that once more. Off line there is none: 503.",
        result=fields({"is_new": {"type": "boolean"}, "begin": moment()}),
        result_example={"is_new": True, "begin": "2026-01-31T08:15:00Z"},
        status=202,
    ),
    Operation(
        "GET",
        "/plan",
        "read",
        "When the next exchange is and what will go",
        plan,
        "What waits for the Internet, in the order of sending, and how long each and all of it takes.",
        result=_PLAN,
        result_example=_PLAN_EXAMPLE,
    ),
)
