"""What sendmail reads becomes fields and body, whatever the pieces it comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.cli.exits import Refusal
from cmail.cli.submission import read_submission
from cmail.mail.limits import HEADER_OCTETS_MAX

# name: (input, without -i?, message as it is left)
MESSAGES = {
    "plain": (b"Subject: x\n\nhello\n", True, b"Subject: x\n\nhello\n"),
    "crlf": (b"Subject: x\r\n\r\nhello\r\n", True, b"Subject: x\r\n\r\nhello\r\n"),
    "dot ends it": (b"Subject: x\n\na\n.\nb\n", True, b"Subject: x\n\na\n"),
    "dot with cr": (b"Subject: x\r\n\r\na\r\n.\r\nb\r\n", True, b"Subject: x\r\n\r\na\r\n"),
    "dot with -i": (b"Subject: x\n\na\n.\nb\n", False, b"Subject: x\n\na\n.\nb\n"),
    "dot within": (b"Subject: x\n\na.\n.b\n..\n", True, b"Subject: x\n\na.\n.b\n..\n"),
    "dot at the end": (b"Subject: x\n\na\n.", True, b"Subject: x\n\na\n"),
    "dot first": (b".\nhello\n", True, b"\n"),
    "no header": (b"hello\nworld\n", True, b"\nhello\nworld\n"),
    "header without body": (b"Subject: x\n", True, b"Subject: x\n\n"),
    "no line end": (b"Subject: x", True, b"Subject: x\n\n"),
    "body in the header": (b"Subject: x\nhello\n\nb\n", True, b"Subject: x\n\nhello\n\nb\n"),
    "empty line first": (b"\nSubject: x\n", True, b"\nSubject: x\n"),
    "mbox": (b"From anna Mon\nSubject: x\n\nb\n", True, b"Subject: x\n\nb\n"),
    "bcc goes": (b"To: a\nBcc: b,\n c\nSubject: x\n\nb\n", True, b"To: a\nSubject: x\n\nb\n"),
    "nothing": (b"", True, b"\n"),
}


def _left(octets: bytes, ends_at_dot: bool, sizes: list[int]) -> bytes:
    at = 0

    def read() -> bytes:
        nonlocal at
        size = sizes.pop(0) if sizes else 65536
        at += size
        return octets[at - size : at]

    submission = read_submission(read, ends_at_dot=ends_at_dot)
    return b"".join(submission.pieces(b""))


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name: str) -> None:
    """Header and body, and where it ends."""
    octets, ends_at_dot, expected = MESSAGES[name]
    assert _left(octets, ends_at_dot, []) == expected


@pytest.mark.parametrize("name", MESSAGES)
@given(sizes=st.lists(st.integers(1, 5), max_size=40))
def test_any_pieces(name: str, sizes: list[int]) -> None:
    """A pipe may cut anywhere."""
    octets, ends_at_dot, expected = MESSAGES[name]
    assert _left(octets, ends_at_dot, sizes) == expected


def test_field_values() -> None:
    """A folded field is one line to who reads it."""
    octets = b"To: a,\n\tb\nTO : c\n\n"
    submission = read_submission(iter([octets, b""]).__next__, ends_at_dot=False)
    assert [(f.name, f.value) for f in submission.fields] == [(b"to", "a,\tb"), (b"to", "c")]


def test_endless_header_is_refused() -> None:
    """A header section has a limit; a body without one has not."""
    line = b"X: " + b"x" * 60 + b"\n"
    with pytest.raises(Refusal, match="header"):
        read_submission(iter([line] * (HEADER_OCTETS_MAX // 50)).__next__, ends_at_dot=False)
    text = b"hello world\n" * 10
    pieces = iter([text] * (HEADER_OCTETS_MAX // 100) + [b""])
    message = read_submission(pieces.__next__, ends_at_dot=False)
    assert sum(map(len, message.pieces(b""))) == len(text) * (HEADER_OCTETS_MAX // 100) + 1
