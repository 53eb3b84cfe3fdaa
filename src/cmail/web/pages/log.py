"""Log: what happened, as sentences; by kind, by address or queue id, of older days, live, to take away."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cmail.admin.events import KINDS, USUAL
from cmail.admin.journal import ALL, Batch, Day, TooManyError
from cmail.admin.journal_scan import Wanted, is_day
from cmail.web.filters import size
from cmail.web.log_rows import rows_of
from cmail.web.page import Pages

ROWS: Final = 100
TEXT_MAX: Final = 200
STREAM_S: Final = 300.0  # then the browser comes again, and has to be logged in
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]")


def routes(pages: Pages) -> list[Route]:
    """/log, a day of it as text, and what happens now."""
    journal = pages.context.journal

    async def log(request: Request) -> Response:
        wanted, before = wanted_of(request), request.query_params.get("before", "")
        place, days = await journal.place(), await journal.days()
        found = await journal.find(wanted, ROWS, before)
        query = _query(wanted)
        is_newest = not before and wanted.day in ("", _today())
        return await pages.show(
            request,
            "log.html",
            title="Log",
            rows=rows_of(found.events),
            found=found,
            wanted=wanted,
            kinds=[(kind, words) for kind, (words, _) in KINDS.items()],
            days=[(each.day, _day_words(each)) for each in days],
            shown_day=wanted.day or (days[0].day if days else ""),
            is_newest=is_newest,
            here=_path("/log", query),
            further=_path("/log", [*query, ("before", found.further)]) if found.further else "",
            live=_path("/live/log", [*query, ("after", place)]) if is_newest else "",
        )

    async def download(request: Request) -> Response:
        day = request.query_params.get("day", "")
        try:
            octets = await asyncio.to_thread(journal.download, day)
        except KeyError:
            raise HTTPException(404, "That day is not kept.") from None
        name = _UNSAFE.sub("-", f"cmail-{pages.context.hostname()}-{day}.log")
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(octets, headers=headers, media_type="text/plain; charset=utf-8")

    async def live(request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after", "")
        batches = journal.stream(wanted_of(request), after)
        try:
            first = await anext(batches)
        except (TooManyError, StopAsyncIteration):
            return PlainTextResponse("Too many look at the log at once.\n", 503)
        return StreamingResponse(
            _server_sent(pages, first, batches),
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
            media_type="text/event-stream",
        )

    return [
        Route("/log", log, methods=["GET"]),
        Route("/log/download", download, methods=["GET"]),
        Route("/live/log", live, methods=["GET"]),
    ]


def wanted_of(request: Request) -> Wanted:
    """What the query asks for. Nothing chosen: all that people are interested in, and all of a message that
    is searched for."""
    given = request.query_params
    text = "".join(c for c in given.get("q", "").strip()[:TEXT_MAX] if c.isprintable())
    kinds = frozenset(given.getlist("kind")) & ALL
    day = given.get("day", "")
    return Wanted(text, kinds or (ALL if text else USUAL), day if is_day(day) else "")


def _query(wanted: Wanted) -> list[tuple[str, str]]:
    usual = ALL if wanted.text else USUAL
    kinds = [("kind", kind) for kind in KINDS if kind in wanted.kinds] if wanted.kinds != usual else []
    return [(name, value) for name, value in (("q", wanted.text), ("day", wanted.day)) if value] + kinds


def _path(path: str, query: list[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _today() -> str:
    return time.strftime("%Y-%m-%d")


def _day_words(day: Day) -> str:
    """Today, Yesterday, Fri 20 November; and how much there is of it."""
    that, today = date.fromisoformat(day.day), date.fromisoformat(_today())
    if that == today:
        words = "Today"
    elif that == today - timedelta(days=1):
        words = "Yesterday"
    else:
        words = that.strftime("%a %-d %B" if that.year == today.year else "%a %-d %B %Y")
    return f"{words} ({size(day.size)})"


async def _server_sent(pages: Pages, first: Batch, batches: AsyncIterator[Batch]) -> AsyncIterator[str]:
    """Batches as Server-Sent Events: the rows as they stand in the page, newest first."""
    until = time.monotonic() + STREAM_S
    yield "retry: 2000\n\n" + _event(pages, first)
    async with aclosing(batches):  # type: ignore[type-var]  # it is a generator
        async for batch in batches:
            yield _event(pages, batch)
            if time.monotonic() > until:
                return


def _event(pages: Pages, batch: Batch) -> str:
    """The id is where to go on from when the browser comes again. Without rows it is but a sign of life."""
    rows = pages.text("log_rows.html", rows=rows_of(reversed(batch.events))) if batch.events else ""
    data = "".join(f"data: {line}\n" for line in rows.splitlines() if line.strip())
    cut = "event: cut\ndata: 1\n\n" if batch.is_cut else ""
    return f"{cut}id: {batch.after}\nevent: rows\n{data}\n"
