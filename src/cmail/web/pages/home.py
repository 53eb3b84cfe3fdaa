"""Home: what must be seen on one page."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.web.page import Pages


def routes(pages: Pages) -> list[Route]:
    """/, and the status line that every page has."""

    async def home(request: Request) -> Response:
        return await pages.show(request, "home.html", title="Home")

    async def line(request: Request) -> Response:
        return await pages.show_part(request, "line.html")

    return [Route("/", home, methods=["GET"]), Route("/live/line", line, methods=["GET"])]
