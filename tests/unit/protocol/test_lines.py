"""Lines in a buffer: CRLF alone ends one, and too long is too long however it comes."""

import pytest

from cmail.protocol.lines import BARE_LF, NEED_MORE, TOO_LONG, find_line_end, skip_line

ROWS = {
    "whole": (b"abc\r\ndef", 3),
    "not yet": (b"abc", NEED_MORE),
    "cr only": (b"abc\r", NEED_MORE),
    "bare lf": (b"abc\ndef\r\n", BARE_LF),
    "lf first": (b"\nabc\r\n", BARE_LF),
    "empty": (b"\r\n", 0),
    "bare cr within": (b"a\rb\r\n", 3),
    "just fits": (b"x" * 10 + b"\r\n", 10),
    "may fit yet": (b"x" * 10 + b"\r", NEED_MORE),
    "one too long": (b"x" * 11 + b"\r\n", TOO_LONG),
    "too long, no end": (b"x" * 11, TOO_LONG),
    "too long before a bare lf": (b"x" * 11 + b"\n", TOO_LONG),
    "bare lf at the limit": (b"x" * 10 + b"\n", BARE_LF),
}


@pytest.mark.parametrize("data, end", ROWS.values(), ids=ROWS.keys())
def test_where_a_line_ends(data: bytes, end: int) -> None:
    """Each row with a limit of ten octets; also when it does not begin the buffer."""
    assert find_line_end(data, 0, 10) == end
    assert find_line_end(b"\n.." + data, 3, 10) == (end + 3 if end >= 0 else end)


def test_a_line_is_skipped_up_to_its_crlf() -> None:
    """A bare LF does not end it."""
    assert skip_line(b"a\nb\r\nc", 0) == 5
    assert skip_line(b"a\nb\r", 0) == NEED_MORE
