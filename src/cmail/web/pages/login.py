"""Log in, log out, the first password, another password."""

import asyncio
import time
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from cmail.admin.keys import PASSWORD_MIN, KeysError
from cmail.admin.setup import is_new
from cmail.observe import maillog
from cmail.policy.rates import Buckets
from cmail.web.desk import DraftError
from cmail.web.door import COOKIE
from cmail.web.page import Pages, read_form, session_of, text_of
from cmail.web.pages.access import show_access
from cmail.web.sessions import AGE_MAX_S

TRIES: Final = 5  # at once, of one address; then one every 30 s
TRIES_A_MINUTE: Final = 2.0
TRIES_OF_ALL: Final = 30  # of all addresses together: somebody has many
TOO_MANY: Final = "Too many tries. Wait a minute and try again."


def routes(pages: Pages) -> list[Route]:
    """/login, /logout, /first, /password."""
    keys, sessions = pages.context.keys, pages.context.sessions
    tries = Buckets(TRIES, TRIES_A_MINUTE)
    tries_of_all = Buckets(TRIES_OF_ALL, TRIES_OF_ALL)

    def may_try(request: Request) -> bool:
        address = request.client.host if request.client else ""
        now = time.monotonic()
        return tries.take(address, now) and tries_of_all.take("", now)

    def come_in(request: Request, target: str) -> Response:
        if request.client:
            tries.forget(request.client.host)
        response = RedirectResponse(target, 303)
        response.set_cookie(
            COOKIE,
            sessions.begin("admin"),
            max_age=int(AGE_MAX_S),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    async def login_form(request: Request, status: int = 200, words: str = "") -> Response:
        if not await asyncio.to_thread(keys.has_password):
            return await pages.show_alone(request, "nobody.html", title="Not set up yet")
        target = request.query_params.get("next", "/")
        return await pages.show_alone(
            request, "login.html", status=status, title="Log in", words=words, next=_ours(target)
        )

    async def login(request: Request) -> Response:
        form = await read_form(request)
        if not may_try(request):
            return await login_form(request, 429, TOO_MANY)
        if not await asyncio.to_thread(keys.is_password, str(form.get("password", ""))):
            maillog.warned(f"page: a log-in from {request.client.host if request.client else '?'} failed")
            return await login_form(request, 403, "That is not the password.")
        return come_in(request, _ours(text_of(form, "next")))

    async def logout(request: Request) -> Response:
        sessions.end(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response

    async def first_form(request: Request, status: int = 200, words: str = "") -> Response:
        key = request.query_params.get("key", "")
        if not await asyncio.to_thread(keys.is_link, key):
            return await pages.show_alone(request, "nobody.html", status=403, title="This link is used up")
        return await pages.show_alone(
            request, "first.html", status=status, title="Choose a password", words=words, key=quote(key),
            least=PASSWORD_MIN,
        )  # fmt: skip

    async def first(request: Request) -> Response:
        form = await read_form(request)
        if not may_try(request):
            return await first_form(request, 429, TOO_MANY)
        if not await asyncio.to_thread(keys.is_link, request.query_params.get("key", "")):
            return await first_form(request)
        if words := await _set(form):
            return await first_form(request, 422, words)
        sessions.end_all()
        maillog.noted("page: a password was chosen through the link")
        return come_in(request, "/setup" if _is_first_run(pages) else "/")

    async def password_form(request: Request, status: int = 200, words: str = "") -> Response:
        return await show_access(pages, request, status, words)

    async def password(request: Request) -> Response:
        form = await read_form(request)
        if not may_try(request):
            return await password_form(request, 429, TOO_MANY)
        if not await asyncio.to_thread(keys.is_password, str(form.get("old", ""))):
            return await password_form(request, 403, "The old password is not right.")
        if words := await _set(form):
            return await password_form(request, 422, words)
        sessions.end_all()
        maillog.noted(f"page: the password was changed by {session_of(request).name}")
        return come_in(request, "/")

    async def _set(form: object) -> str:
        """Set the password of a form; what is wrong with it."""
        get = form.get  # type: ignore[attr-defined]
        if get("password") != get("again"):
            return "The two are not the same."
        try:
            await asyncio.to_thread(keys.set_password, str(get("password", "")))
        except KeysError as error:
            return f"{str(error)[0].upper()}{str(error)[1:]}."
        return ""

    return [
        Route("/login", login_form, methods=["GET"]),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/first", first_form, methods=["GET"]),
        Route("/first", first, methods=["POST"]),
        Route("/password", password_form, methods=["GET"]),
        Route("/password", password, methods=["POST"]),
    ]


def _is_first_run(pages: Pages) -> bool:
    """Whether nobody has set up anything yet."""
    try:
        settings = pages.context.desk.settings()
    except DraftError:
        return False  # the file cannot be read: Home says so
    return is_new(str(settings["host.hostname"].saved), settings["host.domains"].saved)


def _ours(target: str) -> str:
    """A path of ours to go on to; never another host."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path and not target.startswith(("/login", "/logout", "/first")) else "/"
