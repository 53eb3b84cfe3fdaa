"""The parsers of what mail is made of: addresses, header sections, dates, reports, queue ids."""

import json
import quopri
from email.utils import parsedate_to_datetime
from typing import Final

from cmail.cli.address_list import parse_list
from cmail.cli.exits import Refusal
from cmail.cli.sendmail import _display_name
from cmail.cli.submission import read_submission
from cmail.mail import dsn, headers, limits, queue_id
from cmail.mail.address import Address, AddressSyntaxError, parse_address, parse_domain
from cmail.mail.date import print_date
from cmail.mail.priority import TUNNEL, header_priority, tunnel_field, without_tunnel
from cmail.mail.reply import Reply
from cmail.mail.status import Detail, EnhancedStatus, StatusClass, parse_status
from cmail.mail.trace import date_text, is_looping, printable, received, received_head
from cmail.policy.rewriting import Directory, ToAddresses
from cmail.smtpd.receive import _message_id
from cmail.storage.mailbox_names import folder_name, mailbox_path
from tests.fuzz.parser import Parser, cuts, text

_ANNA: Final = parse_address(b"anna@example.org")
_WALL_MS_MAX: Final = 253_370_000_000_000  # the year 9999


def address(octets: bytes) -> None:
    """An address printed is read as the same; nothing in it ends a line or a path."""
    found = parse_address(octets)
    assert parse_address(bytes(found)) == found
    assert not set(found.text + found.user) & set("\r\n\0")
    path = mailbox_path("/root", found)
    assert path.count("/") == 3 and ".." not in path.split("/")


def domain(octets: bytes) -> None:
    """A domain, likewise."""
    found = parse_domain(octets.decode("utf-8", "replace"))
    assert parse_domain(found) == found and "/" not in found


def folder(octets: bytes) -> None:
    """Any name is one component of a path, whatever it is, and no hidden one."""
    name = folder_name(text(octets))
    assert name and "/" not in name and "\0" not in name and not name.startswith(".")
    assert len(name.encode()) <= 255
    assert folder_name(text(octets).upper().lower()) is not None


def address_list(octets: bytes) -> None:
    """To: as people write it. Each address found is one; bare, it is found again."""
    found = parse_list(text(octets), "example.org")
    again = parse_list(", ".join(f"<{one}>" for one in found), "example.org")
    assert again == found


def header(octets: bytes) -> None:
    """Fields are found, counted and taken out; what stands there besides stays as it is."""
    head = headers.header_of(octets)
    assert octets.startswith(head)
    for name in (b"received", b"bcc", b"message-id"):
        assert headers.has_field(head, name) == (headers.find_field(head, name) is not None)
        assert headers.has_field(head, name) == bool(headers.count_fields(head, name))
        left = headers.remove_fields(head, name)
        assert len(left) <= len(head) and (len(left) == len(head)) == (not headers.has_field(head, name))
        value = headers.find_field(head, name)
        assert value is None or b"\n" not in value
    is_looping(head)
    if b"\n" not in head.replace(b"\r\n", b""):  # a bare one is refused before
        assert "\n" not in _message_id(head, b"")


def priority(octets: bytes) -> None:
    """What a header section asks for; nothing is left of MT-Priority, and nothing else is taken."""
    head = headers.header_of(octets)
    found = header_priority(head)
    assert -9 <= found <= 9
    left = without_tunnel(head)
    assert not headers.has_field(left, TUNNEL) and without_tunnel(left) is left
    assert len(left) <= len(head)
    assert header_priority(tunnel_field(found) + left) == found


def trace_field(octets: bytes) -> None:
    """What a client calls itself stands in a Received field and goes nowhere else."""
    helo = text(octets)
    assert not set(printable(helo)) & set('()<>"\\;,\r\n\0 ')
    head = received_head(helo, "unknown", "192.0.2.1", "mail.example.org", "ESMTP")
    field = received(head, "0123456789ABC", "", 0)
    assert field.count(b"\r\n") == 3 and field.replace(b"\r\n\t", b"").count(b"\n") == 1


def status(octets: bytes) -> None:
    """An enhanced status is printed and read again."""
    found = parse_status(text(octets))
    assert found is None or parse_status(str(found)) == found


def date(octets: bytes) -> None:
    """A date is one that others read as the same second."""
    wall_ms = int.from_bytes(octets[:8], "big") % _WALL_MS_MAX
    read = parsedate_to_datetime(print_date(wall_ms)).timestamp()
    assert read == wall_ms // 1000 == parsedate_to_datetime(date_text(wall_ms // 1000)).timestamp()


