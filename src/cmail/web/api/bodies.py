"""Bodies of requests: read within a limit of size and of time, taken apart, checked by their schema."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from cmail.web.api.problems import ApiError
from cmail.web.api.schema import Schema, check

JSON_OCTETS_MAX: Final = 1 << 20
IDLE_S: Final = 60.0  # between two pieces of a body
JSON_S: Final = 60.0  # for all of one
DEPTH_MAX: Final = 32
JSON: Final = ("application/json", "application/merge-patch+json")
_NOT_WELL: Final = "The JSON cannot be used."


def media_type(request: Request) -> str:
    """What the body says it is, without parameters; "" when it says nothing."""
    return str(request.headers.get("content-type", "")).partition(";")[0].strip().lower()


def has_body(request: Request) -> bool:
    """Whether one comes (RFC 9112 §6)."""
    headers = request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


async def pieces(request: Request, octets_max: int) -> AsyncIterator[bytes]:
    """The body as it comes; 413 when it is too long, 408 when nothing comes any more."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > octets_max):
        raise too_large(octets_max)
    count = 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                piece = await anext(stream, None)
        except TimeoutError:
            raise ApiError(408, "Nothing more of the body came.") from None
        except ClientDisconnect:
            raise ApiError(400, "The body ended in the middle.") from None
        if piece is None:
            return
        count += len(piece)
        if count > octets_max:
            raise too_large(octets_max)
        if piece:
            yield piece


def too_large(octets_max: int) -> ApiError:
    """413; what else of the body comes is not read."""
    return ApiError(413, f"The body may have {octets_max} octets at most.", headers={"connection": "close"})


async def read_json(request: Request, schema: Schema) -> Any:
    """The body, checked; all errors at once."""
    octets = bytearray()
    try:
        async with asyncio.timeout(JSON_S):
            async for piece in pieces(request, JSON_OCTETS_MAX):
                octets += piece
    except TimeoutError:
        raise ApiError(408, "The body did not come in time.") from None
    value = parse_json(bytes(octets))
    if faults := check(schema, value):
        raise ApiError(422, "The body has errors; nothing was done.", faults)
    return value


def parse_json(octets: bytes) -> Any:
    """What JSON says (RFC 8259), and nothing that is only like it."""
    try:
        value = json.loads(octets.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except _TwiceError as error:
        raise ApiError(400, f"{_NOT_WELL} {error.args[0]!r:.60} stands twice in one object.") from None
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"{_NOT_WELL} {error!s:.200}.") from None
    if _depth(value) > DEPTH_MAX:
        raise ApiError(400, f"{_NOT_WELL} It is nested deeper than {DEPTH_MAX}.")
    return value


class _TwiceError(ValueError):
    """The same name twice: one of them would be overlooked."""


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(name)
        found[name] = value
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _depth(value: Any) -> int:
    level: list[Any] = [value]
    depth = 0
    while level and depth <= DEPTH_MAX:
        depth += 1
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth
