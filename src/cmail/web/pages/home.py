"""Home: what must be seen on one page."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.net.control import ControlError
from cmail.web.attention import watch
from cmail.web.desk import DraftError, SettingView
from cmail.web.link_view import exchange_of, kick_of
from cmail.web.log_rows import rows_of
from cmail.web.page import Pages
from cmail.web.pages.queue import ACTIONS
from cmail.web.queue_view import Wanted, find

ROWS: Final = 10  # of the queue
EVENTS: Final = 20  # of the log
_TLS: Final = {
    "none": "not encrypted",
    "opportunistic": "encrypted when that server can",
    "required": "encrypted (STARTTLS)",
    "implicit": "encrypted (TLS)",
}


def routes(pages: Pages) -> list[Route]:
    """/, its parts for who watches, and the status line of every page. Buttons of the line: pages.link."""
    context = pages.context
    watch(context.overviews, context.desk)

    async def values() -> dict[str, Any]:
        """The part of the queue."""
        overview = await context.overviews.get()
        try:
            rows, _ = await find(context.processes, overview, Wanted(), ROWS)
        except ControlError:
            rows = []  # the workers do not answer: that is said among what needs attention
        return {"rows": rows, "wanted": None, "actions": list(ACTIONS.values())}

    def out() -> tuple[str, ...]:
        """The part of the way out."""
        try:
            return way_out(context.desk.settings())
        except DraftError:
            return ("As before: the settings file cannot be read just now.",)

    async def fresh() -> None:
        """Today's figures as they are now."""
        if context.history:
            await context.history.refresh()

    async def line_values() -> dict[str, Any]:
        """The part of the line."""
        link = (await context.overviews.get()).link
        has_elsewhere = bool(kick_of(link).steps or (link or {}).get("collects"))
        return {"exchange": exchange_of(link), "has_elsewhere": has_elsewhere}

    async def home(request: Request) -> Response:
        events, queue, _ = await asyncio.gather(context.journal.events(EVENTS), values(), fresh())
        return await pages.show(
            request,
            "home.html",
            title="Home",
            way_out=out(),
            history=context.history,
            events=rows_of(events),
            rows_max=ROWS,
            **queue,
            **await line_values(),
        )

    async def rows(request: Request) -> Response:
        return await pages.show_part(request, "queue_rows.html", **await values())

    async def glance(request: Request) -> Response:
        values = {"way_out": out(), **await line_values()}
        return await pages.show_part(request, "home_glance.html", **values)

    async def happened(request: Request) -> Response:
        events = rows_of(await context.journal.events(EVENTS))
        return await pages.show_part(request, "events.html", events=events)

    async def line(request: Request) -> Response:
        return await pages.show_part(request, "line.html")

    return [
        Route("/", home, methods=["GET"]),
        Route("/live/home", glance, methods=["GET"]),
        Route("/live/home/queue", rows, methods=["GET"]),
        Route("/live/home/events", happened, methods=["GET"]),
        Route("/live/line", line, methods=["GET"]),
    ]


def way_out(settings: Mapping[str, SettingView]) -> tuple[str, ...]:
    """Where mail goes out, in sentences; as it is saved."""

    def saved(key: str) -> Any:
        return settings[f"smtp.{key}"].saved

    host = saved("host")
    if saved("delivery") == "mx":
        words = "Straight to the mail server of each recipient's domain (MX resolution)."
        is_second = host and saved("advanced.fallback_to_host")
        return (words, f"When none of them answers: through {host}.") if is_second else (words,)
    if not host:
        return ("Nowhere: no upstream server is named, so mail for the Internet waits.",)
    who = saved("username")
    log_in = f"We log in there as {who}." if who else "We do not log in there."
    return (f"Through {host}, port {saved('port')}, {_TLS[saved('tls')]}.", log_in)
