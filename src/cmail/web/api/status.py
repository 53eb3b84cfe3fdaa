"""/status: what runs, what waits, how mail leaves, what needs attention: `cmail status --json`."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from cmail.admin.overview import Attention
from cmail.net.control import ControlError
from cmail.web.api.operation import Call, Operation
from cmail.web.api.schema import fields, list_of, told, whole
from cmail.web.desk import DraftError

Fields = dict[str, Any]
_KEYS: Final = ("delivery", "host", "port")  # of [smtp]


async def status(call: Call) -> Fields:
    """Everything that the processes say; who does not answer is named in `silent`."""
    context = call.context
    overview, supervisor, workers = await asyncio.gather(
        context.overviews.get(), _try(_ask_supervisor(call)), _ask_workers(call)
    )
    silent = [f"{name} ({words})" for name, words in overview.silent.items()]
    told: Fields = {
        **(supervisor or {}),
        "running": True,
        "delivery": _delivery(call),
        "sessions": overview.sessions,
        "troubles": _troubles(workers),
        "attention": [_shown(each) for each in overview.attention],
    }
    for name, found in (("link", overview.link), ("queue", overview.queue)):
        if found is None:
            silent.append(name)
        else:
            told[name] = found
    return {**told, "silent": silent if supervisor is not None else ["supervisor", *silent]}


async def _ask_supervisor(call: Call) -> Fields:
    return (await call.context.processes.ask("supervisor", "status")).ok


async def _ask_workers(call: Call) -> list[Fields]:
    try:
        return [answer.ok for answer in (await call.context.processes.ask_workers("status")).answers]
    except ControlError:
        return []


def _troubles(workers: list[Fields]) -> list[Fields]:
    return [
        {"process": f"worker-{worker.get('number', 0)}", "words": words}
        for worker in workers
        for words in worker.get("troubles", ())
    ]


def _delivery(call: Call) -> Fields:
    """The way out, as the file says it; nothing while that cannot be read, which is in `attention` then."""
    try:
        settings = call.context.desk.settings()
    except DraftError:
        return {"delivery": "", "host": "", "port": 0}
    return {name: settings[f"smtp.{name}"].saved for name in _KEYS}


def _shown(each: Attention) -> Mapping[str, str]:
    return {"words": each.words, "advice": each.advice, "path": each.path}


async def _try(asked: Awaitable[Fields]) -> Fields | None:
    try:
        return await asked
    except ControlError:
        return None


_TROUBLE: Final = fields({"process": told(), "words": told()})
_ATTENTION: Final = fields(
    {"words": told("What is wrong."), "advice": told("What to do."), "path": told("The page for it.")}
)
_RESULT: Final = {
    "type": "object",
    "required": ["running", "delivery", "sessions", "troubles", "attention", "silent"],
    "properties": {
        "running": {"type": "boolean"},
        "version": told(),
        "pid": whole(),
        "started_ms": whole("Milliseconds since 1970."),
        "delivery": fields({"delivery": told("smarthost or mx"), "host": told(), "port": whole()}),
        "sessions": whole("SMTP sessions that are open."),
        "link": {"type": "object", "description": "The line to the Internet; see GET /link."},
        "queue": {"type": "object", "description": "Counts: messages, recipients by state, oldest_ms."},
        "troubles": list_of(_TROUBLE, words="What is wrong with our own disk or files now."),
        "attention": list_of(_ATTENTION, words="What a person should see to."),
        "silent": list_of(told(), words="Who did not answer."),
    },
}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/status",
        "read",
        "What runs, what waits, what needs attention",
        status,
        "The same as `cmail status --json`, and `attention`. It answers also when parts of the server do not:"
        " they are named in `silent`.",
        result=_RESULT,
    ),
)
