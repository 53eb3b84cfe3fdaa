"""What the methods can say and what the answers mean: every reply of the standards, and those of bad servers."""

import pytest

from cmail.link.kicks.atrn import judge_atrn
from cmail.link.kicks.etrn import judge_etrn, wants_queue_name
from cmail.link.kicks.target import Verdict, is_one_line, shown
from cmail.link.kicks.texts import atrn_line, etrn_argument, unescape
from cmail.mail.reply import parse_reply

SENT, NOTHING, NOT_NOW, REFUSED = Verdict.SENT, Verdict.NOTHING, Verdict.NOT_NOW, Verdict.REFUSED

ETRN = [
    (b"250 OK, queuing for node example.org started", SENT),
    (b"250 2.0.0 Queuing started", SENT),  # Postfix
    (b"251 OK, no messages waiting for node example.org", NOTHING),
    (b"252 OK, pending messages for node example.org started", SENT),
    (b"253 OK, 14 pending messages for node example.org started", SENT),
    (b"254 whatever", SENT),
    (b"421 going down", NOT_NOW),
    (b"450 later", NOT_NOW),
    (b"453 You have no mail", NOTHING),
    (b"458 Unable to queue messages for node example.org", NOT_NOW),
    (b"458 4.3.0 Unable to queue messages", NOT_NOW),
    (b"458 Already processing #example.org", SENT),  # Exim
    (b"458 Administrative prohibition", REFUSED),  # Exim again
    (b"459 Node example.org not allowed: ask us first", REFUSED),
    (b"459 <example.org>: service unavailable", REFUSED),  # Postfix: not in fast_flush_domains
    (b"500 Syntax Error", REFUSED),
    (b"501 Syntax Error in Parameters", REFUSED),
    (b"502 5.5.1 Error: command not implemented", REFUSED),
    (b"503 5.5.1 Error: send HELO/EHLO first", REFUSED),
    (b"530 5.7.0 Must issue a STARTTLS command first", REFUSED),
    (b"550 administrative prohibition", REFUSED),
    (b"354 what?", REFUSED),
]
ATRN = [
    (b"250 OK now reversing the connection", SENT),
    (b"251 hm", REFUSED),
    (b"421 going down", NOT_NOW),
    (b"450 ATRN request refused", NOT_NOW),
    (b"451 Unable to process ATRN request now", NOT_NOW),
    (b"453 You have no mail", NOTHING),
    (b"500 what?", REFUSED),
    (b"502 Command not implemented", REFUSED),
    (b"530 Authentication required", REFUSED),
    (b"550 no", REFUSED),
]


@pytest.mark.parametrize(("reply", "verdict"), ETRN)
def test_replies_to_etrn(reply: bytes, verdict: Verdict) -> None:
    """RFC 1985 §5, and what Postfix, Exim and Sendmail make of it; each has words."""
    found, words = judge_etrn(parse_reply([reply]))
    assert found is verdict and words


@pytest.mark.parametrize(("reply", "verdict"), ATRN)
def test_replies_to_atrn(reply: bytes, verdict: Verdict) -> None:
    """RFC 2645 §7; a connection is turned round by 250 alone."""
    found, words = judge_atrn(parse_reply([reply]))
    assert found is verdict and words


@pytest.mark.parametrize(
    ("reply", "argument", "is_wanted"),
    [
        (b"501 argument must begin with #", "example.org", True),
        (b"501 5.5.4 Argument must begin with #", "@example.org", True),
        (b"501 argument must begin with #", "#example.org", False),
        (b"501 Syntax Error in Parameters", "example.org", False),
        (b"550 argument must begin with #", "example.org", False),
    ],
)
def test_who_wants_the_name_of_a_queue(reply: bytes, argument: str, is_wanted: bool) -> None:
    """Then #example.org is said, once."""
    assert wants_queue_name(parse_reply([reply]), argument) is is_wanted


def test_the_forms_of_etrn() -> None:
    """A domain, it and all below it, a queue by name; nothing that would be two arguments or two lines."""
    for text in ("example.org", "@example.org", "#office", "#/^.*example[.]org$/"):
        assert etrn_argument(text) == text
    for text in ("", "@", "#", "a b", "a\r\nQUIT", "ü.example", "x" * 401):
        with pytest.raises(ValueError):
            etrn_argument(text)


def test_the_forms_of_atrn() -> None:
    """One domain, several, or none: all that is kept for who has logged in."""
    assert atrn_line("Example.ORG") == b"ATRN example.org\r\n"
    assert atrn_line("example.org, example.net") == b"ATRN example.org,example.net\r\n"
    assert atrn_line("*") == b"ATRN\r\n"
    for text in ("", "a b", "a.example,,b.example", "a\r\nQUIT", "ü.example", ",".join(["x" * 60] * 9)):
        with pytest.raises(ValueError):
            atrn_line(text)


def test_the_text_of_string() -> None:
    r"""As it stands, with a line end; \r, \n, \t and \\ stand for what a setting cannot hold."""
    assert unescape("QSND example.org") == b"QSND example.org\r\n"
    assert unescape(r"HELO me\r\nQSND\r\n") == b"HELO me\r\nQSND\r\n"
    assert unescape(r"unix\n") == b"unix\n"
    assert unescape(r"a\tb\\n") == b"a\tb\\n\r\n"
    for text in ("", r"\x00", "end\\", "a\nb", "ü"):
        with pytest.raises(ValueError):
            unescape(text)


def test_what_is_shown_prints() -> None:
    """One line, bounded, and nothing in it that a terminal or a log would obey (rule 17)."""
    assert shown(b"a\r\n\x1b[2Jb\xff") == "a ?[2Jb\N{REPLACEMENT CHARACTER}"
    assert len(shown(b"x" * 10**6)) < 210 and shown(b" \r\n") == "nothing"
    assert not is_one_line("") and not is_one_line("a\x7f") and is_one_line("a b")