def queue_name(octets: bytes) -> None:
    """A queue id printed is read as the same, and one that is read prints as the same."""
    number = int.from_bytes(octets[:8], "big") >> 1
    assert queue_id.parse_queue_id(queue_id.print_queue_id(number)) == number
    assert queue_id.print_queue_id(queue_id.parse_queue_id(text(octets))) == text(octets).upper()


def read_report(octets: bytes) -> None:
    """A report of somebody else."""
    found = dsn.parse(octets)
    assert all("\r\n" not in value for value in found.message.values())


def write_report(octets: bytes) -> None:
    """Whatever peers said stands in a report in its place: it is read again, no line is too long, and the
    fields that a peer had no hand in say what they said."""
    said = text(octets)
    one = dsn.RecipientReport(
        _ANNA, dsn.Action.FAILED, EnhancedStatus(StatusClass.PERMANENT, Detail(1, 1)), said, said, said, said
    )
    report = dsn.Report(said, said, _ANNA, 0, 0, (one,), said, octets, len(octets) % 2 == 0, said)
    wire = dsn.compose(report)
    head, _, _ = wire.partition(b"\r\n\r\n")
    assert b"\0" not in head and head.count(b"\n") == head.count(b"\r") in (8, 9)
    if said.isprintable() and '"' not in said:
        found = dsn.parse(wire)
        assert [r["action"] for r in found.recipients] == ["failed"]
        assert found.recipients[0]["status"] == "5.1.1"
        assert found.recipients[0]["final-recipient"].endswith("anna@example.org")


def quoted(octets: bytes) -> None:
    """Quoted-printable is read by others as what it was."""
    wire = dsn.quoted_printable(octets)
    assert max(map(len, wire.split(b"\r\n"))) <= 76 and wire.isascii()
    lines = b"\r\n".join(octets.removesuffix(b"\r\n").split(b"\r\n")) + b"\r\n"
    if octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n"):
        assert quopri.decodestring(wire) == lines


def submission(octets: bytes) -> None:
    """What sendmail reads: all of it is sent, but Bcc and the dot's end; in any pieces the same."""
    found = []
    for pieces in ([octets], cuts(octets)):
        for ends_at_dot in (True, False):
            rest = iter([*filter(None, pieces), b""])
            message = read_submission(lambda rest=rest: next(rest, b""), ends_at_dot=ends_at_dot)  # type: ignore[misc]
            fields = [(field.name, field.value) for field in message.fields]
            found.append((fields, b"".join(message.pieces(b""))))
            assert all("\n" not in value for _, value in fields)
    assert found[:2] == found[2:]


def display_name(octets: bytes) -> None:
    """-F: a name stands in front of <address>, in its line."""
    shown = _display_name(text(octets))
    assert shown.isascii() and (shown.isprintable() or not shown)


def aliases(octets: bytes) -> None:
    """Any table of aliases, loops too: a bounded number of addresses, none of them one of the aliases."""
    try:
        table = json.loads(octets)
        pairs = {
            str(parse_address(str(name).encode())).lower(): tuple(
                str(parse_address(str(one).encode())) for one in targets
            )
            for name, targets in table.items()
        }
    except (ValueError, RecursionError, AttributeError, TypeError):
        return
    directory = Directory(frozenset(), pairs, domains=("example.org",), hostname="mail.example.org")
    for name in [*pairs, "nobody@example.org", "a+b@example.org"][:50]:
        found = directory.resolve(Address(*name.rsplit("@", 1)))
        if isinstance(found, ToAddresses):
            assert 0 < len(found.addresses) <= limits.ALIAS_TARGETS_MAX
            assert len(set(found.addresses)) == len(found.addresses)


_DSN: Final = dsn.compose(
    dsn.Report(
        "0123456789ABC",
        "mail.example.org",
        _ANNA,
        0,
        0,
        (
            dsn.RecipientReport(
                _ANNA,
                dsn.Action.FAILED,
                EnhancedStatus(StatusClass.PERMANENT, Detail(1, 1)),
                str(Reply(550, None, "no such user")),
            ),
        ),
        "0123456789ABC",
        b"From: a\r\nSubject: b\r\n\r\n",
    )
)
_HEAD: Final = (
    b"Received: from a\r\n\tby b\r\nMessage-ID: <a@b>\r\nBcc: c\r\n d\r\nSubject : e\r\n\r\nbody\r\n"
)
_HEADER_MAX: Final = limits.HEADER_OCTETS_MAX
_REPORT_HEAD: Final = b'Content-Type: multipart/report; boundary="b"\r\n\r\n'

