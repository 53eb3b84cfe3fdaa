"""Password and tokens: who may come in. The page that shows both, and what its buttons for tokens do."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cmail.admin.keys import NAME_MAX, PASSWORD_MIN, SCOPES, KeysError
from cmail.observe import maillog
from cmail.web.page import Pages, go_to, read_form, session_of, text_of
from cmail.web.pages.dialog import UNPROCESSABLE

PATH: Final = "/password"
SCOPE_WORDS: Final = {
    "read": "look at everything",
    "send": "send mail",
    "admin": "everything that this page can",
}
assert SCOPE_WORDS.keys() == set(SCOPES), "each scope has its words"


async def show_access(pages: Pages, request: Request, status: int = 200, words: str = "") -> Response:
    """The page; `words`: what is wrong with the form that was sent."""
    try:
        tokens = await asyncio.to_thread(pages.context.keys.tokens)
    except KeysError as error:
        tokens, words = (), words or _sentence(error)
    return await pages.show(
        request,
        "password.html",
        status=status,
        title="Password and tokens",
        words=words,
        least=PASSWORD_MIN,
        tokens=tokens,
        scopes=SCOPE_WORDS,
        name_max=NAME_MAX,
    )


def routes(pages: Pages) -> list[Route]:
    """What is posted about tokens; the page itself is routed with the password."""
    keys = pages.context.keys

    async def add(request: Request) -> Response:
        form = await read_form(request)
        name, scope = text_of(form, "name"), text_of(form, "scope")
        try:
            token = await asyncio.to_thread(keys.add_token, name, scope)
        except KeysError as error:
            return await show_access(pages, request, UNPROCESSABLE, _sentence(error))
        maillog.noted(f"page: the token {name} ({scope}) was made by {session_of(request).name}")
        return go_to(request, PATH, f"The token {name}, which is not shown again: {token}")

    async def delete(request: Request) -> Response:
        name = text_of(await read_form(request), "name")
        try:
            await asyncio.to_thread(keys.delete_token, name)
        except KeysError as error:
            return await show_access(pages, request, UNPROCESSABLE, _sentence(error))
        maillog.noted(f"page: the token {name} was deleted by {session_of(request).name}")
        return go_to(request, PATH, f"The token {name} works no more.")

    return [
        Route("/password/token-add", add, methods=["POST"]),
        Route("/password/token-delete", delete, methods=["POST"]),
    ]


def _sentence(error: KeysError) -> str:
    words = str(error)
    return f"{words[0].upper()}{words[1:]}."
