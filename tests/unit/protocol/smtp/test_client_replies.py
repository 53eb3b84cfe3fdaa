"""Replies are cut out of the stream whole, and what is none ends the reading."""

import pytest

from cmail.mail.limits import REPLY_KEPT_OCTETS_MAX, REPLY_LINE_OCTETS_MAX, REPLY_LINES_MAX
from cmail.protocol.smtp.client_replies import Replies, read_reply


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"250 ok\r\n", [b"250 ok"]),
        (b"250\r\n", [b"250"]),
        (b"250-a\r\n250-b\r\n250 c\r\n354 d\r\n", [b"250-a\n250-b\n250 c", b"354 d"]),
        (b"250-a\r\n250\r\n", [b"250-a\n250"]),
        (b"220 \xff\xfe\r\n", [b"220 \xff\xfe"]),
    ],
)
def test_replies_are_cut_out(octets: bytes, expected: list[bytes]) -> None:
    """One line, several lines, nothing but the code, octets that are no UTF-8; cut anywhere."""
    whole, single = Replies(), Replies()
    assert whole.feed(octets) == expected
    assert [r for i in range(len(octets)) for r in single.feed(octets[i : i + 1])] == expected
    assert not whole.error and not single.error and whole.is_clean
    assert all(read_reply(raw).code >= 200 for raw in expected)


@pytest.mark.parametrize(
    ("name", "octets", "good"),
    [
        ("words", b"hello there\r\n", 0),
        ("after a good one", b"250 ok\r\nhello\r\n", 1),
        ("a code of two digits", b"25 ok\r\n", 0),
        ("a code of 1yz", b"150 ok\r\n", 0),
        ("a code of 6yz", b"650 ok\r\n", 0),
        ("no blank behind the code", b"250ok\r\n", 0),
        ("other code in the second line", b"250-a\r\n251 b\r\n", 0),
        ("bare LF", b"250 a\n250 b\r\n", 0),
        ("bare LF, no end", b"250 a\n", 0),
        ("empty line", b"\r\n", 0),
        ("line without end", b"250 " + b"x" * REPLY_LINE_OCTETS_MAX, 0),
        ("line too long", b"250 " + b"x" * REPLY_LINE_OCTETS_MAX + b"\r\n", 0),
        ("reply without end", b"250-x\r\n" * (REPLY_LINES_MAX + 1), 0),
    ],
)
def test_what_is_no_reply_ends_the_reading(name: str, octets: bytes, good: int) -> None:
    """The good ones before it are given; nothing after it is read."""
    replies = Replies()
    assert len(replies.feed(octets)) == good
    assert replies.error, name
    assert replies.feed(b"250 ok\r\n") == []


@pytest.mark.parametrize("lines", [1, 3, 199])
def test_long_reply_is_kept_in_part(lines: int) -> None:
    """What a peer says goes into log, memory and spool for each recipient: a screen full of it is enough."""
    raw = b"\n".join([b"550-" + b"x" * 2000] * (lines - 1) + [b"550 " + b"x" * 2000])
    assert Replies().feed(raw.replace(b"\n", b"\r\n") + b"\r\n") == [raw]
    assert read_reply(raw).code == 550 and len(str(read_reply(raw))) < REPLY_KEPT_OCTETS_MAX + 100
    assert len(read_reply(raw, is_whole=True).text) == lines * 2001 - 1
