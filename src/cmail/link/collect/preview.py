"""Preview: what is delivered in the place of a message that is too large to be fetched by itself."""

from typing import Final

from cmail.mail.address import Address
from cmail.mail.composed import compose
from cmail.mail.content import normalize
from cmail.mail.headers import find_field, header_of
from cmail.mail.trace import date_text

BEGINNING_OCTETS: Final = 4096  # of a message are asked for
_SHOWN_LINES: Final = 40
_SUBJECT_OCTETS_MAX: Final = 200


def compose_preview(
    *,
    name: str,
    number: int,
    size: int,
    beginning: bytes,
    recipients: tuple[Address, ...],
    hostname: str,
    now_ms: int,
) -> bytes:
    """A message in plain words, CRLF lines. Subject, sender and date of the original are shown as they stand
    in its header: encoded words too."""
    text = normalize(beginning)
    header = header_of(text)
    body = text[len(header) :].lstrip(b"\r\n")
    subject = _line(find_field(header, b"subject"))
    words = [
        f"A message of {print_size(size)} for you waits at the mailbox {name!r}.",
        "It is too large to be fetched by itself.",
        "",
        f"From:    {_line(find_field(header, b'from')) or 'it does not say'}",
        f"Subject: {subject or 'none'}",
        f"Date:    {_line(find_field(header, b'date')) or 'it does not say'}",
        f"Size:    {print_size(size)} ({size} octets)",
        "",
        "It stays where it is. Whoever looks after this mail server fetches all of it with:",
        "",
        f"    cmail collect fetch {_argument(name)} {number}",
        "",
    ]
    if body:
        lines = [_line(line) for line in body.split(b"\r\n")[:_SHOWN_LINES]]
        words += ["This is how it begins:", "", *(f"> {line}" for line in lines), ""]
    author = Address("postmaster", hostname)
    is_plain = subject.isascii() and len(subject) <= _SUBJECT_OCTETS_MAX
    title = f"{print_size(size)}, not fetched yet: {subject if is_plain else ''}".rstrip(": ")
    made = compose(author, recipients, "", "\n".join(words))
    # An encoded word of the original stands in the subject as it is: only a mail program can read it.
    made = made.replace(b"\r\nSubject: \r\n", b"\r\nSubject: " + title.encode() + b"\r\n", 1)
    trace = f"Date: {date_text(now_ms // 1000)}\r\nMessage-ID: <collect.{number}.{now_ms}@{hostname}>\r\n"
    return trace.encode() + b"Auto-Submitted: auto-generated\r\n" + made


def print_size(octets: int) -> str:
    """For people."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if octets >= unit:
            return f"{octets / unit:.1f} {name}"
    return f"{octets} octets"


def _line(value: bytes | None) -> str:
    """One line that prints (rule 17)."""
    text = (value or b"")[:1000].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _argument(name: str) -> str:
    """As it is typed at a shell."""
    return name if name.replace("-", "").replace("_", "").replace(".", "").isalnum() else f"'{name}'"
