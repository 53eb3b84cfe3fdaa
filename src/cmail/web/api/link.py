"""/link: whether the line to the Internet is there, and saying so by hand."""

from typing import Any, Final

from cmail.admin.rows import rfc3339
from cmail.web.api.operation import Call, Operation
from cmail.web.api.schema import fields, moment, one_of, told

Fields = dict[str, Any]


async def link(call: Call) -> Fields:
    """How it is."""
    return _shown((await call.context.processes.ask("link", "link.status")).ok)


async def say(call: Call) -> Fields:
    """Up or down from now on; all workers know when this returns."""
    await call.context.processes.ask("link", f"link.{call.body['state']}", timeout_s=30.0)
    call.context.overviews.forget()
    return await link(call)


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

OPERATIONS: Final = (
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
        " is tried, and no time counts.",
        body=fields({"state": _STATE}),
        example={"state": "up"},
        result=_RESULT,
        result_example=_EXAMPLE,
    ),
)
