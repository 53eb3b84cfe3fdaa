"""The HTTP API under /api/v1: all operations put together, their description, and what is none."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cmail import __version__
from cmail.web.api import (
    accounts,
    elsewhere,
    exchanges,
    history,
    link,
    log,
    messages,
    queue,
    settings,
    status,
    tokens,
    upstream,
)
from cmail.web.api.openapi import document
from cmail.web.api.operation import PREFIX, Call, Operation, Resource, require
from cmail.web.api.problems import ApiError, problem_of
from cmail.web.page import Pages

_MODULES: Final = (
    status,
    queue,
    messages,
    settings,
    accounts,
    link,
    exchanges,
    elsewhere,
    log,
    history,
    upstream,
    tokens,
)
# What may have a slash in it.
_WIDE: Final = {"{address}": "{address:path}", "{name}": "{name:path}"}


async def _openapi(_: Call) -> Response:
    return Response(text(), media_type="application/json")


OPERATIONS: Final[Sequence[Operation]] = (
    *(each for module in _MODULES for each in module.OPERATIONS),
    Operation(
        "GET",
        "/openapi.json",
        "",
        "This description",
        _openapi,
        "For every token.",
        result={"type": "object"},
    ),
)


def routes(pages: Pages) -> list[Route]:
    """A resource for each path; what is none is a problem in words."""
    by_path: dict[str, list[Operation]] = {}
    for each in OPERATIONS:
        by_path.setdefault(each.path, []).append(each)
    found = [Route(_route(path), Resource(pages.context, some)) for path, some in by_path.items()]
    return [*found, Route("/api/{rest:path}", nothing)]


def _route(path: str) -> str:
    for name, wide in _WIDE.items():
        path = path.replace(name, wide)
    return PREFIX + path


class _Nothing:
    """What there is no resource for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """404."""
        request = Request(scope, receive)
        try:
            require(request)
            raise ApiError(404, f"There is no such thing; see {PREFIX}/openapi.json.")
        except ApiError as error:
            await problem_of(error, request.url.path).response()(scope, receive, send)


nothing: Final = _Nothing()


@cache
def text() -> str:
    """The description, as it is served and as docs/openapi.json has it."""
    return json.dumps(_described(), indent=2, ensure_ascii=False) + "\n"


def _described() -> dict[str, Any]:
    return document(OPERATIONS, __version__)


if __name__ == "__main__":
    print(text(), end="")