MAIL: Final[dict[str, Parser]] = {
    "address": Parser(
        address,
        (AddressSyntaxError,),
        (b"anna@example.org", b'"a\\"b c"@[IPv6:2001:db8::1]', "bjørn@exämple.org".encode(), b"a%b!c@d"),
        limits.PATH_OCTETS_MAX,
        ((b"", b"@example.org"), (b"a@", b""), (b'"', b'"@b'), (b"a@[", b"]")),
        (b"\\ ",),
    ),
    "domain": Parser(
        domain,
        (AddressSyntaxError,),
        (b"example.org.", b"[192.0.2.1]"),
        limits.PATH_OCTETS_MAX,
        fragments=(b"a-", b"a."),
    ),
    "mailbox name": Parser(folder, (), (b"anna", b"..", b"", b"a/../b"), limits.PATH_OCTETS_MAX),
    "address list": Parser(
        address_list,
        (AddressSyntaxError,),
        (b'Anna <anna@example.org>, "B, C" <b@x.example> (c), team: d, <@a,@b:e@f.example>;', b"anna, bert"),
        _HEADER_MAX,
        ((b"", b""), (b'"', b'" <a@b.c>'), (b"(", b")a"), (b"<", b">"), (b"a:", b";")),
        (b"a ", b" . ", b"a,", b"<a@b.c>,", b"a:b;", b"(a)"),
    ),
    "header section": Parser(
        header,
        (),
        (_HEAD, b""),
        _HEADER_MAX,
        fragments=(b"Received: x\r\n", b"\r\nBcc", b"Bcc:\r\n ", b"bcc \t"),
    ),
    "priority of a header": Parser(
        priority,
        (),
        (b"MT-Priority: -3\r\nX-Priority: 1 (Highest)\r\n\r\nx", b"Importance:\r\n high\r\n", b""),
        _HEADER_MAX,
        ((b"", b""), (b"mt-priority: ", b"\r\n"), (b"Priority: (", b")\r\n")),
        (b"mt-priority: 9\r\n", b"priority ", b"\r\npriority:"),
    ),
    "Received field": Parser(trace_field, (), (b"mail.example.org", b"(evil)"), limits.DOMAIN_OCTETS_MAX),
    "enhanced status": Parser(
        status, (), (b"5.1.1 no", b"4.2.0"), limits.REPLY_LINE_OCTETS_MAX, fragments=(b"5.",)
    ),
    "date": Parser(date, (), (b"\0" * 8, b"\0\0\x01\x90\0\0\0\0"), 8),
    "queue id": Parser(queue_name, (ValueError,), (b"0123456789ABC", b"0123456789abc"), _HEADER_MAX),
    "report, read": Parser(
        read_report,
        (dsn.DsnSyntaxError,),
        (_DSN,),
        _HEADER_MAX,
        ((b"", b""), (_REPORT_HEAD, b""), (_DSN[:500], _DSN[500:]), (b"Content-Type: ", b"\r\n\r\n")),
        (b"\r\n--b\r\n", b"a: b\r\n c\r\n", b"--", b"\r\n\r\n"),
    ),
    "report, written": Parser(
        write_report, (), (b"550 no such user", b"a; b"), _HEADER_MAX, fragments=(b"=_", b"=_.0")
    ),
    "quoted-printable": Parser(quoted, (), (b"a = b \r\n\t\r\n", b"\xff"), _HEADER_MAX),
    "submission": Parser(
        submission,
        (Refusal,),
        (b"From: a\nBcc: b\n c\n\nbody\n.\nmore\n", b"no field\n", _HEAD),
        _HEADER_MAX,
        ((b"", b""), (b"a: b\n", b"\n\n")),
        (b"a: b\n", b"\n.", b"\n.\r", b"a: b\n c\n", b".\n"),
    ),
    "display name": Parser(display_name, (), (b"Anna B.", "Bjørn".encode(), b'"'), 131072),
    "aliases": Parser(
        aliases,
        (),
        (b'{"a@example.org": ["b@example.org", "c@x.example"], "b@example.org": ["a@example.org"]}',),
        131072,
        ((b'{"a@example.org": [', b'"b@example.org"]}'),),
        (b'"a@example.org",', b'"b@x.example",'),
    ),
}
