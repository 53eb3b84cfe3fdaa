"""Mail Queue Administration: what waits and why; send now, hold, release, return, delete; one message."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin.going import going_words
from cmail.admin.overview import Overview
from cmail.mail.queue_id import parse_queue_id, print_queue_id
from cmail.net.control import ControlError
from cmail.web import message_view
from cmail.web.filters import plural
from cmail.web.log_rows import LogRow, rows_of
from cmail.web.page import Pages, go_to, read_form, text_of
from cmail.web.queue_view import STATES, Wanted, find, read_wanted, selection, shown

BECAUSE_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Action:
    """A button over the list."""

    name: str  # of the change that admin.processes knows
    button: str
    question: str  # on the page that asks; {many} is "3 recipients"; "": nobody is asked
    done: str
    nothing: str  # when nothing of it was in the right state
    warning: str = ""
    when_kept: str = ""  # in place of `done`, where admin.going has more to say


ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action(
            "flush",
            "Send now",
            "",
            "{many} tried now.",
            "Nothing of it could be tried: what is on hold has to be released first.",
            when_kept="{many} due now.",
        ),
        Action("hold", "Hold", "", "{many} on hold, until released.", "Nothing of it waits any more."),
        Action(
            "release",
            "Release",
            "",
            "{many} released, and tried now.",
            "Nothing of it was on hold.",
            when_kept="{many} released.",
        ),
        Action(
            "bounce",
            "Return to sender",
            "Return {many} to the sender?",
            "{many} returned: the senders are told that it was not delivered.",
            "Nothing of it waits any more.",
            "Each sender gets a report. It cannot be taken back.",
        ),
        Action(
            "delete",
            "Delete",
            "Delete {many}?",
            "{many} deleted.",
            "Nothing of it waits any more.",
            "It is thrown away and nobody is told. It cannot be taken back.",
        ),
    )
}


def routes(pages: Pages) -> list[Route]:
    """/queue, its rows for who watches, what the buttons do, and a message."""
    context = pages.context
    processes = context.processes

    async def values(request: Request) -> dict[str, Any]:
        """What the list is made of."""
        wanted = read_wanted(request.query_params)
        after = request.query_params.get("after", "")
        overview = await context.overviews.get()
        if wanted.error:
            return _list(wanted, overview, [], "", 0, wanted.error)
        try:
            (rows, following), count = await asyncio.gather(
                find(processes, overview, wanted, after=after), count_of(wanted, overview)
            )
        except ValueError:
            raise HTTPException(404) from None
        return _list(wanted, overview, rows, following, count, after=after)

    async def count_of(wanted: Wanted, overview: Overview) -> int:
        """All pages together; what is known already is not asked for."""
        return await processes.count(wanted.filter()) if wanted else overview.waiting

    async def queue(request: Request) -> Response:
        return await pages.show(
            request, "queue.html", title="Mail Queue Administration", **await values(request)
        )

    async def rows(request: Request) -> Response:
        return await pages.show_part(request, "queue_rows.html", **await values(request))

    async def act(request: Request) -> Response:
        form = await read_form(request)
        back = _back(text_of(form, "back"))
        action = ACTIONS.get(text_of(form, "do"))
        wanted = read_wanted(form)
        if action is None or wanted.error:
            return go_to(request, back, wanted.error or "That cannot be done here.", "failed")
        is_all = text_of(form, "all") == "1"
        picks = form.getlist("pick")
        try:
            what = wanted.filter() if is_all else selection(picks)
        except ValueError:
            return go_to(request, back, "Nothing is ticked. Tick what you mean, or “all”.", "failed")
        try:
            if action.question and not text_of(form, "sure"):
                count = await processes.count(what)
                return await ask(request, action, count, what=wanted, picks=picks, is_all=is_all, back=back)
            return await do(request, action, what, form, back)
        except ControlError as error:
            return go_to(request, back, f"That did not work: {error.words}.", "failed")

    async def ask(request: Request, action: Action, count: int, **more: Any) -> Response:
        if not count:
            return go_to(request, more["back"], action.nothing, "note")
        many = plural(count, "recipient", "recipients")
        title = action.question.format(many=many)
        return await pages.show(request, "queue_sure.html", title=title, action=action, many=many, **more)

    async def do(
        request: Request, action: Action, what: Mapping[str, Any], form: FormData, back: str
    ) -> Response:
        because = {"reason_given": text_of(form, "because")[:BECAUSE_MAX]} if action.name == "bounce" else {}
        done = await processes.change(action.name, what, **because)
        context.overviews.forget()
        if not done["recipients"]:
            return go_to(request, back, action.nothing, "note")
        many = plural(done["recipients"], "recipient is", "recipients are")
        said = going_words(done)
        words = (action.when_kept if said else "") or action.done
        return go_to(request, back, " ".join([words.format(many=many), *said]))

    async def message(request: Request) -> Response:
        queue_id = request.path_params["queue_id"]
        try:
            parts = await processes.show(queue_id, has_content=False, octets_max=message_view.HEADER_MAX)
        except ControlError as error:
            return await gone(request, queue_id, error)
        overview = await context.overviews.get()
        found = message_view.read(parts)
        recipients = [shown(row, overview) for row in found.recipients]
        waiting = [each for each in recipients if each.row["state"] in ("queued", "held")]
        return await pages.show(
            request,
            "message.html",
            title=found.subject or f"Message {found.id}",
            message=found,
            recipients=recipients,
            waiting=waiting,
            actions=_possible(waiting),
        )

    async def content(request: Request) -> Response:
        queue_id = request.path_params["queue_id"]
        try:
            parts = await processes.show(queue_id, has_content=True, octets_max=message_view.CONTENT_MAX)
        except ControlError as error:
            return await gone(request, queue_id, error)
        found = message_view.read(parts)
        return await pages.show(
            request,
            "message_content.html",
            title=f"Content of {found.id}",
            message=found,
            shown_max=message_view.CONTENT_MAX,
        )

    async def log(request: Request) -> Response:
        queue_id = request.path_params["queue_id"]
        return await pages.show(
            request,
            "message_log.html",
            title=f"What happened to {queue_id}",
            queue_id=queue_id,
            events=await log_of(request),
        )

    async def live_log(request: Request) -> Response:
        return await pages.show_part(request, "events.html", events=await log_of(request))

    async def log_of(request: Request) -> Sequence[LogRow]:
        """Each attempt and all else that the journal has of it; it may have to look through days."""
        try:
            queue_id = print_queue_id(parse_queue_id(request.path_params["queue_id"]))
        except ValueError:
            raise HTTPException(404) from None
        return rows_of(await context.journal.attempts(queue_id))

    async def gone(request: Request, queue_id: str, error: ControlError) -> Response:
        if error.code not in (64, 67):
            raise error
        words = f"{queue_id} is not in the queue: it was delivered, returned or deleted. The log says which."
        return await pages.show(
            request,
            "message_gone.html",
            status=404,
            title="Not in the queue any more",
            words=words,
            log=f"/queue/{queue_id}/log" if error.code == 67 else "",
        )

    return [
        Route("/queue", queue, methods=["GET"]),
        Route("/live/queue", rows, methods=["GET"]),
        Route("/queue/do", act, methods=["POST"]),
        Route("/queue/{queue_id}", message, methods=["GET"]),
        Route("/queue/{queue_id}/content", content, methods=["GET"]),
        Route("/queue/{queue_id}/log", log, methods=["GET"]),
        Route("/live/queue/{queue_id}/log", live_log, methods=["GET"]),
    ]


def _list(
    wanted: Wanted,
    overview: Overview,
    rows: Sequence[Any],
    following: str,
    count: int,
    error: str = "",
    after: str = "",
) -> dict[str, Any]:
    return {
        "wanted": wanted,
        "rows": rows,
        "next_query": wanted.query(after=following) if following else "",
        "count": count,
        "error": error,
        "after": after,
        "states": STATES,
        "actions": list(ACTIONS.values()),
        "back": "/queue" + (f"?{wanted.query(after=after)}" if wanted or after else ""),
    }


def _possible(waiting: Sequence[Any]) -> list[Action]:
    """What can be done with these."""
    states = {each.row["state"] for each in waiting}
    now_ms = time.time_ns() // 1_000_000
    is_held = "held" in states or any(each.row.get("hold_until_ms", 0) > now_ms for each in waiting)
    left_out = set() if is_held else {"release"}
    if "queued" not in states:
        left_out |= {"flush", "hold"}
    return [action for action in ACTIONS.values() if waiting and action.name not in left_out]


def _back(target: str) -> str:
    """The page that the form was on; never another host."""
    is_ours = target == "/" or target.startswith(("/queue?", "/queue/")) or target == "/queue"
    return target if is_ours and target.isprintable() and target.isascii() else "/queue"
