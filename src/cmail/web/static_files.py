"""Serves static/: style, scripts, icon. Everything is in the package; nothing is fetched from elsewhere."""

import os
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cmail.web.page import STATIC

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"


def routes() -> list[Route]:
    """One route for all files; they are read once."""
    kinds = {name: _TYPES.get(os.path.splitext(name)[1], "application/octet-stream") for name in STATIC}

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return PlainTextResponse("there is no such file\n", 404)
        return Response(STATIC[name], media_type=kinds[name], headers={"cache-control": FOR_EVER})

    return [Route("/static/{name}", static, methods=["GET"])]
