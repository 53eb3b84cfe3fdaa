"""A queued message as a page shows it: envelope, recipients, header and content as text that does nothing."""

import base64
import email.errors
import email.header
import email.parser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

HEADER_MAX: Final = 64 * 1024
CONTENT_MAX: Final = 64 * 1024
_SUBJECT_MAX: Final = 200
_KEPT: Final = "\n\t"


@dataclass(frozen=True, slots=True)
class MessageView:
    """What queue.show has told."""

    envelope: Mapping[str, Any]
    recipients: Sequence[dict[str, Any]]
    text: str  # the header section, or the content, as far as it was asked for
    octets_count: int  # of it
    subject: str

    @property
    def id(self) -> str:
        """The queue id."""
        return str(self.envelope.get("id", ""))


def read(parts: Sequence[Mapping[str, Any]]) -> MessageView:
    """The parts of an answer together."""
    envelope: dict[str, Any] = {}
    recipients: list[dict[str, Any]] = []
    octets = b""
    for part in parts:
        envelope |= part.get("envelope", {})
        if "recipient" in part:
            recipients.append(part["recipient"])
        if "content" in part:
            octets += base64.b64decode(part["content"])
    return MessageView(envelope, recipients, inert(octets), len(octets), subject_of(octets))


def inert(octets: bytes) -> str:
    """As text: octets that are no UTF-8 and control characters show as a sign, and do nothing."""
    text = octets.decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in _KEPT else "\N{REPLACEMENT CHARACTER}" for c in text)


def subject_of(octets: bytes) -> str:
    """The Subject in plain letters (RFC 2047); "" for none, or one that makes no sense."""
    try:
        message = email.parser.BytesHeaderParser().parsebytes(octets[:HEADER_MAX])
        coded = str(message.get("Subject", ""))
        text = str(email.header.make_header(email.header.decode_header(coded)))
    except (email.errors.MessageError, LookupError, ValueError):
        return ""
    plain = " ".join(text.split())
    return "".join(c for c in plain if c.isprintable())[:_SUBJECT_MAX]
