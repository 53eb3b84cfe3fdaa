"""/users and /aliases: who has a mailbox here, and which addresses stand for others. It holds at once."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from starlette.responses import Response

from cmail.admin.accounts import change_accounts
from cmail.admin.people import words_of
from cmail.admin.rows import rfc3339
from cmail.mail.limits import ALIAS_TARGETS_MAX
from cmail.net.control import ControlError
from cmail.observe import maillog
from cmail.storage.account_book import AccountBook, AccountError, Alias
from cmail.storage.account_list import AccountList
from cmail.web.api.operation import Call, Operation
from cmail.web.api.problems import ApiError, problem_of
from cmail.web.api.schema import LINE, fields, list_of, moment, text, told, whole

T = TypeVar("T")
Fields = dict[str, Any]
PAGE_MAX: Final = 1000
LIMIT: Final = 100
UNPROCESSABLE: Final = 422
_PASSWORD_MAX: Final = 1000
_NOT_TAKEN: Final = "It is written, but the running server did not take it over yet: {}."


async def users(call: Call) -> Fields:
    """Some of them, by domain and name."""
    query, limit, offset = _page(call)
    found = await _read(lambda: AccountList(call.context.data_dir).users(query, after=offset, limit=limit))
    shown = [{"address": each.address, "created": rfc3339(each.created_ms)} for each in found.rows]
    return {"users": shown, "count": found.count}


async def add_user(call: Call) -> Fields:
    """It can log in when this returns."""
    name, password = call.body["address"], call.body["password"]
    address = await _change(call, lambda book: book.add_user(name, password))
    maillog.noted(f"API: the user {address} was added by {call.by}")
    return {"address": address}


async def change_user(call: Call) -> Fields:
    """Another password."""
    name, password = call.path["address"], call.body["password"]
    address = await _change(call, lambda book: book.set_password(name, password))
    maillog.noted(f"API: the user {address} was given another password by {call.by}")
    return {"address": address}


async def delete_user(call: Call) -> Response:
    """The account goes; what is stored for it stays."""
    name = call.path["address"]
    address = await _delete(call, lambda book: book.delete_user(name))
    maillog.noted(f"API: the user {address} was deleted by {call.by}")
    return Response(status_code=204)


async def aliases(call: Call) -> Fields:
    """Some of them, by domain and name."""
    query, limit, offset = _page(call)
    found = await _read(lambda: AccountList(call.context.data_dir).aliases(query, after=offset, limit=limit))
    return {"aliases": [_alias(each) for each in found.rows], "count": found.count}


async def add_alias(call: Call) -> Fields:
    """It holds when this returns."""
    body = call.body
    name, targets, replaces = body["address"], body["targets"], body.get("replace", False)
    alias = await _change(call, lambda book: book.add_alias(name, targets, is_replaced=replaces))
    maillog.noted(f"API: the alias {alias.address} was set by {call.by}")
    return _alias(alias)


async def delete_alias(call: Call) -> Response:
    """It goes."""
    name = call.path["address"]
    address = await _delete(call, lambda book: book.delete_alias(name))
    maillog.noted(f"API: the alias {address} was deleted by {call.by}")
    return Response(status_code=204)


async def _read(read: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(read)
    except AccountError as error:
        raise ApiError(503, words_of(error)) from None


async def _change(call: Call, change: Callable[[AccountBook], T]) -> T:
    """First the book, then every worker has acknowledged it."""
    settings, context = call.context.desk.settings(), call.context
    domains, hostname = tuple(settings["host.domains"].saved), str(settings["host.hostname"].saved)
    try:
        return await asyncio.to_thread(change_accounts, context.data_dir, domains, hostname, change)
    except ControlError as error:
        raise ApiError(503, _NOT_TAKEN.format(error.words)) from None


async def _delete(call: Call, delete: Callable[[AccountBook], T]) -> T:
    """What cannot be an address is not there either."""
    try:
        return await _change(call, delete)
    except AccountError as error:
        found = problem_of(error, "")
        raise found if found.status != UNPROCESSABLE else ApiError(404, words_of(error)) from None


def _page(call: Call) -> tuple[str, int, int]:
    query = call.query
    return query.get("q", ""), query.get("limit", LIMIT), query.get("offset", 0)


def _alias(alias: Alias) -> Fields:
    return {"address": alias.address, "targets": list(alias.targets)}


_QUERY: Final = {
    "q": text("Part of the address.", most=320),
    "limit": {**whole("How many.", 1, PAGE_MAX), "default": LIMIT},
    "offset": {**whole("How many to pass over.", 0, 10**9), "default": 0},
}
_NAME: Final = text("A bare name gets the first domain.", least=1, most=1024, example="anna@example.org")
_PASSWORD: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": _PASSWORD_MAX,
    "pattern": LINE,
    "format": "password",
}
_CREATED: Final = fields({"address": told("As it is kept: lower case, with its domain.")})
_USERS: Final = fields(
    {"users": list_of(fields({"address": told(), "created": moment()})), "count": whole("All that fit.")}
)
_ALIAS: Final = fields({"address": told(), "targets": list_of(told())})
_EXAMPLE: Final = {"address": "sales@example.org", "targets": ["anna@example.org", "bob@example.net"]}
_NAMED: Final = {"address": "anna@example.org"}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/users",
        "read",
        "Who has an account",
        users,
        query=_QUERY,
        result=_USERS,
        result_example={
            "users": [{"address": "anna@example.org", "created": "2026-01-31T08:15:00Z"}],
            "count": 1,
        },
    ),
    Operation(
        "POST",
        "/users",
        "admin",
        "A new account",
        add_user,
        "It can log in and has a mailbox when this answers.",
        body=fields({"address": _NAME, "password": _PASSWORD}),
        example={"address": "anna@example.org", "password": "correct horse"},
        status=201,
        result=_CREATED,
        result_example=_NAMED,
        refusals={409: "There is one, or an alias of this name."},
    ),
    Operation(
        "PATCH",
        "/users/{address}",
        "admin",
        "Another password",
        change_user,
        body=fields({"password": _PASSWORD}),
        example={"password": "battery staple"},
        result=_CREATED,
        result_example=_NAMED,
    ),
    Operation(
        "DELETE",
        "/users/{address}",
        "admin",
        "The account goes",
        delete_user,
        "Mail that is stored for it stays on the disk.",
        status=204,
    ),
    Operation(
        "GET",
        "/aliases",
        "read",
        "Addresses that stand for others",
        aliases,
        query=_QUERY,
        result=fields({"aliases": list_of(_ALIAS), "count": whole("All that fit.")}),
        result_example={"aliases": [_EXAMPLE], "count": 1},
    ),
    Operation(
        "POST",
        "/aliases",
        "admin",
        "A new alias",
        add_alias,
        "@example.org is the catch-all of a domain. A user may have an alias that names the user too.",
        body=fields(
            {"address": _NAME, "targets": list_of(_NAME, least=1, most=ALIAS_TARGETS_MAX)},
            {"replace": {"type": "boolean", "description": "Instead of the one that is there."}},
        ),
        example=_EXAMPLE,
        status=201,
        result=_ALIAS,
        result_example=_EXAMPLE,
        refusals={409: "There is one, or a user of this name."},
    ),
    Operation("DELETE", "/aliases/{address}", "admin", "The alias goes", delete_alias, status=204),
)
