"""Header fields as octets: found in any case and folding, removed without touching the rest; loops, trace."""

import pytest

from cmail.mail.headers import count_fields, find_field, has_field, header_of, is_all_utf8, remove_fields
from cmail.mail.trace import date_text, is_looping, protocol_word, received, received_head

HEADER = b"From: a\r\nSUBJECT : one\r\n two\r\n\tthree\r\nBcc: x\r\n y\r\nX-Bcc: z\r\nbcc: w\r\nTo: subject: no\r\n"


def test_the_header_section_ends_at_the_empty_line() -> None:
    """With a body, without one, with nothing but a body."""
    assert header_of(b"A: b\r\n\r\nbody\r\n\r\n") == b"A: b\r\n"
    assert header_of(b"A: b\r\n") == b"A: b\r\n"
    assert header_of(b"\r\nbody\r\n") == b""
    assert header_of(b"") == b""


def test_fields_are_found_whatever_their_case_and_folding() -> None:
    """The first of the name counts; a name within a value does not."""
    assert find_field(HEADER, b"subject") == b"one two three"
    assert find_field(HEADER, b"from") == b"a"
    assert find_field(HEADER, b"sub") is None
    assert has_field(HEADER, b"bcc") and not has_field(HEADER, b"cc")
    assert count_fields(HEADER, b"bcc") == 2


def test_fields_are_removed_and_the_rest_stays() -> None:
    """Folded lines go with their field, and a look-alike stays."""
    assert remove_fields(HEADER, b"bcc") == (
        b"From: a\r\nSUBJECT : one\r\n two\r\n\tthree\r\nX-Bcc: z\r\nTo: subject: no\r\n"
    )
    assert remove_fields(b"Bcc: x\r\n", b"bcc") == b""
    assert remove_fields(HEADER, b"date") == HEADER


@pytest.mark.parametrize("count, is_loop", [(0, False), (100, False), (101, True)])
def test_more_than_a_hundred_received_fields_are_a_loop(count: int, is_loop: bool) -> None:
    """RFC 5321 §6.3; other fields and folded lines don't count."""
    header = b"Received: from x\r\n\tby y\r\n" * count + b"X: y\r\n" * 200
    assert is_looping(header) is is_loop


def test_a_received_field_says_all_and_cannot_be_broken() -> None:
    """From, by, with, id, for, date; what a HELO name could do to a comment is a question mark."""
    head = received_head("evil) (x;\\", "unknown", "2001:db8::1", "mx.example.org", "ESMTPS")
    assert received(head, "0ABC", "anna@example.org", 1_800_000_000_000) == (
        b"Received: from evil???x?? (unknown [IPv6:2001:db8::1])\r\n"
        b"\tby mx.example.org with ESMTPS id 0ABC\r\n"
        b"\tfor <anna@example.org>;\r\n"
        b"\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
    )
    assert b"for" not in received("x", "0ABC", "", 0)
    assert received("x", "0ABC", "", 0, -9).partition(b";")[0] == b"x0ABC\r\n\tPRIORITY -9"
    assert date_text(0) == "Thu, 1 Jan 1970 00:00:00 +0000"


PROTOCOLS = {
    "SMTP": (False, False, False, False, False),
    "ESMTP": (False, True, False, False, False),
    "ESMTPS": (False, True, True, False, False),
    "ESMTPSA": (False, True, True, True, False),
    "ESMTPA": (False, True, False, True, False),
    "UTF8SMTPSA": (False, True, True, True, True),
    "LMTP": (True, True, False, False, False),
    "LMTPS": (True, True, True, False, False),
    "UTF8LMTP": (True, True, False, False, True),
}


@pytest.mark.parametrize("word, given", PROTOCOLS.items())
def test_with_protocol_words(word: str, given: tuple[bool, ...]) -> None:
    """RFC 3848 and RFC 6531 §4.3."""
    names = ("is_lmtp", "is_extended", "is_tls", "is_authenticated", "is_utf8")
    assert protocol_word(**dict(zip(names, given, strict=True))) == word


@pytest.mark.parametrize(
    ("octets", "is_utf8"),
    [
        (b"", True),
        (b"plain", True),
        ("Zoë".encode(), True),
        ("Zoë".encode("latin-1"), False),
        (b"\xc3", False),
    ],
)
def test_octets_are_all_utf8_or_not(octets: bytes, is_utf8: bool) -> None:
    """One octet that is not makes all of it something else."""
    assert is_all_utf8(octets) is is_utf8
