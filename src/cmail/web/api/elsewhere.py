"""/kick, /collect, /sites: mail that others keep for us, and that we keep for others."""

from collections.abc import Mapping
from typing import Any, Final

from cmail.admin import links
from cmail.admin.mailboxes_elsewhere import state_words, there_words
from cmail.admin.nobodies import COLLECT, SITE
from cmail.admin.rows import rfc3339
from cmail.admin.sites import as_json
from cmail.net.control import ControlError
from cmail.web.api.operation import Call, Operation
from cmail.web.api.problems import ApiError
from cmail.web.api.schema import fields, list_of, moment, one_of, text, told, whole
from cmail.web.nobodies import saved_warnings

Fields = dict[str, Any]
_NO_SUCH: Final = 67
_STEP_TEXTS: Final = ("method", "host", "text", "state", "said", "then")
_ACCOUNT_TEXTS: Final = ("name", "protocol", "host", "username", "to", "words")


async def kicks(call: Call) -> Fields:
    """The plan, and what became of it."""
    status = await links.status(call.context.processes)
    kick: Mapping[str, Any] = status.get("kick") or {}
    return {
        "is_under_way": bool(status.get("is_kicking")),
        "ending": str(kick.get("ending") or ""),
        "ended": rfc3339(int(kick.get("ended_ms") or 0)),
        "steps": [_step(row) for row in kick.get("steps") or ()],
    }


def _step(row: Mapping[str, Any]) -> Fields:
    shown = {name: str(row.get(name) or "") for name in _STEP_TEXTS}
    return {**shown, "port": int(row.get("port") or 0), "at": rfc3339(int(row.get("at_ms") or 0))}


async def kick(call: Call) -> Fields:
    """Begin the plan."""
    await links.kick(call.context.processes)
    call.context.overviews.forget()
    return {"is_kicked": True, "collects": []}


async def collections(call: Call) -> Fields:
    """Each mailbox."""
    found = await links.accounts(call.context.processes)
    warnings = await saved_warnings(call.context, COLLECT)
    return {
        "mailboxes": [_account(row, warnings) for row in found.get("accounts") or ()],
        "trouble": str(found.get("trouble") or ""),
    }


def _account(row: Mapping[str, Any], warnings: Mapping[str, str]) -> Fields:
    return {
        **{name: str(row.get(name) or "") for name in _ACCOUNT_TEXTS},
        "keep": bool(row.get("keep")),
        "now": state_words(row),
        "is_ok": bool(row.get("is_ok")),
        "last": rfc3339(int(row.get("last_ms") or 0)),
        "fetched": int(row.get("fetched") or 0),
        "there": there_words(row),
        "warning": warnings.get(str(row.get("name")), ""),
    }


async def collect(call: Call) -> Fields:
    """Kick and collection together, or some mailboxes alone."""
    names = (call.body or {}).get("names", [])
    try:
        begun = await links.collect(call.context.processes, names)
    except ControlError as error:
        if error.code != _NO_SUCH:
            raise
        detail = [{"pointer": "/names", "detail": error.words}]
        raise ApiError(422, "There is no such mailbox.", detail) from None
    call.context.overviews.forget()
    return {"is_kicked": bool(begun.get("is_kicked")), "collects": list(begun.get("collects") or ())}


async def sites(call: Call) -> Fields:
    """Each site."""
    warnings = await saved_warnings(call.context, SITE)
    rows = await links.sites(call.context.processes)
    return {"sites": [as_json(row, warnings.get(row["name"], "")) for row in rows]}


