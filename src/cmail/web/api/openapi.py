"""The OpenAPI 3.1 description of the API, written from the operations themselves.

`python -m cmail.web.api.v1` prints it; docs/openapi.json is kept like it by a test."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from cmail.web.api.operation import PREFIX, RAW, Operation
from cmail.web.api.schema import Schema, told

Fields = dict[str, Any]
_NAMES: Final = re.compile(r"\{(\w+)\}")
_PATH_WORDS: Final = {
    "id": "A queue id.",
    "action": "flush, hold, release, bounce or delete.",
    "address": "An address; percent-encoded where it has to be.",
    "name": "The name of a token.",
    "number": "The number of a version.",
}
_EXAMPLES: Final = {
    "id": "1Q3F8ZK2M0T40",
    "action": "flush",
    "address": "anna@example.org",
    "name": "shop",
    "number": "2",
}
_ALWAYS: Final = {
    400: "The address, or the JSON, cannot be read.",
    401: "There is no token, or a wrong one.",
    403: "The token may not do this, or it is set in the settings file only.",
    405: "This method has no meaning here.",
    429: "Too many wrong tokens; Retry-After says when to come again.",
    500: "A mistake of ours; the log has its trace.",
    503: "A part of the server does not answer, or the disk is full; try again.",
}
_WITH_BODY: Final = {
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "The body has errors, each with its JSON pointer; nothing was done.",
}
_WITH_PATH: Final = {404: "There is no such thing."}
_WORDS: Final = (
    "What the page can do, programs can do. Tokens are made with `cmail token add NAME --scope SCOPE`; the"
    " scopes are read (look), send (send mail) and admin (everything). Times are RFC 3339 in UTC. What is"
    " wrong is said as application/problem+json (RFC 9457). What is not known is refused."
)


def document(operations: Sequence[Operation], version: str) -> Fields:
    """All of it."""
    paths: dict[str, Fields] = {}
    for each in operations:
        path = paths.setdefault(each.path, {})
        if names := _NAMES.findall(each.path):
            path["parameters"] = [_in_path(name) for name in names]
        path[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "CMail Server", "version": version, "description": _WORDS},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _PROBLEM},
        },
    }


def _operation(operation: Operation) -> Fields:
    found: Fields = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"{operation.words} Scope: {operation.scope}.".strip(),
        "tags": [operation.path.split("/")[1]],
        "x-scope": operation.scope,
        "responses": _responses(operation),
    }
    if operation.query:
        found["parameters"] = [_in_query(*each, operation) for each in operation.query.items()]
    if operation.body is not None:
        found["requestBody"] = _body(operation, operation.body)
    return found


def _in_path(name: str) -> Fields:
    schema = {**told(), "minLength": 1, "examples": [_EXAMPLES[name]]}
    return {"name": name, "in": "path", "required": True, "description": _PATH_WORDS[name], "schema": schema}


def _in_query(name: str, schema: Schema, operation: Operation) -> Fields:
    words = {"description": schema["description"]} if "description" in schema else {}
    is_needed = name in operation.query_needed
    return {"name": name, "in": "query", "required": is_needed, **words, "schema": dict(schema)}


def _body(operation: Operation, schema: Schema) -> Fields:
    media: Fields = {"application/json": {"schema": dict(schema)}}
    if operation.example is not None:
        media["application/json"]["example"] = operation.example
    if operation.is_raw_taken:
        media[RAW] = {"schema": {"type": "string", "description": "A whole message (RFC 5322)."}}
    return {"required": not operation.is_body_optional, "content": media}


def _responses(operation: Operation) -> Fields:
    refusals = dict(_ALWAYS)
    if "{" in operation.path:
        refusals |= _WITH_PATH
    if operation.body is not None:
        refusals |= _WITH_BODY
    refusals |= operation.refusals
    answers: Fields = {str(operation.status): _answer(operation)}
    return answers | {str(status): _refusal(words) for status, words in sorted(refusals.items())}


def _answer(operation: Operation) -> Fields:
    found: Fields = {"description": HTTPStatus(operation.status).phrase}
    if operation.status == HTTPStatus.NO_CONTENT:
        return found
    media: Fields = {"schema": dict(operation.result) if operation.result is not None else {"type": "string"}}
    if operation.result_example is not None:
        media["example"] = operation.result_example
    return {**found, "content": {operation.result_media: media}}


def _refusal(words: str) -> Fields:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": words, "content": {"application/problem+json": {"schema": schema}}}


_ERROR: Final = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "pointer": told("Where in the JSON."),
        "parameter": told("Which one of the address."),
        "detail": told("What is wrong."),
        "example": told("What would be right."),
    },
}
_PROBLEM: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": told(),
        "title": told(),
        "status": {"type": "integer"},
        "detail": told("In words."),
        "errors": {"type": "array", "items": _ERROR},
    },
    "examples": [
        {
            "type": "about:blank",
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "Nothing was changed.",
            "errors": [{"pointer": "/smtp/port", "detail": "must be a port: 1 to 65535"}],
        }
    ],
}
