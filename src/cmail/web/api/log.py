"""/log: what happened, as events with a sentence each; and what happens now, as Server-Sent Events."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from starlette.responses import StreamingResponse

from cmail.admin.events import KINDS, USUAL
from cmail.admin.journal import ALL, LIMIT_MAX, Batch, TooManyError, as_object
from cmail.admin.journal_scan import Wanted, is_day
from cmail.web.api.operation import Answer, Call, Operation
from cmail.web.api.problems import ApiError
from cmail.web.api.schema import fields, list_of, moment, one_of, text, told, whole

Fields = dict[str, Any]
LIMIT: Final = 100
STREAM_S: Final = 300.0  # then the client comes again, and its token is looked at again
EVENT_STREAM: Final = "text/event-stream"


async def log(call: Call) -> Fields:
    """The newest that is wanted."""
    limit, before = call.query.get("limit", LIMIT), call.query.get("before", "")
    found = await call.context.journal.find(_wanted(call), limit, before)
    return {
        "events": [as_object(event) for event in found.events],
        "next": found.further or None,
        "is_cut": found.is_cut,
    }


async def stream(call: Call) -> Answer:
    """What happens from now on."""
    after = call.request.headers.get("last-event-id", "")[:100]
    batches = call.context.journal.stream(_wanted(call), after)
    try:
        first = await anext(batches)
    except (TooManyError, StopAsyncIteration):
        raise ApiError(503, "Too many look at the log at once.") from None
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_server_sent(first, batches), headers=headers, media_type=EVENT_STREAM)


async def _server_sent(first: Batch, batches: AsyncIterator[Batch]) -> AsyncIterator[str]:
    until = time.monotonic() + STREAM_S
    async with aclosing(batches):  # type: ignore[type-var]  # it is a generator
        yield "retry: 2000\n\n" + _sent(first)
        async for batch in batches:
            yield _sent(batch)
            if time.monotonic() > until:
                return


def _sent(batch: Batch) -> str:
    """An event each; the id, where to go on from, behind the last. Without any it is a sign of life."""
    cut = "event: cut\ndata: {}\n\n" if batch.is_cut else ""
    events = "".join(f"event: log\ndata: {json.dumps(as_object(each))}\n\n" for each in batch.events)
    return f"{cut}{events}id: {batch.after}\nevent: place\ndata: {{}}\n\n"


def _wanted(call: Call) -> Wanted:
    words, day = call.query.get("q", ""), call.query.get("day", "")
    if day and not is_day(day):
        faults = [{"parameter": "day", "detail": "is no day such as 2026-01-31"}]
        raise ApiError(400, "The address has parameters that cannot be used.", faults)
    kinds = frozenset(call.query.get("kind", ()))
    return Wanted(words, kinds or (ALL if words else USUAL), day)


_EVENT: Final = fields(
    {
        "time": moment(),
        "kind": one_of(*KINDS),
        "event": told("As the log names it."),
        "process": told(),
        "id": {"type": ["string", "null"], "description": "The queue id of the message."},
        "sentence": told("In plain words."),
        "fields": {"type": "object"},
        "line": told("As it stands in the log."),
        "place": told("Where it stands there: good for `before`."),
    }
)
_EVENT_EXAMPLE: Final[Fields] = {
    "time": "2026-01-31T08:15:00Z",
    "kind": "link",
    "event": "noted",
    "process": "link",
    "id": None,
    "sentence": "The link is up.",
    "fields": {},
    "line": "2026-01-31T08:15:00.000+00:00 mail cmail/link[17]: the link is up",
    "place": "4711.0",
}
_KIND: Final = list_of(one_of(*KINDS), words="Once for each; none: all that people are interested in.")
_Q: Final = text("An address, a queue id, words: all of them.", most=200, example="anna@example.org")

OPERATIONS: Final = (
    Operation(
        "GET",
        "/log",
        "read",
        "What happened, the newest first",
        log,
        "For what is older, ask again with `before` = `next`. `is_cut`: so much was looked at that it is for"
        " you to say whether to go on.",
        query={
            "q": _Q,
            "kind": _KIND,
            "day": text("This one alone.", most=10, example="2026-01-31"),
            "limit": {**whole("How many.", 1, LIMIT_MAX), "default": LIMIT},
            "before": text("The `next` of the answer before.", most=100),
        },
        result=fields(
            {
                "events": list_of(_EVENT),
                "next": {"type": ["string", "null"]},
                "is_cut": {"type": "boolean"},
            }
        ),
        result_example={"events": [_EVENT_EXAMPLE], "next": None, "is_cut": False},
    ),
    Operation(
        "GET",
        "/log/stream",
        "read",
        "What happens now, as Server-Sent Events",
        stream,
        "`event: log` has an event of GET /log as its data; `event: place` has the id from which"
        " Last-Event-ID goes on, and comes at least every 15 s; `event: cut` says that there was more than"
        " could be sent.",
        query={"q": _Q, "kind": _KIND},
        result_media=EVENT_STREAM,
        is_endless=True,
    ),
)
