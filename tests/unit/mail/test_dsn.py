"""Delivery status notifications: right for programs, readable for people, harmless whatever is put in."""

import email
import email.policy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.mail.address import Address, parse_address
from cmail.mail.date import print_date
from cmail.mail.dsn import (
    LINE_MAX,
    Action,
    DsnSyntaxError,
    RecipientReport,
    Report,
    compose,
    parse,
    quoted_printable,
)
from cmail.mail.status import BAD_MAILBOX, StatusClass

HEAD = b"From: <anna@example.org>\r\nSubject: hello\r\n"
GONE = RecipientReport(
    parse_address(b"bob@example.net"),
    Action.FAILED,
    BAD_MAILBOX.with_class(StatusClass.PERMANENT),
    "no such user",
    orcpt="rfc822;bob+x@example.net",
    remote_mta="mx.example.net",
    diagnostic="550 5.1.1 no such user",
    last_attempt_ms=1_800_000_060_000,
)
REPORT = Report(
    name="0123456789ABC",
    hostname="mail.example.org",
    to=parse_address(b"anna@example.org"),
    now_ms=1_800_000_060_000,
    arrived_ms=1_800_000_000_000,
    recipients=(GONE,),
    original_id="CBA9876543210",
    original=HEAD,
    envid="QQ314159",
)


def oracle(octets: bytes):
    return email.message_from_bytes(octets, policy=email.policy.default)


def lines_are_good(octets: bytes) -> None:
    assert b"\n" not in octets.replace(b"\r\n", b"") and b"\r" not in octets.replace(b"\r\n", b"")
    assert b"\0" not in octets
    assert max(map(len, octets.split(b"\r\n"))) <= LINE_MAX


def test_a_bounce_is_a_multipart_report_of_three_parts() -> None:
    """The standard library reads what RFC 6522 and RFC 3464 ask for."""
    octets = compose(REPORT)
    lines_are_good(octets)
    message = oracle(octets)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied" and message["MIME-Version"] == "1.0"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.org>"
    assert message["To"] == "anna@example.org"
    assert not message.defects
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    groups = list(message.get_payload(1).iter_parts())  # type: ignore[union-attr]
    assert dict(groups[0].items()) == {
        "Original-Envelope-Id": "QQ314159",
        "Reporting-MTA": "dns; mail.example.org",
        "Arrival-Date": print_date(REPORT.arrived_ms),
    }
    assert dict(groups[1].items()) == {
        "Original-Recipient": "rfc822; bob+x@example.net",
        "Final-Recipient": "rfc822; bob@example.net",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": print_date(REPORT.now_ms),
    }
    assert message.get_payload(2).get_payload().encode() == HEAD  # type: ignore[union-attr]


def test_the_human_part_says_who_why_and_when() -> None:
    """Plain words for who does not read statuses."""
    text = oracle(compose(REPORT)).get_payload(0).get_content()  # type: ignore[union-attr]
    for words in ("could not be delivered", "<bob@example.net>", "no such user", "CBA9876543210"):
        assert words in text


@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_its_words(action: Action) -> None:
    """Each kind of report has a subject and an opening, and parse() reads it back."""
    told = replace(GONE, action=action, will_retry_until_ms=REPORT.now_ms + 86_400_000)
    octets = compose(replace(REPORT, recipients=(told, told)))
    lines_are_good(octets)
    report = parse(octets)
    assert [r["action"] for r in report.recipients] == [action] * 2
    assert report.recipients[0]["will-retry-until"] == print_date(told.will_retry_until_ms)
    assert report.message["reporting-mta"] == "dns; mail.example.org"
    assert report.original == HEAD


def test_a_whole_message_comes_back_octet_for_octet() -> None:
    """RET=FULL: message/rfc822, with lines that look like boundaries or dots."""
    whole = HEAD + b"\r\n.dot\r\n--=_0123456789ABC.0\r\n--\r\nend\r\n"
    octets = compose(replace(REPORT, original=whole, is_whole=True))
    assert parse(octets).original == whole
    part = oracle(octets).get_payload(2)
    assert part.get_content_type() == "message/rfc822"  # type: ignore[union-attr]


