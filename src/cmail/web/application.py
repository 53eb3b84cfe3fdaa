"""The web application: pages, live parts, API and static files put together, behind the door."""

import asyncio
import importlib
from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from cmail.net.control import ControlError
from cmail.observe import maillog
from cmail.web import static_files
from cmail.web.attention import unusable
from cmail.web.context import WebContext
from cmail.web.desk import DraftError
from cmail.web.door import Door
from cmail.web.exposition import CONTENT_TYPE, expose
from cmail.web.page import Pages

FIGURES_S: Final = 5.0  # a process that does not answer must not hang the page

# A module of cmail.web each, with `routes(pages) -> list[Route]`.
PAGES: Final = (
    "pages.login",
    "pages.access",
    "pages.home",
    "pages.queue",
    "pages.link",
    "pages.log",
    "pages.smtp",
    "pages.advanced",
    "pages.host",
    "pages.tables",
    "pages.users",
    "pages.engine",
    "pages.quarantine",
    "pages.checks",
    "pages.setup",
    "pages.save",
)
API: Final = ("api.v1",)
_MODULES: Final = [importlib.import_module(f"cmail.web.{name}") for name in (*PAGES, *API)]


def application(context: WebContext) -> ASGIApp:
    """Everything, without the door (who may come in: web/door.py)."""
    pages = Pages(context)
    return Starlette(routes=_routes(pages), exception_handlers=_handlers(pages))


def guarded(context: WebContext) -> ASGIApp:
    """Everything, behind the door."""
    return Door(application(context), context.keys, context.sessions, context.hosts, context.hostname)


def _routes(pages: Pages) -> Sequence[BaseRoute]:
    found: list[BaseRoute] = [*static_files.routes(), *_machine_routes(pages.context)]
    for module in _MODULES:
        found += module.routes(pages)
    return found


def _machine_routes(context: WebContext) -> list[Route]:
    """For programs: is it well, and the figures."""

    async def health(_: Request) -> Response:
        try:
            async with asyncio.timeout(FIGURES_S):
                found = (await context.overviews.get()).troubles
        except TimeoutError:
            found = []
        if found:
            return PlainTextResponse("".join(f"{words}\n" for words in found), 503)
        return PlainTextResponse("ok\n")

    async def metrics(_: Request) -> Response:
        try:
            async with asyncio.timeout(FIGURES_S):
                figures = await context.figures()
        except (ControlError, TimeoutError):
            return PlainTextResponse("the workers did not answer\n", 503)
        text = expose(figures, context.version, context.started_wall_ms / 1000)
        return Response(text, media_type=CONTENT_TYPE)

    return [Route("/health", health, methods=["GET"]), Route("/metrics", metrics, methods=["GET"])]


def _handlers(pages: Pages):  # type: ignore[no-untyped-def]  # starlette's own type says less
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = {404: "There is no such page.", 405: "That cannot be done here."}
        said = words.get(error.status_code, error.detail)
        return await pages.show(request, "trouble.html", status=error.status_code, title="Sorry", words=said)

    async def silent(request: Request, error: Exception) -> Response:
        assert isinstance(error, ControlError)
        status = 404 if error.code == 67 else 400 if error.code == 64 else 503
        return await pages.show(request, "trouble.html", status=status, title="Sorry", words=error.words)

    async def unreadable(request: Request, error: Exception) -> Response:
        assert isinstance(error, DraftError)
        words = f"{unusable(error)} The server goes on with the settings of before; mend it, and come again."
        return await pages.show(request, "trouble.html", status=503, title="Sorry", words=words)

    async def failed(request: Request, error: Exception) -> Response:
        maillog.failed(f"page {request.url.path}")
        words = "Something went wrong here; the log has the details. Mail is not touched by it."
        return await pages.show(request, "trouble.html", status=500, title="Sorry", words=words)

    return {HTTPException: refused, ControlError: silent, DraftError: unreadable, Exception: failed}
