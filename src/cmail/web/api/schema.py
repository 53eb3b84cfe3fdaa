"""Checks JSON values by the schemas that the OpenAPI file has: what is written there is what is obeyed.

The part of JSON Schema that is used here: type, enum, pattern, lengths, limits, items, properties."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cmail.web.api.problems import Fault, escape

Schema = Mapping[str, Any]
FAULTS_MAX: Final = 100
LINE: Final = (
    r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"  # what goes into a line has no end of one (rule 17)
)

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_WORDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


# Schemas are put together from these.


def text(words: str = "", *, most: int = 1000, least: int = 0, example: str = "", **more: Any) -> Schema:
    """Text that fits a line."""
    said = {"description": words} if words else {}
    shown = {"examples": [example]} if example else {}
    bounds = {"minLength": least} if least else {}
    return {"type": "string", "pattern": LINE, **bounds, "maxLength": most, **said, **shown, **more}


def told(words: str = "", **more: Any) -> Schema:
    """Text in an answer."""
    return {"type": "string", **({"description": words} if words else {}), **more}


def moment(words: str = "") -> Schema:
    """A time in an answer (RFC 3339), or none."""
    said = {"description": words} if words else {}
    return {"type": ["string", "null"], "format": "date-time", **said, "examples": ["2026-01-31T08:15:00Z"]}


def whole(words: str = "", least: int | None = None, most: int | None = None, **more: Any) -> Schema:
    """A whole number."""
    said = {"description": words} if words else {}
    low = {"minimum": least} if least is not None else {}
    high = {"maximum": most} if most is not None else {}
    return {"type": "integer", **low, **high, **said, **more}


def number(words: str = "") -> Schema:
    """A number in an answer, perhaps with a fraction."""
    return {"type": "number", **({"description": words} if words else {})}


def one_of(*names: str, words: str = "") -> Schema:
    """One of some names."""
    return {"type": "string", "enum": list(names), **({"description": words} if words else {})}


def list_of(items: Schema, *, least: int = 0, most: int | None = None, words: str = "") -> Schema:
    """A list."""
    bounds: dict[str, int] = {"minItems": least} if least else {}
    if most is not None:
        bounds["maxItems"] = most
    return {"type": "array", "items": items, **bounds, **({"description": words} if words else {})}


def fields(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: Any
) -> Schema:
    """An object that has these fields and no others."""
    named = {"required": list(required)} if required else {}
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, **named, "additionalProperties": False, **more}


# Checking.


def check(schema: Schema, value: Any) -> list[Fault]:
    """All that is wrong, with a JSON pointer each; the first hundred."""
    found: list[Fault] = []
    for pointer, detail in _faults(schema, value, ""):
        found.append({"pointer": pointer, "detail": detail})
        if len(found) >= FAULTS_MAX:
            break
    return found


def _faults(schema: Schema, value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    kinds = schema.get("type", ())
    allowed = [kinds] if isinstance(kinds, str) else list(kinds)
    if allowed and not any(_is_of(kind, value) for kind in allowed):
        yield pointer, f"must be {' or '.join(_WORDS[kind] for kind in allowed)}"
    elif "enum" in schema and value not in schema["enum"]:
        yield pointer, f"must be one of: {', '.join(map(str, schema['enum']))}"
    elif isinstance(value, str):
        yield from ((pointer, words) for words in _of_text(schema, value))
    elif isinstance(value, list):
        yield from _of_list(schema, value, pointer)
    elif isinstance(value, dict):
        yield from _of_object(schema, value, pointer)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from ((pointer, words) for words in _of_number(schema, value))


def _is_of(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _of_text(schema: Schema, value: str) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield "is empty" if not value else f"must have at least {schema['minLength']} characters"
    elif len(value) > schema.get("maxLength", len(value)):
        yield f"must have at most {schema['maxLength']} characters"
    elif not _is_unicode(value):
        yield "is not Unicode text"
    elif "pattern" in schema and not _fits(schema["pattern"], value):
        line = "must be one line without control characters"
        yield line if schema["pattern"] == LINE else f"must fit {schema['pattern']}"


def _fits(pattern: str, value: str) -> bool:
    """The whole of it; $ would overlook a line end behind it."""
    return re.fullmatch(pattern.removeprefix("^").removesuffix("$"), value) is not None


def _is_unicode(value: str) -> bool:
    """JSON can name half a surrogate pair, which is no character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_number(schema: Schema, value: float) -> Iterator[str]:
    if value < schema.get("minimum", value):
        yield f"must be at least {schema['minimum']}"
    elif value > schema.get("maximum", value):
        yield f"must be at most {schema['maximum']}"


def _of_list(schema: Schema, value: Sequence[Any], pointer: str) -> Iterator[tuple[str, str]]:
    if len(value) < schema.get("minItems", 0):
        yield pointer, f"must name at least {schema['minItems']}"
    elif len(value) > schema.get("maxItems", len(value)):
        yield pointer, f"must name at most {schema['maxItems']}"
    else:
        for number, each in enumerate(value):
            yield from _faults(schema.get("items", {}), each, f"{pointer}/{number}")


def _of_object(schema: Schema, value: Mapping[str, Any], pointer: str) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{pointer}/{name}", "is missing"
    if len(value) < schema.get("minProperties", 0):
        yield pointer, f"must have at least {schema['minProperties']} of: {', '.join(properties)}"
    for name, each in value.items():
        inner = properties.get(name)
        if inner is not None:
            yield from _faults(inner, each, f"{pointer}/{escape(name)}")
        elif schema.get("additionalProperties") is False:
            yield (
                f"{pointer}/{escape(name)}",
                f"is not known here; there is: {', '.join(properties) or 'nothing'}",
            )
