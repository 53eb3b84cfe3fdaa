"""What only submission does to a message (RFC 6409 §8): adds Date and Message-ID, takes Bcc out.

MT-Priority is taken out of whatever comes: it holds for one hop (RFC 6758), and the next one is told by
whoever speaks to it."""

from cmail.mail.headers import has_field, remove_fields
from cmail.mail.priority import without_tunnel
from cmail.mail.trace import date_text


def added_fields(header: bytes, queue_id: str, hostname: str, arrived_ms: int) -> bytes:
    """The fields that are missing, to be put on top (RFC 6409 §8.2, §8.3)."""
    fields = ""
    if not has_field(header, b"message-id"):
        fields += f"Message-ID: <{queue_id}@{hostname}>\r\n"
    if not has_field(header, b"date"):
        fields += f"Date: {date_text(arrived_ms // 1000)}\r\n"
    return fields.encode()


def without_bcc(header: bytes) -> bytes:
    """The header as the recipients may see it; the same object when nothing is to be hidden."""
    return remove_fields(header, b"bcc") if has_field(header, b"bcc") else header


def as_passed_on(header: bytes, *, hides_bcc: bool) -> bytes:
    """The header section as it is kept; the same object when nothing is taken out."""
    return without_tunnel(without_bcc(header) if hides_bcc else header)
