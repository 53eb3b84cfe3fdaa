"""MAIL and RCPT as values, and what is refused of them; EHLO keywords."""

import pytest

from cmail.mail.address import Address
from cmail.mail.envelope import Notify, Recipient
from cmail.protocol.smtp.commands import CommandError, Mail, parse_auth, parse_bdat, parse_mail, parse_rcpt
from cmail.protocol.smtp.extensions import ehlo_reply, offers
from cmail.protocol.smtp.grammar import GrammarError, decode_xtext

ANNA = Address("anna", "example.org")
MAILS = {
    b"MAIL FROM:<>": Mail(None),
    b"mail from:<anna@example.org>": Mail(ANNA),
    b"MAIL FROM:<anna>": Mail(ANNA),
    b"MAIL FROM:<@a.example,@b.example:anna@example.org>": Mail(ANNA),
    b"MAIL FROM:<@[IPv6:2001:db8::1],@b.example:anna@example.org>": Mail(ANNA),
    b"MAIL FROM:<anna@example.org>  SIZE=12  body=8bitmime": Mail(ANNA, 12, True),
    b"MAIL FROM:<anna@example.org> SMTPUTF8 RET=full ENVID=a+2Bb": Mail(ANNA, 0, False, True, "FULL", "a+b"),
    b'MAIL FROM:<"a>b"@example.org> SIZE=1': Mail(Address('"a>b"', "example.org"), 1),
    b"MAIL FROM:<anna@example.org> AUTH=<>": Mail(ANNA),
    b"MAIL FROM:<anna@example.org> AUTH=e+3Dmc2@example.com": Mail(ANNA),
}
BAD_MAILS = {
    b"MAIL": b"501 5.5.4",
    b"MAIL FROM": b"501 5.5.4",
    b"MAIL TO:<a@b>": b"501 5.5.4",
    b"MAIL FROM:": b"501 5.5.4",
    b"MAIL FROM:<a@b> SMTPUTF8=1": b"501 5.5.4",
    b"MAIL FROM:<a@b> SIZE": b"501 5.5.4",
    b"MAIL FROM:<a@b> SIZE=" + b"9" * 21: b"501 5.5.4",
    b"MAIL FROM:<a@b> SIZE=1\tBODY=7BIT": b"501 5.5.4",
    b"MAIL FROM:<a@b> ENVID=" + b"x" * 101: b"501 5.5.4",
    b"MAIL FROM:<a@b> ENVID=a+zz": b"501 5.5.4",
    b"MAIL FROM:<a@b> " + b" ".join(b"X%d=1" % n for n in range(30)): b"501 5.5.4",
    b"MAIL FROM:<a@b> TRANSID=10": b"555 5.5.4",
    b"MAIL FROM:<a b@c>": b"553 5.1.7",
    b"MAIL FROM:<@a.example>": b"553 5.1.7",
    b"MAIL FROM:<@a.example,b.example:a@c>": b"553 5.1.7",
    b"MAIL FROM:<@a@b.example:a@c>": b"553 5.1.7",
    b"MAIL FROM:<@:a@c>": b"553 5.1.7",
    b"MAIL FROM:<a@b\0>": b"500 5.5.2",
}
RCPTS = {
    b"RCPT TO:<anna>": Recipient(ANNA),
    b"RCPT TO:<postmaster>": Recipient(Address("postmaster", "example.org")),
    b"RCPT TO:<anna@example.org> notify=success,failure": Recipient(
        ANNA, "", Notify.SUCCESS | Notify.FAILURE
    ),
    b"RCPT TO:<anna@example.org> NOTIFY=NEVER": Recipient(ANNA, "", Notify.NEVER),
    b"RCPT TO:<anna@example.org> ORCPT=RFC822;a+2Bb@example.net": Recipient(ANNA, "rfc822;a+b@example.net"),
}
BAD_RCPTS = {
    b"RCPT TO:<>": b"553 5.1.3",
    b"RCPT TO:<anna@example.org> NOTIFY=": b"501 5.5.4",
    b"RCPT TO:<anna@example.org> NOTIFY=NEVER,DELAY": b"501 5.5.4",
    b"RCPT TO:<anna@example.org> ORCPT=rfc822;a+0Ab": b"501 5.5.4",
    b"RCPT TO:<anna@example.org> ORCPT=;a": b"501 5.5.4",
    b"RCPT TO:<anna@example.org> RET=FULL": b"555 5.5.4",
}


@pytest.mark.parametrize("line", MAILS, ids=repr)
def test_mail_is_read(line: bytes) -> None:
    """Each form gives its value."""
    assert parse_mail(line, "example.org") == MAILS[line]


@pytest.mark.parametrize("line", RCPTS, ids=repr)
def test_rcpt_is_read(line: bytes) -> None:
    """Each form gives its value."""
    assert parse_rcpt(line, "example.org").recipient == RCPTS[line]


@pytest.mark.parametrize("line, reply", [*BAD_MAILS.items(), *BAD_RCPTS.items()], ids=lambda v: repr(v)[:60])
def test_what_is_wrong_is_said(line: bytes, reply: bytes) -> None:
    """Each has its code; the reply is one line whatever the client put into it."""
    with pytest.raises(CommandError) as caught:
        (parse_mail if line.startswith(b"MAIL") else parse_rcpt)(line, "example.org")
    assert caught.value.reply.startswith(reply) and caught.value.reply.count(b"\r\n") == 1


@pytest.mark.parametrize(
    "line", [b"BDAT", b"BDAT -1", b"BDAT 1 FIRST", b"BDAT 1 LAST x", b"BDAT " + b"9" * 21, b"BDATA 1"]
)
def test_a_chunk_of_unknown_length_is_refused(line: bytes) -> None:
    """What is no number of octets, or says more than LAST."""
    with pytest.raises(CommandError):
        parse_bdat(line)


def test_an_initial_response_may_be_empty_or_absent() -> None:
    """= is empty (RFC 4954 §4)."""
    assert parse_auth(b"AUTH plain").initial is None
    assert parse_auth(b"AUTH PLAIN =").initial == b""
    assert parse_auth(b"AUTH PLAIN AGE=").initial == b"\0a"


@pytest.mark.parametrize(
    "octets", [b"a=b", b"a+b", b"a+0A", b"a b", b"+C3", b"+E2+80+A8", b"+C2+85"], ids=repr
)
def test_xtext_that_is_none(octets: bytes) -> None:
    """Nothing that could end a line comes out (rule 17)."""
    with pytest.raises(GrammarError):
        decode_xtext(octets)


def test_the_reply_to_ehlo() -> None:
    """A keyword a line, the last without a dash."""
    keywords = offers(100, is_starttls=True, mechanisms=("PLAIN", "LOGIN"))
    lines = ehlo_reply("mx.example.org", keywords).split(b"\r\n")
    assert lines[0] == b"250-mx.example.org" and lines[-2:] == [b"250 AUTH PLAIN LOGIN", b""]
    assert b"250-SIZE 100" in lines and b"250-STARTTLS" in lines
    assert not {"STARTTLS", "AUTH"} & set(offers(100, is_starttls=False, mechanisms=()))
