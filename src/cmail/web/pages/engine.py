"""Engine Monitor: the processes, their figures and limits, live; and what the chart draws."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from cmail.admin.engine import EngineMonitor
from cmail.admin.own_certificate import OwnCertificate, own_certificate
from cmail.net.control import ControlError
from cmail.observe.metrics import Snapshot
from cmail.web.page import Pages, go_to

APPLY_S = 60.0


def routes(pages: Pages) -> list[Route]:
    """/engine, its live part, its button, /live/history and /live/today."""
    context = pages.context
    monitor = EngineMonitor(context.processes, context.data_dir)

    async def figures() -> Snapshot:
        try:
            return await context.figures()
        except ControlError:
            return {}

    def certificate() -> OwnCertificate:
        named = str(context.desk.settings()["tls.certificate_file"].saved or "")
        return own_certificate(context.data_dir, named)

    async def seen() -> dict[str, Any]:
        engine, numbers = await asyncio.gather(monitor.look(), figures())
        totals = {name: sum(each.values()) for name, each in numbers.items()}
        return {
            "engine": engine,
            "totals": totals,
            "commits": _commits(totals),
            "history": context.history,
            "certificate": await asyncio.to_thread(certificate),
        }

    async def index(request: Request) -> Response:
        if context.history:
            await context.history.refresh()
        return await pages.show(request, "engine.html", title="Engine Monitor", **await seen())

    async def live(request: Request) -> Response:
        return await pages.show_part(request, "engine_part.html", **await seen())

    async def reload(request: Request) -> Response:
        try:
            told = await context.processes.ask("supervisor", "reload", timeout_s=APPLY_S)
        except ControlError as error:
            return go_to(request, "/engine", f"The settings of before go on: {error.words}", "failed")
        context.overviews.forget()
        number = told.ok.get("number", "")
        return go_to(
            request, "/engine", f"The settings were read anew (number {number}); nobody was cut off."
        )

    async def history(request: Request) -> Response:
        if context.history is None:
            return JSONResponse({}, 404)
        await context.history.refresh()
        return JSONResponse(context.history.chart())

    async def today(request: Request) -> Response:
        if context.history is None:
            return PlainTextResponse("", 404)
        await context.history.refresh()
        return await pages.show_part(request, "today.html", today=context.history.today())

    return [
        Route("/engine", index, methods=["GET"]),
        Route("/engine/reload", reload, methods=["POST"]),
        Route("/live/engine", live, methods=["GET"]),
        Route("/live/history", history, methods=["GET"]),
        Route("/live/today", today, methods=["GET"]),
    ]


def _commits(totals: dict[str, int]) -> dict[str, float]:
    """How the spool fares: commits, messages and changes that share one, what one takes."""
    commits = totals.get("cmail_spool_commits_total", 0)
    return {
        "count": commits,
        "shared": totals.get("cmail_spool_changes_total", 0) / commits if commits else 0,
        "ms": totals.get("cmail_spool_sync_microseconds_total", 0) / commits / 1000 if commits else 0,
        "failed": totals.get("cmail_spool_failures_total", 0),
    }
