"""Serves static/: style, scripts, icon. Everything is in the package; nothing is fetched from elsewhere."""

import os
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cmail.web.page import FOLDER

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
    folder = os.path.join(FOLDER, "static")
    files = {}
    for name in sorted(os.listdir(folder)):
        kind = _TYPES.get(os.path.splitext(name)[1])
        if kind:
            with open(os.path.join(folder, name), "rb") as file:
                files[name] = (file.read(), kind)

    async def static(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("there is no such file\n", 404)
        octets, kind = found
        return Response(octets, media_type=kind, headers={"cache-control": FOR_EVER})

    return [Route("/static/{name}", static, methods=["GET"])]
