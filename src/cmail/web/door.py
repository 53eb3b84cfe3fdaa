"""The door: who may come in to pages and API; the same checks for every request, before anything else.

A request names a host of ours (DNS rebinding), has a session or a token, and, when it changes something,
comes from a page of ours: the token of its session is in the form or in X-CSRF-Token, its Origin is us."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmail.admin.keys import Keys
from cmail.web.hosts import is_own_host
from cmail.web.sessions import LoggedIn, Sessions

COOKIE: Final = "cmail_session"
BODY_MAX: Final = 2 << 20  # octets of a form; the API has limits of its own
SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
OPEN: Final = ("/static/", "/login", "/first", "/health")  # without a session
MACHINE: Final = "/metrics"  # without one from this machine; from elsewhere with a token
API: Final = "/api/"

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

    def __init__(self, inner: ASGIApp, keys: Keys, sessions: Sessions, hosts: frozenset[str]) -> None:
        self._inner = inner
        self._keys, self._sessions, self._hosts = keys, sessions, hosts

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
        if len(headers.getlist("host")) != 1 or not is_own_host(headers["host"], self._hosts):
            words = "This address is not known here. Use the address of the machine, or its host name.\n"
            return PlainTextResponse(words, 421)
        path: str = scope["path"]
        if session := self._session(headers):
            scope["session"] = session
        elif path.startswith(API) or (path == MACHINE and not _is_this_machine(scope)):
            return self._judge_token(scope, headers)
        elif path != MACHINE and not path.startswith(OPEN):
            return _to_login(scope)
        return None

    def _session(self, headers: Headers) -> LoggedIn | None:
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return self._sessions.find(cookie) if cookie else None

    def _judge_token(self, scope: Scope, headers: Headers) -> Response | None:
        kind, _, text = headers.get("authorization", "").partition(" ")
        token = self._keys.find_token(text.strip()) if kind.lower() == "bearer" and text else None
        if token is None:
            return problem(401, "Who are you?", "Send Authorization: Bearer TOKEN (cmail token add NAME).")
        scope["token"] = token
        return None

    async def _check_origin(
        self, scope: Scope, headers: Headers, receive: Receive
    ) -> tuple[Receive, Response | None]:
        """The request may have been made by a foreign page in the browser of who is logged in."""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers["host"]:
            return receive, PlainTextResponse("This form was not ours.\n", 403)
        session: LoggedIn | None = scope.get("session")
        if session is None:  # log-in: there is no token yet
            return receive, None
        if headers.get("x-csrf-token") == session.csrf:
            return receive, None
        body = await _read(receive)
        if body is None:
            return receive, PlainTextResponse("That is too much.\n", 413)
        given = parse_qs(body.decode("latin-1"), max_num_fields=5000).get("csrf", [""])
        if given[0] != session.csrf:
            session.say("That page was too old. Please do it again.", "failed")
            target = scope["path"] if not scope["path"].startswith(API) else "/"
            return receive, RedirectResponse(target.rpartition("/")[0] or "/", 303)
        return _replay(body), None


_NO_STORE: Final = (b"cache-control", b"no-store")


def problem(status: int, title: str, detail: str, **more: object) -> Response:
    """RFC 9457."""
    fields: Mapping[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({**fields, **more}, status, headers, "application/problem+json")


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
