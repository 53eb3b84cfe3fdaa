"""Operation: one thing that the API can do: who may, what it takes and answers. Resource: those of a path.

The OpenAPI file is written from the same table that requests are judged by (web/api/openapi.py)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from cmail.admin.keys import Token
from cmail.web.api import bodies
from cmail.web.api.problems import ApiError, problem_of
from cmail.web.api.schema import Schema, check, fields
from cmail.web.context import WebContext

PREFIX: Final = "/api/v1"
RAW: Final = "message/rfc822"
_NOTHING: Final = fields({})
_SCOPE_WORDS: Final = {
    "read": "This token may only send mail; looking needs the scope read or admin.",
    "send": "This token may not send mail; that needs the scope send or admin.",
    "admin": "This token may not change anything; that needs the scope admin.",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked."""

    context: WebContext
    request: Request
    by: str  # who, for the records: "token NAME", or who is logged in
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = None  # of JSON; None when there is none, or when it is raw
    media: str = ""

    def require(self, scope: str) -> None:
        """403 unless who asks may do this too."""
        require(self.request, scope)


Answer = Mapping[str, Any] | Response


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method of a path does."""

    method: str
    path: str  # below /api/v1
    scope: str  # read | send | admin
    summary: str
    answer: Callable[[Call], Awaitable[Answer]]
    words: str = ""
    query: Mapping[str, Schema] = field(default_factory=dict)  # an array may be given more than once
    query_needed: Sequence[str] = ()
    body: Schema | None = None
    example: Any = None  # of the body
    is_body_optional: bool = False
    is_raw_taken: bool = False  # message/rfc822 instead of JSON
    result: Schema | None = None  # of the answer; None: it has no body, or is no JSON
    result_example: Any = None
    result_media: str = "application/json"
    status: int = 200
    refusals: Mapping[int, str] = field(default_factory=dict)  # further answers, and when
    is_endless: bool = False  # a stream that ends when the client goes

    @property
    def name(self) -> str:
        """For the OpenAPI file: getQueueById."""
        parts = [part.strip("{}") for part in self.path.replace("-", "/").strip("/").split("/")]
        return self.method.lower() + "".join(part[:1].upper() + part[1:] for part in parts if part)


def require(request: Request, scope: str = "") -> str:
    """Who asks; 401 when that is nobody, 403 when it may not do this. Who is logged in may do all."""
    token: Token | None = request.scope.get("token")
    if token is not None:
        if scope and not token.may(scope):
            raise ApiError(403, _SCOPE_WORDS[scope])
        return f"token {token.name}"
    session = request.scope.get("session")
    if session is None:
        raise ApiError(401, "Send Authorization: Bearer TOKEN (cmail token add NAME).")
    return str(session.name)


class Resource:
    """All operations of one path, as an ASGI application."""

    def __init__(self, context: WebContext, operations: Sequence[Operation]) -> None:
        self._context = context
        self._operations = {each.method: each for each in operations}

    @property
    def allowed(self) -> str:
        """For the Allow field."""
        found = set(self._operations)
        if "GET" in found and not self._operations["GET"].is_endless:
            found.add("HEAD")
        return ", ".join(sorted(found | {"OPTIONS"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; whatever is wrong is a problem in words."""
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except Exception as error:
            response = problem_of(error, request.url.path).response()
        if request.method == "HEAD":
            response = _without_body(response)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        method = request.method
        operation = self._operations.get("GET" if method == "HEAD" else method)
        if method == "OPTIONS":
            require(request)
            return Response(status_code=204, headers={"allow": self.allowed})
        if operation is None or (method == "HEAD" and operation.is_endless):
            raise ApiError(405, f"{method} has no meaning here.", headers={"allow": self.allowed})
        by = require(request, operation.scope)
        query = read_query(request, operation)
        media = bodies.media_type(request)
        body = await _read_body(request, operation, media)
        call = Call(self._context, request, by, request.path_params, query, body, media)
        answered = await operation.answer(call)
        if isinstance(answered, Response):
            return answered
        return JSONResponse(answered, operation.status)


async def _read_nothing(request: Request, media: str) -> None:
    """A body where none is asked for may say nothing: what somebody means by it would not be done."""
    if media not in bodies.JSON:
        raise ApiError(415, "There is to be no body here.")
    await bodies.read_json(request, _NOTHING)


async def _read_body(request: Request, operation: Operation, media: str) -> Any:
    if operation.body is None:
        if request.method not in ("GET", "HEAD") and bodies.has_body(request):
            await _read_nothing(request, media)
        return None
    if operation.is_raw_taken and media == RAW:
        return None
    if not bodies.has_body(request):
        if operation.is_body_optional:
            return None
        raise ApiError(400, "There is no body; it is to be JSON.")
    if media not in bodies.JSON:
        more = f" or {RAW}" if operation.is_raw_taken else ""
        raise ApiError(415, f"The body must say Content-Type: application/json{more}.")
    return await bodies.read_json(request, operation.body)


def read_query(request: Request, operation: Operation) -> dict[str, Any]:
    """The parameters, as their schemas want them; 400 with all that is wrong."""
    found: dict[str, Any] = {}
    faults = []
    for name in dict.fromkeys(request.query_params.keys()):
        schema = operation.query.get(name)
        given = request.query_params.getlist(name)
        if schema is None:
            known = ", ".join(operation.query) or "nothing"
            faults.append({"parameter": name, "detail": f"is not known here; there is: {known}"})
            continue
        if schema["type"] != "array" and len(given) > 1:
            faults.append({"parameter": name, "detail": "stands there twice"})
            continue
        value = [_typed(schema["items"], each) for each in given] if schema["type"] == "array" else None
        found[name] = _typed(schema, given[0]) if value is None else value
        faults += [{"parameter": name, "detail": each["detail"]} for each in check(schema, found[name])]
    faults += [{"parameter": n, "detail": "is missing"} for n in operation.query_needed if n not in found]
    if faults:
        raise ApiError(400, "The address has parameters that cannot be used.", faults)
    return found


def _typed(schema: Schema, text: str) -> Any:
    """A number where one is wanted and it is one."""
    if schema["type"] == "integer" and text.isascii() and text.removeprefix("-").isdigit() and len(text) < 18:
        return int(text)
    return text


def _without_body(response: Response) -> Response:
    headers = {name: value for name, value in response.headers.items() if name != "transfer-encoding"}
    return Response(status_code=response.status_code, headers=headers)
