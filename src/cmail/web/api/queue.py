"""/queue: who waits and why, one message with all that is known of it, and what can be done to them."""

import base64
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any, Final

from starlette.responses import StreamingResponse

from cmail.admin.going import going_words
from cmail.admin.rows import Row, json_row, rfc3339, sort_key
from cmail.admin.why import explain
from cmail.mail.queue_id import parse_queue_id, print_queue_id
from cmail.net.control import ControlError
from cmail.web.api.operation import RAW, Answer, Call, Operation
from cmail.web.api.problems import ApiError
from cmail.web.api.queue_schemas import (
    ACTION,
    ACTIONS,
    BECAUSE,
    CHANGED,
    CHANGED_EXAMPLE,
    CURSOR,
    FILTER,
    LIST,
    LIST_EXAMPLE,
    MESSAGE,
    MESSAGE_EXAMPLE,
    PAGE_MAX,
    QUERY,
    UNITS_MS,
)
from cmail.web.api.schema import fields, whole

Fields = dict[str, Any]
LIMIT: Final = 100
_NO_USER: Final = 67  # what a worker says of a message that it does not have


async def listed(call: Call) -> Fields:
    """Recipients of a filter, oldest first, from a cursor on."""
    query = dict(call.query)
    limit, after = int(query.pop("limit", LIMIT)), _place(query.pop("after", ""))
    rows = await call.context.processes.rows(filter_of(query), limit, after)
    return {
        "recipients": await _recipients(call, rows),
        "next": _cursor(rows[-1]) if len(rows) == limit else None,
    }


async def shown(call: Call) -> Fields:
    """One message."""
    queue_id = _queue_id(call)
    parts = await call.context.processes.show(queue_id, has_content=False)
    envelope = next(part["envelope"] for part in parts if "envelope" in part)
    rows: list[Row] = [part["recipient"] for part in parts if "recipient" in part]
    header = b"".join(base64.b64decode(part["content"]) for part in parts if "content" in part)
    arrived = rfc3339(int(envelope["arrived_ms"]))
    return {
        **{name: envelope[name] for name in ("id", "from", "size", "origin", "envid", "ret")},
        "arrived": arrived,
        "recipients": await _recipients(call, rows),
        "header": header.decode("utf-8", "replace"),
    }


async def content(call: Call) -> Answer:
    """The message octet for octet as it is sent on, in pieces."""
    queue_id = _queue_id(call)
    found = call.context.processes.content(queue_id)
    first = await anext(found, b"")  # says 404 before there is an answer
    headers = {"content-disposition": f'attachment; filename="{queue_id}.eml"'}
    return StreamingResponse(_joined(first, found), media_type=RAW, headers=headers)


