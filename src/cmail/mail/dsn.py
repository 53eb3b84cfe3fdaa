"""Delivery status notifications: compose and parse (RFC 3464, RFC 6522, RFC 6533)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from textwrap import wrap
from typing import Final

from cmail.mail.address import Address
from cmail.mail.date import print_date, print_timestamp
from cmail.mail.headers import is_all_utf8
from cmail.mail.status import EnhancedStatus

LINE_MAX: Final = 998  # RFC 5322 §2.1.1
VALUE_MAX: Final = 900  # of a field that repeats what others said: one line with its name


class Action(StrEnum):
    """RFC 3464 §2.3.3: what became of a recipient."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"  # final delivery
    RELAYED = "relayed"  # to a host that does not report itself
    EXPANDED = "expanded"  # to several others


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What is said of one recipient. Texts may come from peers: whatever is in them stays in its line."""

    final_recipient: Address
    action: Action
    status: EnhancedStatus
    reason: str  # for people
    orcpt: str = ""  # "rfc822;anna@example.org", as given with ORCPT
    remote_mta: str = ""  # host that spoke
    diagnostic: str = ""  # what it said: "550 5.1.1 no such user"
    last_attempt_ms: int = 0  # wall; 0: not said
    will_retry_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """One report to the sender of one message. All recipients have the same kind of action."""

    name: str  # what makes its Message-ID and boundary its own: a queue id
    hostname: str  # Reporting-MTA
    to: Address
    now_ms: int
    arrived_ms: int
    recipients: tuple[RecipientReport, ...]
    original_id: str  # the queue id of the message, for the administrator
    original: bytes  # plain CRLF: its header section, or all of it
    is_whole: bool = False
    envid: str = ""
    deliver_by_ms: int = 0  # wall; by when its sender wanted it delivered (RFC 2852)
    hold_until_ms: int = 0  # wall; when its sender wanted it sent (RFC 4865)


@dataclass(frozen=True, slots=True)
class ParsedReport:
    """The fields of a report: of the message, then of each recipient; names in lower case."""

    message: dict[str, str]
    recipients: tuple[dict[str, str], ...]
    original: bytes


class DsnSyntaxError(ValueError):
    """Not a delivery status notification."""


def compose(report: Report) -> bytes:
    """The report as a message: plain octets, CRLF lines of at most 998 octets, MIME 1.0."""
    is_global = _is_global(report)
    third = _original_part(report, is_global)
    second = _status_part(report, is_global)
    first = _human_part(report)
    boundary = _boundary(report, (first, second, third))
    kind = "global-delivery-status" if is_global else "delivery-status"
    has_8bit = not all(part.isascii() for part in (first, second, third))
    head = [
        f"From: Mail Delivery System <MAILER-DAEMON@{_clean(report.hostname)}>",
        f"To: <{report.to}>",
        f"Subject: {_SUBJECTS[report.recipients[0].action]}",
        f"Date: {print_date(report.now_ms)}",
        f"Message-ID: <{_clean(report.name)}.dsn@{_clean(report.hostname)}>",
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
        f"Content-Type: multipart/report; report-type={kind};",
        f'\tboundary="{boundary}"',
        *(["Content-Transfer-Encoding: 8bit"] * has_8bit),
        "",
        "This is a report in MIME format (RFC 3464).",
    ]
    line = f"\r\n--{boundary}".encode()
    parts = b"".join(line + b"\r\n" + part for part in (first, second, third))
    return "\r\n".join(head).encode() + b"\r\n" + parts + line + b"--\r\n"


# The part for people

_SUBJECTS: Final = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is late: it is still being tried",
    Action.DELIVERED: "Your message has arrived",
    Action.RELAYED: "Your message was passed on",
    Action.EXPANDED: "Your message was passed on to several recipients",
}
_OPENINGS: Final = {
    Action.FAILED: "Your message could not be delivered to the recipients below. Nothing more is tried.",
    Action.DELAYED: "Your message could not be delivered to the recipients below yet. You need not do"
    " anything: it is tried again and again, and you hear of it when it fails for good.",
    Action.DELIVERED: "Your message is in the mailbox of each recipient below. You asked to be told.",
    Action.RELAYED: "Your message was handed to the next mail server for the recipients below. Not every"
    " server sends reports, so this may be the last you hear of it.",
    Action.EXPANDED: "Your message was passed on to all who stand behind the addresses below."
    " You asked to be told.",
}


def _human_part(report: Report) -> bytes:
    lines = wrap(f"This is the mail server {_clean(report.hostname)}.", 76)
    lines += wrap(_OPENINGS[report.recipients[0].action], 76)
    for recipient in report.recipients:
        lines += ["", *_fit(f"<{recipient.final_recipient}>"), *_about(recipient)]
    lines += ["", *wrap(f"Your message arrived here on {print_date(report.arrived_ms)};", 76)]
    lines += [f"its name in our logs is {_clean(report.original_id)}."]
    text = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n"
    charset, encoding = ("us-ascii", "7bit") if text.isascii() else ("utf-8", "8bit")
    return _part_head(f"text/plain; charset={charset}", "What happened", encoding) + text


def _about(recipient: RecipientReport) -> Iterator[str]:
    for text in _fit(_clean(recipient.reason)):
        yield f"    {text}"
    if recipient.will_retry_until_ms:
        yield f"    It is tried until {print_date(recipient.will_retry_until_ms)} at least."


def _fit(text: str) -> list[str]:
    """Lines that fit on a screen; a word without end is cut."""
    return wrap(text, 72, break_long_words=len(text) > VALUE_MAX, break_on_hyphens=False)


# The part for programs


def _status_part(report: Report, is_global: bool) -> bytes:
    groups = [list(_message_fields(report))]
    groups += [list(_recipient_fields(r, is_global)) for r in report.recipients]
    text = "\r\n".join("".join(f"{name}: {value}\r\n" for name, value in group) for group in groups)
    octets = text.encode("utf-8" if is_global else "ascii", "replace")
    kind = "message/global-delivery-status" if is_global else "message/delivery-status"
    return _part_head(kind, "Delivery report", "7bit" if octets.isascii() else "8bit") + octets


def _message_fields(report: Report) -> Iterator[tuple[str, str]]:
    if report.envid:
        yield "Original-Envelope-Id", _clean(report.envid, ascii_only=True)
    yield "Reporting-MTA", f"dns; {_clean(report.hostname)}"
    yield "Arrival-Date", print_date(report.arrived_ms)
    if report.deliver_by_ms:
        yield "Deliver-By-Date", print_date(report.deliver_by_ms)
    if report.hold_until_ms:
        yield "Future-Release-Request", f"until; {print_timestamp(report.hold_until_ms)}"


def _recipient_fields(recipient: RecipientReport, is_global: bool) -> Iterator[tuple[str, str]]:
    if recipient.orcpt:
        kind, _, address = recipient.orcpt.partition(";")
        yield "Original-Recipient", f"{_clean(kind)}; {_clean(address, ascii_only=not is_global)}"
    final = recipient.final_recipient
    yield "Final-Recipient", f"{'rfc822' if final.is_ascii else 'utf-8'}; {final}"
    yield "Action", recipient.action
    yield "Status", str(recipient.status)
    if recipient.remote_mta:
        yield "Remote-MTA", f"dns; {_clean(recipient.remote_mta)}"
    if recipient.diagnostic:
        yield "Diagnostic-Code", f"smtp; {_clean(recipient.diagnostic, ascii_only=not is_global)}"
    if recipient.last_attempt_ms:
        yield "Last-Attempt-Date", print_date(recipient.last_attempt_ms)
    if recipient.will_retry_until_ms:
        yield "Will-Retry-Until", print_date(recipient.will_retry_until_ms)


# The message that it is about


def _original_part(report: Report, is_global: bool) -> bytes:
    original = report.original
    if report.is_whole and _fits_a_line(original):
        kind = "message/rfc822" if original.isascii() or not is_global else "message/global"
        return _part_head(kind, "Your message", "7bit" if original.isascii() else "8bit") + original
    head = original.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n") + b"\r\n"
    if head.isascii() and _fits_a_line(head):
        return _part_head("text/rfc822-headers", "The header of your message", "7bit") + head
    if is_global and _fits_a_line(head) and is_all_utf8(head):
        return _part_head("message/global-headers", "The header of your message", "8bit") + head
    # RFC 6522 §4: broken or non-ASCII header sections may be made legal by quoted-printable
    octets = quoted_printable(head)
    return _part_head("text/rfc822-headers", "The header of your message", "quoted-printable") + octets


def quoted_printable(octets: bytes) -> bytes:
    """CRLF lines in quoted-printable (RFC 2045 §6.7); each ends in CRLF."""
    return b"".join(_quoted_line(line) for line in octets.removesuffix(b"\r\n").split(b"\r\n"))


def _quoted_line(line: bytes) -> bytes:
    out, length, pieces = [], 0, list(_quoted_octets(line))
    for piece in pieces:
        if length + len(piece) > 75:
            out.append(b"=\r\n")
            length = 0
        out.append(piece)
        length += len(piece)
    return b"".join(out) + b"\r\n"


def _quoted_octets(line: bytes) -> Iterable[bytes]:
    last = len(line) - 1
    for n, octet in enumerate(line):
        is_plain = 33 <= octet <= 126 and octet != 61
        if is_plain or (octet in b" \t" and n < last):
            yield bytes((octet,))
        else:
            yield b"=%02X" % octet


def _part_head(kind: str, description: str, encoding: str) -> bytes:
    lines = [f"Content-Type: {kind}", f"Content-Description: {description}"]
    if encoding != "7bit":
        lines.append(f"Content-Transfer-Encoding: {encoding}")
    return "\r\n".join([*lines, "", ""]).encode()


def _is_global(report: Report) -> bool:
    """Whether an address in it needs RFC 6533."""
    return not all(r.final_recipient.is_ascii and r.orcpt.isascii() for r in report.recipients)


def _fits_a_line(octets: bytes) -> bool:
    return max(map(len, octets.split(b"\r\n")), default=0) <= LINE_MAX


def _boundary(report: Report, parts: tuple[bytes, ...]) -> str:
    number = 0
    while True:
        boundary = f"=_{_clean(report.name)}.{number}"
        if not any(boundary.encode() in part for part in parts):
            return boundary
        number += 1


def _clean(text: str, *, ascii_only: bool = False) -> str:
    """A value that stays in its line (rule 17): what does not print is a question mark."""
    cut = text[:VALUE_MAX]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else "?" if ord(c) > 32 else " " for c in cut)
    if ascii_only:
        return cut.encode("ascii", "replace").decode()
    while len(cut.encode("utf-8", "replace")) > VALUE_MAX:
        cut = cut[: len(cut) * 3 // 4]
    return cut


# Reading one


def parse(octets: bytes) -> ParsedReport:
    """The fields of a report and the original in it; DsnSyntaxError when it is none."""
    head, _, body = octets.partition(b"\r\n\r\n")
    parameters = _fields(head).get("content-type", "")
    if not parameters.lower().startswith("multipart/report"):
        raise DsnSyntaxError("not a multipart/report")
    _, found, boundary = parameters.partition('boundary="')
    if not found:
        raise DsnSyntaxError("no boundary")
    line = b"--" + boundary.partition('"')[0].encode()
    parts = (b"\r\n" + body).split(b"\r\n" + line)[1:]
    for number, part in enumerate(parts):
        part_head, _, text = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if "delivery-status" in _fields(part_head).get("content-type", ""):
            groups = [_fields(group) for group in text.split(b"\r\n\r\n") if group.strip()]
            if not groups:
                break
            following = parts[number + 1] if number + 1 < len(parts) else b""
            return ParsedReport(groups[0], tuple(groups[1:]), following.partition(b"\r\n\r\n")[2])
    raise DsnSyntaxError("no delivery-status part")


def _fields(octets: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in octets.decode("utf-8", "replace").split("\r\n"):
        if line[:1] in (" ", "\t") and name:
            fields[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower() if colon else ""
        if name:
            fields[name] = value.strip()
    return fields