_STEP: Final = fields(
    {
        "method": told("finger, connect, string, etrn, atrn or command."),
        "host": told(),
        "text": told(),
        "state": told(
            "How the last try ended: sent, nothing, not now, refused; answered, unanswered, stopped."
        ),
        "said": told("What was said there."),
        "then": told("What came of it."),
        "port": whole("0: the usual one."),
        "at": moment("null: not tried yet."),
    }
)
_KICKS: Final = fields(
    {
        "is_under_way": {"type": "boolean"},
        "ending": told("answered, nothing waits, unanswered, stopped; empty: there was none yet."),
        "ended": moment(),
        "steps": list_of(_STEP),
    }
)
_KICKS_EXAMPLE: Final = {
    "is_under_way": False,
    "ending": "answered",
    "ended": "2026-01-31T08:15:00Z",
    "steps": [
        {
            "method": "atrn",
            "host": "odmr.isp.example",
            "text": "",
            "state": "answered",
            "said": "ATRN odmr.isp.example:366: 250 OK",
            "then": "answered: 3 messages have come",
            "port": 366,
            "at": "2026-01-31T08:15:00Z",
        }
    ],
}
_BEGUN: Final = fields(
    {
        "is_kicked": {"type": "boolean", "description": "The plan of kicks has begun."},
        "collects": list_of(told(), words="The mailboxes that are being collected from."),
    }
)
_MAILBOX: Final = fields(
    {
        "name": told(),
        "protocol": one_of("pop3", "imap"),
        "host": told(),
        "username": told(),
        "to": told("Whose mail it is."),
        "words": told("How the last collection ended; empty: there was none yet."),
        "keep": {"type": "boolean", "description": "Messages are left there."},
        "now": told("What is done there now."),
        "is_ok": {"type": "boolean", "description": "The last collection worked."},
        "last": moment("null: there was none yet."),
        "fetched": whole("Messages since the server was started."),
        "there": told("What is there and was not fetched whole; empty: nothing."),
        "warning": told("What is wrong with its settings: nobody here has that address; empty: nothing."),
    }
)
_MAILBOX_EXAMPLE: Final = {
    "name": "anna",
    "protocol": "imap",
    "host": "imap.isp.example",
    "username": "anna4711",
    "to": "anna@example.org",
    "words": "3 fetched",
    "keep": False,
    "now": "listens for new mail",
    "is_ok": True,
    "last": "2026-01-31T08:15:00Z",
    "fetched": 3,
    "there": "",
    "warning": "",
}
_SITE: Final = fields(
    {
        "name": told(),
        "domains": list_of(told()),
        "messages": whole("That wait for it."),
        "octets": whole(),
        "held": whole("Recipients on hold."),
        "is_full": {"type": "boolean", "description": "A limit is reached: more is refused for now."},
        "is_there": {"type": "boolean"},
        "last_seen": moment("null: never."),
        "how": told("How it came then."),
        "warning": told("What is wrong with its settings: there is no such account; empty: nothing."),
    }
)
_SITE_EXAMPLE: Final = {
    "name": "ship",
    "domains": ["ship.example.org"],
    "messages": 12,
    "octets": 240000,
    "held": 0,
    "is_full": False,
    "is_there": False,
    "last_seen": "2026-01-31T08:15:00Z",
    "how": "ATRN",
    "warning": "",
}
_NAMES: Final = list_of(text(least=1, most=100, example="anna"), least=1, most=100)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/kick",
        "read",
        "The plan of kicks, and what each step was answered last",
        kicks,
        result=_KICKS,
        result_example=_KICKS_EXAMPLE,
    ),
    Operation(
        "POST",
        "/kick",
        "admin",
        "Kick now: ask who keeps mail for us to send it",
        kick,
        "It returns when that has begun; `GET /kick` says what became of it. Off line nobody can be kicked:"
        " 503.",
        result=_BEGUN,
        result_example={"is_kicked": True, "collects": []},
        status=202,
        refusals={409: "The settings name nobody to be kicked."},
    ),
    Operation(
        "GET",
        "/collect",
        "read",
        "The mailboxes elsewhere, and how the last collection ended",
        collections,
        result=fields({"mailboxes": list_of(_MAILBOX), "trouble": told("Of all of them.")}),
        result_example={"mailboxes": [_MAILBOX_EXAMPLE], "trouble": ""},
    ),
    Operation(
        "POST",
        "/collect",
        "admin",
        "Collect now: kick and collection together",
        collect,
        "With `names`: from these mailboxes alone, and nobody is kicked. It returns when that has begun;"
        " `GET /collect` says how it ended.",
        body=fields({}, {"names": _NAMES}),
        is_body_optional=True,
        example={"names": ["anna"]},
        result=_BEGUN,
        result_example={"is_kicked": True, "collects": ["anna"]},
        status=202,
        refusals={409: "The settings name nobody to be kicked, and no mailbox to collect from."},
    ),
    Operation(
        "GET",
        "/sites",
        "read",
        "What waits for servers that come and go",
        sites,
        result=fields({"sites": list_of(_SITE)}),
        result_example={"sites": [_SITE_EXAMPLE]},
    ),
)
