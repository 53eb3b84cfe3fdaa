"""Content-Type, as much of it as says how a body is parted; read leniently."""

import re
from dataclasses import dataclass
from typing import Final

from cmail.policy.validation.authors import without_iso_2022

BOUNDARY_MAX: Final = 70  # RFC 2046 §5.1.1
_READ_MAX: Final = 8192
_NAME: Final = b"boundary"
_BEFORE: Final = frozenset(b"; \t")
_BOUNDARY: Final = re.compile(rb"[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;]+))", re.DOTALL)


@dataclass(slots=True)  # frozen costs a microsecond
class ContentType:
    """What the field says. `boundary` is b"" where none is named; is_unsure: there may be one that we don't
    understand, so nothing is said of it."""

    is_multipart: bool = False
    is_message: bool = False
    is_odd: bool = False
    boundary: bytes = b""
    is_unsure: bool = False


_TEXT: Final = ContentType()
_ODD: Final = ContentType(is_odd=True)
_MESSAGE: Final = ContentType(is_message=True)


def read_content_type(value: bytes) -> ContentType:
    """The value of a Content-Type field, unfolded (RFC 2045 §5.1)."""
    kind = value[:80].lower()
    if kind.startswith(b"text/"):
        return _TEXT
    kind, slash, sub = kind.partition(b";")[0].partition(b"/")
    kind = kind.rpartition(b")")[2].strip()  # a comment may stand in front
    if not slash or not sub.strip() or not kind:
        return _ODD
    if kind == b"message":
        return _MESSAGE
    if kind != b"multipart":
        return _TEXT
    return _read_multipart(value)


def _read_multipart(value: bytes) -> ContentType:
    if len(value) > _READ_MAX:
        return ContentType(is_multipart=True, is_unsure=True)
    text = without_iso_2022(value) if b"\x1b" in value else value
    lower = text.lower()
    at = lower.find(_NAME)
    while at > 0:
        found = _BOUNDARY.match(text, at + len(_NAME)) if text[at - 1] in _BEFORE else None
        if found is not None:
            return ContentType(is_multipart=True, boundary=_boundary(*found.groups()))
        at = lower.find(_NAME, at + 1)
    return ContentType(is_multipart=True, is_unsure=b"boundary*" in lower)  # in pieces (RFC 2231 §3)


def _boundary(quoted: bytes | None, token: bytes) -> bytes:
    if quoted is None:
        return (
            token.partition(b"(")[0].strip(b"\"'") if token[:1] in (b'"', b"'") else token.partition(b"(")[0]
        )
    return (_ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted).rstrip(b" \t")


_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
