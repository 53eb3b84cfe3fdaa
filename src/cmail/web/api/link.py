"""/link, /links: whether the line to the Internet is there, each way to it, and saying so by hand."""

from typing import Any, Final

from cmail.admin import links as asking
from cmail.admin.rows import rfc3339
from cmail.web.api.operation import Call, Operation
from cmail.web.api.schema import fields, list_of, moment, number, one_of, text, told, whole

Fields = dict[str, Any]


async def link(call: Call) -> Fields:
    """How it is."""
    return _shown((await call.context.processes.ask("link", "link.status")).ok)


async def say(call: Call) -> Fields:
    """Up or down from now on; all workers know when this returns."""
    await asking.say(call.context.processes, call.body["state"], call.body.get("name", ""))
    call.context.overviews.forget()
    return await link(call)


async def links(call: Call) -> Fields:
    """Each of them."""
    status = await asking.status(call.context.processes)
    rows = status.get("links") or ()
    return {"is_down": bool(status.get("is_down")), "links": [_link(row) for row in rows]}


def _link(row: Fields) -> Fields:
    """With its policy; a line without a name in the settings lets all through."""
    return {
        "name": str(row.get("name", "")),
        "state": str(row.get("state", "unknown")),
        "why": str(row.get("why", "")),
        "since": rfc3339(int(row.get("since_ms") or 0)),
        "by_hand": bool(row.get("hand")),
        "is_used": bool(row.get("is_used")),
        "devices": list(row.get("devices") or ()),
        "may_carry": "" if row.get("rests") else str(row.get("policy") or "all mail"),
        "rests": str(row.get("policy") or "") if row.get("rests") else "",
        "rate": int(row.get("rate") or 0),
        "cost": float(row.get("cost") or 0),
        "largest": int(row.get("largest") or 0),
        "budget": int(row.get("budget") or 0),
        "used_today": int(row.get("used_today") or 0),
        "window_budget": int(row.get("window_budget") or 0),
        "used_in_window": int(row.get("used_in_window") or 0),
        "window": list(row.get("window") or ()),
    }


def _shown(status: Fields) -> Fields:
    return {
        "state": "down" if status.get("is_down") else "up",
        "since": rfc3339(int(status.get("changed_wall_ms") or 0)),
        "last_kick": str(status.get("last_kick") or ""),
    }


_STATE: Final = one_of("up", "down")
_RESULT: Final = fields(
    {
        "state": _STATE,
        "since": moment("When it changed; null: it was never down."),
        "last_kick": told("How the upstream server was kicked last, in words."),
    }
)
_EXAMPLE: Final = {"state": "up", "since": "2026-01-31T08:15:00Z", "last_kick": ""}

_NAME: Final = text(
    "One link, or a network device; without it all are meant.", least=1, most=64, example="lte"
)
_LINK: Final = fields(
    {
        "name": told("As in [[link.via]]; line: whatever the machine has."),
        "state": one_of("up", "down", "unknown"),
        "why": told("How that is known."),
        "since": moment("null: nobody knows."),
        "by_hand": {"type": "boolean", "description": "Somebody has said so."},
        "is_used": {"type": "boolean", "description": "Mail goes by it now."},
        "devices": list_of(told()),
        "may_carry": told("What may go by it now; empty: nothing."),
        "rests": told("Why nothing may go by it now; empty: something may."),
        "rate": whole("kbit/s; 0: fast."),
        "cost": number("Of a MiB."),
        "largest": whole("Octets of a message; 0: no limit."),
        "budget": whole("Octets a day; 0: no limit."),
        "used_today": whole("Octets, out and in."),
        "window_budget": whole("Octets in one of its windows, or in one exchange; 0: no limit."),
        "used_in_window": whole("Octets, out and in, of the window or exchange that is open."),
        "window": list_of(told()),
    }
)
_LINK_EXAMPLE: Final = {
    "name": "satellite",
    "state": "up",
    "why": "tun3 has carrier, address and route",
    "since": "2026-01-31T08:15:00Z",
    "by_hand": False,
    "is_used": True,
    "devices": ["tun3"],
    "may_carry": "mail up to 2 MiB",
    "rests": "",
    "rate": 256,
    "cost": 4.5,
    "largest": 2097152,
    "budget": 41943040,
    "used_today": 17825792,
    "window_budget": 5242880,
    "used_in_window": 1310720,
    "window": ["22:00-06:00"],
}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/links",
        "read",
        "Each way to the Internet, with what may use it now",
        links,
        "The links of `[[link.via]]`, or `line` where none is named.",
        result=fields({"is_down": {"type": "boolean"}, "links": list_of(_LINK)}),
        result_example={"is_down": False, "links": [_LINK_EXAMPLE]},
    ),
    Operation(
        "GET", "/link", "read", "Whether the line is up", link, result=_RESULT, result_example=_EXAMPLE
    ),
    Operation(
        "POST",
        "/link",
        "admin",
        "Say that the line is up, or down",
        say,
        "Up: all that waits goes at once, and the upstream server is kicked where that is set. Down: nothing"
        " is tried, and no time counts. With `name`: one link, or what a hook says of a network device.",
        body=fields({"state": _STATE}, {"name": _NAME}),
        example={"state": "up"},
        result=_RESULT,
        result_example=_EXAMPLE,
    ),
)
