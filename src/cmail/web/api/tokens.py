"""/tokens: who may use the API."""

import asyncio
from typing import Any, Final

from starlette.responses import Response

from cmail.admin.keys import NAME_MAX, SCOPES, Token
from cmail.admin.rows import rfc3339
from cmail.observe import maillog
from cmail.web.api.operation import Call, Operation
from cmail.web.api.schema import fields, list_of, moment, one_of, text, told

Fields = dict[str, Any]


async def tokens(call: Call) -> Fields:
    """Their names; nobody can tell their texts."""
    return {"tokens": [_shown(each) for each in await asyncio.to_thread(call.context.keys.tokens)]}


async def add(call: Call) -> Fields:
    """A new one."""
    name, scope = call.body["name"], call.body.get("scope", "read")
    token = await asyncio.to_thread(call.context.keys.add_token, name, scope)
    maillog.noted(f"API: the token {name} ({scope}) was made by {call.by}")
    return {"name": name, "scope": scope, "token": token}


async def delete(call: Call) -> Response:
    """It works no more."""
    name = call.path["name"]
    await asyncio.to_thread(call.context.keys.delete_token, name)
    maillog.noted(f"API: the token {name} was deleted by {call.by}")
    return Response(status_code=204)


def _shown(token: Token) -> Fields:
    return {"name": token.name, "scope": token.scope, "made": rfc3339(token.made_wall_ms)}


_NAME: Final = text("What it is for.", least=1, most=NAME_MAX, example="backup script")
_SCOPE: Final = one_of(*SCOPES, words="read: look; send: inject mail; admin: everything.")

OPERATIONS: Final = (
    Operation(
        "GET",
        "/tokens",
        "admin",
        "The tokens",
        tokens,
        result=fields(
            {"tokens": list_of(fields({"name": told(), "scope": _SCOPE, "made": moment()}))},
        ),
        result_example={"tokens": [{"name": "shop", "scope": "send", "made": "2026-01-31T08:15:00Z"}]},
    ),
    Operation(
        "POST",
        "/tokens",
        "admin",
        "A new token",
        add,
        "Its text is told only here.",
        body=fields({"name": _NAME}, {"scope": {**_SCOPE, "default": "read"}}),
        example={"name": "shop", "scope": "send"},
        status=201,
        result=fields({"name": told(), "scope": _SCOPE, "token": told("Send it as Authorization: Bearer.")}),
        result_example={"name": "shop", "scope": "send", "token": "cmail_…"},
        refusals={409: "There is a token of this name."},
    ),
    Operation("DELETE", "/tokens/{name}", "admin", "A token works no more", delete, status=204),
)