async def _joined(first: bytes, others: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(others):
        yield first
        async for piece in others:
            yield piece


async def act(call: Call) -> Fields:
    """Do it to one message: all of its recipients in the state that it can be done to."""
    queue_id, action = _queue_id(call), call.path["action"]
    if action not in ACTIONS:
        raise ApiError(404, f"There is no such action: it is one of {', '.join(ACTIONS)}.")
    done = await _change(call, action, {"ids": [queue_id]})
    if not done["recipients"]:
        await call.context.processes.show(queue_id, has_content=False)  # 404 when it is not there
        raise ApiError(409, f"No recipient of {queue_id} is in a state for that: {ACTIONS[action]}.")
    return done


async def act_on_filter(call: Call) -> Fields:
    """Do it to all that a filter means."""
    body = call.body
    if ("filter" in body) == bool(body.get("all")):
        words = 'Say either "filter" with something in it, or "all": true for everything that waits.'
        raise ApiError(422, words, [{"pointer": "/filter", "detail": 'or else "all": true'}])
    return await _change(call, body["action"], filter_of(body.get("filter", {})))


async def _change(call: Call, action: str, what: Mapping[str, Any]) -> Fields:
    because = (call.body or {}).get("because", "")
    if because and action != "bounce":
        faults = [{"pointer": "/because", "detail": "is told to senders when mail goes back to them: bounce"}]
        raise ApiError(422, "The body has errors; nothing was done.", faults)
    more = {"reason_given": because} if because else {}
    done = await call.context.processes.change(action, what, **more)
    call.context.overviews.forget()
    words = going_words(done)
    return {"recipients": done["recipients"], **({"words": words} if words else {})}


def filter_of(given: Mapping[str, Any]) -> Fields:
    """A filter as the workers take it."""
    what: Fields = {name: given[name] for name in ("ids", "from", "to", "domain", "reason") if name in given}
    if "ids" in what:
        what["ids"] = [_parsed(each) for each in what["ids"]]
    if "state" in given:
        what["states"] = [given["state"]]
    if "older_than" in given:
        what["older_than_ms"] = _milliseconds(given["older_than"])
    return what


def _milliseconds(text: str) -> int:
    """30m, 4h, 5d: checked by the schema."""
    return int(text[:-1]) * UNITS_MS[text[-1]]


def _parsed(text: str) -> str:
    try:
        return print_queue_id(parse_queue_id(text))
    except ValueError as error:
        raise ApiError(422, f"{error}.", [{"pointer": "/filter/ids", "detail": str(error)}]) from None


def _queue_id(call: Call) -> str:
    """404 also for what cannot be one."""
    try:
        return print_queue_id(parse_queue_id(call.path["id"]))
    except ValueError as error:
        raise ControlError(str(error), _NO_USER) from None


def _place(cursor: str) -> tuple[int, int]:
    """Behind which recipient to go on."""
    if not cursor:
        return 0, -1
    queue_id, _, position = cursor.partition(".")
    try:
        return parse_queue_id(queue_id), int(position)
    except ValueError:
        faults = [{"parameter": "after", "detail": "is the `next` of the page before"}]
        raise ApiError(400, "The address has parameters that cannot be used.", faults) from None


def _cursor(row: Row) -> str:
    _, position = sort_key(row)
    return f"{row['id']}.{position}"


async def _recipients(call: Call, rows: Sequence[Row]) -> list[Fields]:
    """Rows with why they wait, in words."""
    queue = (await call.context.overviews.get()).queue or {}
    is_link_down, is_batch = bool(queue.get("is_link_down")), bool(queue.get("is_batch"))
    now_ms = time.time_ns() // 1_000_000
    found = []
    for row in rows:
        why = explain(row, now_ms, is_link_down=is_link_down, is_batch=is_batch)
        found.append({**json_row(row), "position": row["position"], "why": why.why, "advice": why.advice})
    return found


_BODY: Final = fields({}, {"because": BECAUSE})

OPERATIONS: Final = (
    Operation(
        "GET",
        "/queue",
        "read",
        "Who waits, and why",
        listed,
        "A row for each recipient, oldest message first. For more, ask again with `after` = `next`.",
        query={
            **QUERY,
            "limit": {**whole("Rows of one answer.", 1, PAGE_MAX), "default": LIMIT},
            "after": CURSOR,
        },
        result=LIST,
        result_example=LIST_EXAMPLE,
    ),
    Operation(
        "POST",
        "/queue/actions",
        "admin",
        "Do something to all that a filter means",
        act_on_filter,
        'Never on everything by mistake: without a filter it must say `"all": true`.',
        body=fields({"action": ACTION}, {"filter": FILTER, "all": {"type": "boolean"}, "because": BECAUSE}),
        example={"action": "flush", "filter": {"domain": "example.net"}},
        result=CHANGED,
        result_example=CHANGED_EXAMPLE,
    ),
    Operation(
        "GET",
        "/queue/{id}",
        "read",
        "One message: its envelope, its header, its recipients and why they wait",
        shown,
        result=MESSAGE,
        result_example=MESSAGE_EXAMPLE,
    ),
    Operation(
        "GET",
        "/queue/{id}/content",
        "admin",
        "The message itself",
        content,
        "Other people's mail: it takes the scope admin.",
        result_media=RAW,
    ),
    Operation(
        "POST",
        "/queue/{id}/{action}",
        "admin",
        "Do something to one message",
        act,
        "flush: try now; hold: wait until it is released; release; bounce: back to its sender; delete: throw"
        " it away, nobody is told.",
        body=_BODY,
        is_body_optional=True,
        example={"because": "The address is not in use any more."},
        result=CHANGED,
        result_example=CHANGED_EXAMPLE,
        refusals={409: "None of its recipients is in a state for that."},
    ),
)
