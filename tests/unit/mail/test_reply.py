"""Replies: parse and print (RFC 5321 §4.2), enhanced status codes (RFC 3463)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.mail.reply import Reply, ReplySyntaxError, parse_reply
from cmail.mail.status import MEANINGS, EnhancedStatus, StatusClass, parse_status

GOOD = [
    ("one line", [b"250 2.1.0 Ok"], 250, "2.1.0", "Ok"),
    ("no text", [b"250"], 250, None, ""),
    ("no status", [b"354 go ahead"], 354, None, "go ahead"),
    (
        "lines",
        [b"250-mail.example.org", b"250-SIZE 1", b"250 HELP"],
        250,
        None,
        "mail.example.org\nSIZE 1\nHELP",
    ),
    ("status on each line", [b"550-5.1.1 no", b"550 5.1.1 user"], 550, "5.1.1", "no\nuser"),
    ("status of another class is text", [b"450 5.1.1 odd"], 450, None, "5.1.1 odd"),
    ("octets that are no UTF-8", [b"550 \xff\x01"], 550, None, "\ufffd?"),
]
BAD = [
    ("nothing", []),
    ("no code", [b"hello"]),
    ("code too large", [b"650 x"]),
    ("code too small", [b"150 x"]),
    ("two codes", [b"250-a", b"251 b"]),
    ("last line goes on", [b"250-a"]),
    ("first line ends", [b"250 a", b"250 b"]),
    ("bad mark", [b"250_a"]),
]


@pytest.mark.parametrize(("lines", "code", "status", "text"), [g[1:] for g in GOOD], ids=[g[0] for g in GOOD])
def test_good_replies(lines: list[bytes], code: int, status: str | None, text: str) -> None:
    """Each parses to code, status and text."""
    reply = parse_reply(lines)
    assert (reply.code, str(reply.status) if reply.status else None, reply.text) == (code, status, text)


@pytest.mark.parametrize("lines", [b[1] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_replies(lines: list[bytes]) -> None:
    """Each is refused."""
    with pytest.raises(ReplySyntaxError):
        parse_reply(lines)


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_any_lines_parse_or_are_refused(lines: list[bytes]) -> None:
    """A peer's octets never raise anything else, and never put a control character into the text."""
    try:
        reply = parse_reply(lines)
    except ReplySyntaxError:
        return
    assert all(c.isprintable() or c == "\n" for c in reply.text)


def test_printing_repeats_the_status_and_marks_lines() -> None:
    """A reply of two lines prints with the status on both, and CR in it cannot end a line."""
    status = EnhancedStatus(StatusClass.PERMANENT, parse_status("5.7.1").what)  # type: ignore[union-attr]
    assert bytes(Reply(550, status, "no\rway\nhere")) == b"550-5.7.1 no way\r\n550 5.7.1 here\r\n"
    assert str(Reply(550, status, "no\nway")) == "550 5.7.1 no way"


def test_every_registered_meaning_is_words() -> None:
    """The table of IANA's registry has words for each entry and the subjects that exist."""
    assert all(words == words.strip() and len(words) > 5 for words in MEANINGS.values())
    assert {s for s, _ in MEANINGS} == {0, 1, 2, 3, 4, 5, 6, 7}