def test_a_whole_message_with_endless_lines_comes_back_as_header() -> None:
    """No line of ours is over 998 octets."""
    whole = HEAD + b"\r\n" + b"x" * 2000 + b"\r\n"
    octets = compose(replace(REPORT, original=whole, is_whole=True))
    lines_are_good(octets)
    assert parse(octets).original == HEAD


def test_a_broken_header_is_made_legal() -> None:
    """Raw octets and endless lines in the original's header go in quoted-printable (RFC 6522 §4)."""
    head = b"Subject: caf\xe9 " + b"long " * 400 + b"\r\nX: = end \r\n"
    octets = compose(replace(REPORT, original=head))
    lines_are_good(octets)
    assert octets.isascii()
    part = oracle(octets).get_payload(2)
    assert part.get_payload(decode=True) == head  # type: ignore[union-attr]


def test_addresses_beyond_ascii_make_a_global_report() -> None:
    """RFC 6533: utf-8 addresses, message/global-delivery-status, message/global-headers."""
    told = replace(GONE, final_recipient=Address("jürgen", "bücher.example"), orcpt="utf-8;jürgen@x.y")
    head = "Subject: Grüße\r\n".encode()
    octets = compose(replace(REPORT, recipients=(told,), original=head))
    lines_are_good(octets)
    message = oracle(octets)
    assert message.get_param("report-type") == "global-delivery-status"
    kinds = [part.get_content_type() for part in message.get_payload()]  # type: ignore[union-attr]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    report = parse(octets)
    assert report.recipients[0]["final-recipient"] == "utf-8; jürgen@bücher.example"
    assert report.recipients[0]["original-recipient"] == "utf-8; jürgen@x.y"


def test_an_ascii_report_stays_ascii_for_programs() -> None:
    """A peer's words beyond ASCII don't get into an ASCII delivery-status."""
    octets = compose(replace(REPORT, recipients=(replace(GONE, diagnostic="550 keinen Benützer"),)))
    assert parse(octets).recipients[0]["diagnostic-code"] == "smtp; 550 keinen Ben?tzer"


NASTY = st.text(
    st.sampled_from("a\r\n\0:;<>= \t.-\x85\u2028\ud7ffü") | st.characters(codec="utf-8"), max_size=3000
)


@given(NASTY, NASTY, NASTY, NASTY, NASTY)
def test_no_text_gets_out_of_its_line(reason, orcpt, mta, diagnostic, envid) -> None:
    """Whatever peers said: no field is added, no line too long, no bare CR or LF, always readable."""
    told = replace(GONE, reason=reason, orcpt=orcpt, remote_mta=mta, diagnostic=diagnostic)
    octets = compose(replace(REPORT, recipients=(told,), envid=envid))
    lines_are_good(octets)
    report = parse(octets)
    assert len(report.recipients) == 1
    names = {
        "original-recipient",
        "final-recipient",
        "action",
        "status",
        "remote-mta",
        "diagnostic-code",
        "last-attempt-date",
    }
    assert report.recipients[0].keys() <= names
    assert report.message.keys() <= {"original-envelope-id", "reporting-mta", "arrival-date"}
    assert report.recipients[0]["action"] == "failed"
    assert len(oracle(octets).get_payload()) == 3


@given(st.binary(max_size=600))
def test_any_original_comes_back_or_its_header_does(octets: bytes) -> None:
    """Whatever octets an original has, the report stays one of three parts."""
    plain = octets.replace(b"\0", b"").replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    for is_whole in (False, True):
        composed = compose(replace(REPORT, original=plain, is_whole=is_whole))
        lines_are_good(composed)
        assert len(parse(composed).recipients) == 1


@given(st.binary())
def test_parse_raises_its_own_error_or_reads(octets: bytes) -> None:
    """Any octets: fields, or DsnSyntaxError."""
    for tried in (octets, b'Content-Type: multipart/report; boundary="x"\r\n\r\n' + octets):
        try:
            parse(tried)
        except DsnSyntaxError:
            pass


@given(st.binary().map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"\r\n")))
def test_quoted_printable_is_read_back(octets: bytes) -> None:
    """The standard library decodes what we encode."""
    import quopri

    encoded = quoted_printable(octets)
    assert quopri.decodestring(encoded) == octets.removesuffix(b"\r\n") + b"\r\n"
    assert max(map(len, encoded.split(b"\r\n"))) <= 76
