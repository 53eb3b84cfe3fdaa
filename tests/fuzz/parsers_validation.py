"""What Validation reads: header sections, From fields, types, bodies; and what it repairs."""

from pathlib import Path
from typing import Final

from cmail.mail.content import stuff
from cmail.mail.headers import header_of
from cmail.policy.validation.authors import UnreadableError, read_authors
from cmail.policy.validation.content_type import read_content_type
from cmail.policy.validation.examine import Examination, examine
from cmail.policy.validation.repair import repair_header
from tests.fuzz.parser import Parser, cuts

_CORPUS: Final = Path(__file__).parents[1] / "corpus" / "validation"
_CONTENT_MAX: Final = 131_072


def message(octets: bytes) -> None:
    """Whole or in pieces it is judged alike, and what is said of it is one line."""
    octets = octets.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    whole = examine(octets)
    examination = Examination()
    examination.begin(header_of(octets))
    for piece in cuts(octets):
        examination.feed(piece)
    assert {each.rule for each in examination.finish().defects} == {each.rule for each in whole.defects}
    for each in whole.defects:
        assert each.text.isprintable() and len(each.reply) <= 512


def authors(octets: bytes) -> None:
    """A From field names some addresses, or none."""
    assert read_authors(octets).count >= 0


def content_type(octets: bytes) -> None:
    """A boundary is on one line, and only multiparts have one."""
    found = read_content_type(octets)
    assert found.is_multipart or not found.boundary


def repaired(octets: bytes) -> None:
    """A repair is done once: what it has mended it finds no more."""
    header = header_of(octets.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n")
    mended = repair_header(header, author="a@example.org")
    again = repair_header(header_of(mended.octets + b"\r\n"), author="a@example.org")
    assert not again.done, again.done


def _seeds(*names: str) -> tuple[bytes, ...]:
    return tuple(stuff((_CORPUS / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")) for name in names)


_HEAD: Final = b"From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
VALIDATION: Final = {
    "message, judged": Parser(
        message,
        (),
        _seeds("outlook", "apple-mail", "nested-not-closed", "base64-part-broken", "from-missing"),
        _CONTENT_MAX,
        ((b"", b""), (_HEAD, b""), (b"From: a@b.c\r\n", b"\r\n\r\nx\r\n"), (b"From: ", b"\r\n\r\n")),
        (
            b"\r\n--b\r\n",
            b"\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
            b"a:b\r\n",
            b"\r\n--",
            b"X Y: z\r\n",
        ),
    ),
    "From field": Parser(
        authors,
        (UnreadableError,),
        (
            b"Anna <a@b.c>",
            b'"A \\" (x)" <a@b.c>, g: b@c.d;',
            b"a@[IPv6:::1] (c (d))",
            b'\x1b$B"<\x1b(B <a@b.c>',
        ),
        _CONTENT_MAX,
        ((b"", b""), (b"Anna <", b">"), (b'"', b'"'), (b"(", b") <a@b.c>")),
        (b'""', b"a@b,", b"[", b"\x1b$B", b"\\", b"<@a,", b"x:"),
    ),
    "content type": Parser(
        content_type,
        (),
        (
            b'multipart/mixed; boundary="a\\"b"',
            b"text/plain",
            b"(x) multipart/x;boundary=a",
            b"multipart/x; boundary*0=a",
        ),
        _CONTENT_MAX,
        ((b"", b""), (b"multipart/mixed; boundary=", b""), (b'multipart/mixed; boundary="', b'"')),
        (b"boundary", b" boundary ", b"; boundary=", b"\\a"),
    ),
    "header, repaired": Parser(
        repaired,
        (),
        (b"Subject: x\r\nSubject: x\r\nX Y: z\r\ntext\r\n", b"From: a\r\n b\r\nFrom: a b\r\n"),
        _CONTENT_MAX,
        ((b"", b""), (b"From: a@b.c\r\n", b"\r\n\r\n")),
        (b"To: x\r\n", b" \r\n", b"a b: c\r\n", b"\x01"),
    ),
}
