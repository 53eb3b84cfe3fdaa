"""Content: wire form and plain form are two sides of the same octets (RFC 5321 §4.5.2)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.mail.content import Unstuffer, from_plain, from_wire, normalize, stuff, unstuff

octets_with_dots = st.lists(st.sampled_from([b".", b"\r\n", b"a", b"..", b"\r\n."]), max_size=12).map(
    b"".join
)

LINE_ENDS = [
    ("LF", b"a\nb\n", b"a\r\nb\r\n"),
    ("CRLF", b"a\r\nb\r\n", b"a\r\nb\r\n"),
    ("bare CR", b"a\rb", b"a\r\nb\r\n"),
    ("no last end", b"a", b"a\r\n"),
    ("NUL goes", b"a\0b\n", b"ab\r\n"),
    ("empty", b"", b""),
    ("CR CR LF", b"a\r\r\nb\n", b"a\r\n\r\nb\r\n"),
]


@pytest.mark.parametrize(("given_", "made"), [r[1:] for r in LINE_ENDS], ids=[r[0] for r in LINE_ENDS])
def test_line_ends_become_crlf(given_: bytes, made: bytes) -> None:
    """Whatever the line ends were, the wire sees CRLF and a last line that ends."""
    assert normalize(given_) == made


@given(octets_with_dots)
def test_stuffing_is_undone(plain: bytes) -> None:
    """unstuff(stuff(x)) is x, and what is stuffed has no line that is a lone dot."""
    wire = stuff(plain)
    assert unstuff(wire) == plain
    assert b"\r\n.\r\n" not in b"\r\n" + wire + b"\r\n"


@given(octets_with_dots, st.lists(st.integers(0, 30), max_size=6))
def test_unstuffing_in_pieces_is_unstuffing_whole(plain: bytes, cuts: list[int]) -> None:
    """Any cuts give the same octets."""
    wire = stuff(plain)
    places = sorted({0, len(wire), *(min(c, len(wire)) for c in cuts)})
    unstuffer = Unstuffer()
    pieces = [unstuffer.feed(wire[a:b]) for a, b in pairwise(places)]
    assert b"".join(pieces) + unstuffer.finish() == plain


@given(st.binary(max_size=60))
def test_plain_octets_cannot_smuggle(octets: bytes) -> None:
    """Content of our own making never ends early on the wire and has no bare CR, LF or NUL."""
    wire = from_plain(octets).wire()
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    bare = wire.replace(b"\r\n", b"")
    assert not (b"\r" in bare or b"\n" in bare or b"\0" in wire)


def test_sizes_count_plain_octets() -> None:
    """A doubled dot counts once; the prefix counts."""
    content = from_wire(b"..a\r\n..\r\n", prefix=b"X: y\r\n")
    assert content.size_bytes == len(b"X: y\r\n.a\r\n.\r\n")
    assert content.plain() == b"X: y\r\n.a\r\n.\r\n"
    assert content.wire() == b"X: y\r\n..a\r\n..\r\n"


def test_eight_bit_content_is_known() -> None:
    """has_8bit tells whether 8BITMIME is needed at the next hop (RFC 6152)."""
    assert from_plain("ä\n".encode()).has_8bit
    assert not from_plain(b"a\n").has_8bit
