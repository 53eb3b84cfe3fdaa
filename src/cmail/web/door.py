"""The door: who may come in to pages and API; the same checks for every request, before anything else.

A request names a host of ours (DNS rebinding), has a session or a token, and, when it changes something,
comes from a page of ours: the token of its session is in the form or in X-CSRF-Token, its Origin is us."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmail.admin.keys import Keys, KeysError
from cmail.policy.rates import Buckets
from cmail.web.hosts import is_own_host
from cmail.web.sessions import LoggedIn, Sessions

COOKIE: Final = "cmail_session"
BODY_MAX: Final = 2 << 20  # octets of a form; the API has limits of its own
SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
OPEN: Final = ("/static/", "/login", "/first", "/health")  # without a session
MACHINE: Final = "/metrics"  # without one from this machine; from elsewhere with a token
API: Final = "/api/"
WRONG_TOKENS: Final = 10  # at once, of one address; then one every 6 s. A right one is never slowed down
WRONG_TOKENS_A_MINUTE: Final = 10.0

_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        b" form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Door:
    """Wraps the application. `scope["session"]` and `scope["token"]` say who came in."""

    def __init__(
        self,
        inner: ASGIApp,
        keys: Keys,
        sessions: Sessions,
        hosts: frozenset[str],
        hostname: Callable[[], str] = lambda: "",
    ) -> None:
        """`hostname` is asked each time: the settings may give another one while we serve."""
        self._inner = inner
        self._keys, self._sessions, self._hosts = keys, sessions, hosts
        self._hostname = hostname
        self._wrong_tokens = Buckets(WRONG_TOKENS, WRONG_TOKENS_A_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message.get("headers", [])}
                added = [*_HEADERS] if b"cache-control" in given else [*_HEADERS, _NO_STORE]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        refusal = await self._judge(scope, headers)
        if refusal is None and scope["method"] not in SAFE and "token" not in scope:
            receive, refusal = await self._check_origin(scope, headers, receive)
        await (refusal or self._inner)(scope, receive, send_with_headers)

    async def _judge(self, scope: Scope, headers: Headers) -> Response | None:
        """None: come in."""
        if len(headers.getlist("host")) != 1 or not self._is_us(headers["host"]):
            words = "This address is not known here. Use the address of the machine, or its host name."
            return _refusal(scope, 421, words)
        path: str = scope["path"]
        is_api = path.startswith(API)
        if is_api and "authorization" in headers:  # who names a token means it
            return await self._judge_token(scope, headers)
        if session := self._session(headers):
            scope["session"] = session
        elif is_api or (path == MACHINE and not _is_this_machine(scope)):
            return await self._judge_token(scope, headers)
        elif path != MACHINE and not path.startswith(OPEN):
            return _to_login(scope)
        return None

    def _is_us(self, host: str) -> bool:
        return is_own_host(host, self._hosts | {self._hostname().lower()})

    def _session(self, headers: Headers) -> LoggedIn | None:
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return self._sessions.find(cookie) if cookie else None

    async def _judge_token(self, scope: Scope, headers: Headers) -> Response | None:
        kind, _, text = headers.get("authorization", "").partition(" ")
        is_given = kind.lower() == "bearer" and bool(text.strip())
        try:
            token = await asyncio.to_thread(self._keys.find_token, text.strip()) if is_given else None
        except (KeysError, OSError) as error:
            return problem(503, "Service Unavailable", f"Tokens cannot be read: {error}.")
        if token is not None:
            scope["token"] = token
            return None
        address = (scope.get("client") or ("",))[0]
        now = time.monotonic()
        if is_given and not self._wrong_tokens.take(address, now):
            wait_s = math.ceil(self._wrong_tokens.wait_s(address, now))
            answer = problem(429, "Too Many Requests", f"Too many wrong tokens. Wait {wait_s} s.")
            answer.headers["retry-after"] = str(wait_s)
            return answer
        return problem(401, "Who are you?", "Send Authorization: Bearer TOKEN (cmail token add NAME).")

    async def _check_origin(
        self, scope: Scope, headers: Headers, receive: Receive
    ) -> tuple[Receive, Response | None]:
        """The request may have been made by a foreign page in the browser of who is logged in."""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers["host"]:
            return receive, _refusal(scope, 403, "This form was not ours.")
        session: LoggedIn | None = scope.get("session")
        if session is None:  # log-in: there is no token yet
            return receive, None
        if headers.get("x-csrf-token") == session.csrf:
            return receive, None
        if scope["path"].startswith(API):
            words = "A session of the page must send its token in X-CSRF-Token."
            return receive, problem(403, "Forbidden", words)
        body = await _read(receive)
        if body is None:
            return receive, PlainTextResponse("That is too much.\n", 413)
        given = parse_qs(body.decode("latin-1"), max_num_fields=5000).get("csrf", [""])
        if given[0] != session.csrf:
            session.say("That page was too old. Please do it again.", "failed")
            return receive, RedirectResponse(scope["path"].rpartition("/")[0] or "/", 303)
        return _replay(body), None


_NO_STORE: Final = (b"cache-control", b"no-store")


def problem(status: int, title: str, detail: str, **more: object) -> Response:
    """RFC 9457."""
    fields: Mapping[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({**fields, **more}, status, headers, "application/problem+json")


def _refusal(scope: Scope, status: int, words: str) -> Response:
    """For a program, or for a person."""
    if scope["path"].startswith(API):
        return problem(status, HTTPStatus(status).phrase, words)
    return PlainTextResponse(f"{words}\n", status)


def _to_login(scope: Scope) -> Response:
    if scope["path"].startswith("/live/"):
        return PlainTextResponse("", 403)  # a part of a page of somebody who is not logged in any more
    query = {} if scope["path"] == "/" else {"next": scope["path"]}
    return RedirectResponse("/login" + ("?" + urlencode(query) if query else ""), 303)


def _is_this_machine(scope: Scope) -> bool:
    try:
        return ip_address((scope.get("client") or ("",))[0]).is_loopback
    except ValueError:
        return False


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when it is too long."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        piece: bytes = message.get("body", b"")
        body += piece
        if len(body) > BODY_MAX:
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes) -> Receive:
    """Give it to who reads it next."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive
