"""Received fields (RFC 5321 §4.4): composed on the way in, counted against loops (§6.3)."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cmail.mail.headers import count_fields
from cmail.mail.limits import RECEIVED_FIELDS_MAX

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def is_looping(header: bytes) -> bool:
    """Whether the header has more Received fields than a message gets on any honest way."""
    if header.count(b"\r\n") <= RECEIVED_FIELDS_MAX:  # so few lines: no need to look closer
        return False
    return count_fields(header, b"received") > RECEIVED_FIELDS_MAX


@lru_cache(maxsize=8)
def date_text(seconds: int) -> str:
    """A date-time of RFC 5322 §3.3, in UTC; the same second is asked for again and again."""
    t = datetime.fromtimestamp(seconds, UTC)
    return f"{_DAYS[t.weekday()]}, {t.day} {_MONTHS[t.month - 1]} {t.year} {t:%H:%M:%S} +0000"


@lru_cache(maxsize=1024)
def received_head(helo: str, name: str, address: str, by: str, protocol: str) -> str:
    """What is the same in every Received field of a session: From-domain, By-domain, With (RFC 5321 §4.4)."""
    source = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    return f"Received: from {printable(helo)} ({name} {source})\r\n\tby {by} with {protocol} id "


def received(
    head: str, queue_id: str, only_recipient: str, arrived_ms: int, priority: int | None = None
) -> bytes:
    """The whole field. With more than one recipient none is named: nobody learns of the others. `priority`:
    the one that it has here when its sender has said one (RFC 6710)."""
    shown = f"\r\n\tfor <{only_recipient}>" if only_recipient else ""
    if priority is not None:
        shown += f"\r\n\tPRIORITY {priority}"
    return f"{head}{queue_id}{shown};\r\n\t{date_text(arrived_ms // 1000)}\r\n".encode()


def protocol_word(
    *, is_lmtp: bool, is_extended: bool, is_tls: bool, is_authenticated: bool, is_utf8: bool
) -> str:
    """With-protocol: SMTP, ESMTPSA, UTF8SMTPS ... (RFC 3848, RFC 6531 §4.3)."""
    word = "LMTP" if is_lmtp else "SMTP"
    if is_utf8:
        word = f"UTF8{word}"
    elif is_extended and not is_lmtp:
        word = f"E{word}"
    return word + "S" * is_tls + "A" * is_authenticated


def printable(helo: str) -> str:
    """A HELO name as it may stand in a field: what could end a comment or a quote is a question mark."""
    return "".join(c if c.isalnum() or c in ".:_[]-" else "?" for c in helo)
