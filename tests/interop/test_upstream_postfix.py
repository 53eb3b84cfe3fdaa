"""Out through a real Postfix (TLS, log-in, refusals, octets, DSN), and in from one that relays to us."""

import os
import shutil
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
import trustme

from tests.support.dovecot_server import DovecotServer
from tests.support.house import RunningCmail, reachable, wait_for
from tests.support.postfix_server import PostfixServer

pytestmark = pytest.mark.needs("postfix", "root")

ANNA: Final = "anna@example.org"
HEAD: Final = (
    b"From: Anna <anna@example.org>\r\nTo: anna@example.net\r\n"
    b"Date: Mon, 5 Oct 2026 10:00:00 +0200\r\nMessage-ID: <1@example.org>\r\n"  # or Postfix adds them
    b"Subject:   kept   as it is \r\nX-Folded: one\r\n\ttwo\r\nx-Odd-CASE:none\r\n"
)


def smarthost(postfix: PostfixServer, more: str = "") -> str:
    """Settings that send through it."""
    return f'[smtp]\nhost = "127.0.0.1"\nport = {postfix.port}\n{more}'


def send(cmail: RunningCmail, to: list[str], content: bytes, **options: list[str]) -> None:
    """One message from anna, handed over on loopback."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        assert client.sendmail(ANNA, to, content, **options) == {}  # type: ignore[arg-type]


# name -> the body; with the header it must arrive octet for octet
BODIES: Final = {
    "8-bit": "Grüße, Ἀθῆναι\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    "dots": b".\r\n..\r\n...three\r\n.one\r\n\r\n.\r\n",
    "long lines": b"x" * 998 + b"\r\n" + b"." * 998 + b"\r\n",
    "no body": b"",
    "blanks": b" \r\n\t\r\n\r\n\r\ntrailing \t \r\n\r\n\r\n",
    "large": b"".join(b".%05d %s\r\n" % (n, b"y" * 60) for n in range(6000)),
}


@pytest.fixture(scope="module")
def through_postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningCmail, PostfixServer]]:
    """A server whose smarthost is a Postfix that takes mail for anna@ and bert@example.net."""
    with PostfixServer(
        {
            "smtpd_recipient_restrictions": "check_recipient_access inline:{"
            " {nobody@example.net = 550 5.1.1 no such person}, {refused@example.net = 550 5.7.1 not for you},"
            " {grey@example.net = 450 4.2.0 greylisted, come again} }, permit_mynetworks, reject",
            "smtpd_delay_reject": "yes",
            "relayhost": "[127.0.0.1]:9",
            "virtual_mailbox_maps": "inline:{ anna@example.net=anna, bert@example.net=bert,"
            " grey@example.net=grey }",
        }
    ) as postfix:
        with RunningCmail(tmp_path_factory.mktemp("house"), more=smarthost(postfix)) as cmail:
            postfix.change("[127.0.0.1]:9", f"[127.0.0.1]:{cmail.port('smtp')}")
            yield cmail, postfix


@pytest.mark.parametrize("name", BODIES)
def test_octet_for_octet(through_postfix: tuple[RunningCmail, PostfixServer], name: str) -> None:
    """What is relayed is the same octets below our Received field, whatever they are."""
    cmail, postfix = through_postfix
    mark = f"X-Mark: {name}\r\n".encode()
    content = mark + HEAD + b"\r\n" + BODIES[name]
    send(cmail, ["anna@example.net"], content, mail_options=["BODY=8BITMIME"])
    mbox = postfix.wait_for("anna", mark[:-2] + b"\n")
    expected = content.replace(b"\r\n", b"\n") + b"\n"  # Postfix ends an entry of an mbox with an empty line
    wait_for(lambda: postfix.mbox("anna").endswith(expected), f"the octets:\n{mbox[-2000:]!r}")


def test_smtputf8(through_postfix: tuple[RunningCmail, PostfixServer]) -> None:
    """An SMTPUTF8 envelope goes on to a server that offers it, unchanged."""
    cmail, postfix = through_postfix
    content = "X-Mark: utf8\r\nFrom: <jürgen@example.org>\r\nSubject: Grüße\r\n\r\nhi\r\n".encode()
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.ehlo()
        client.sendmail("jürgen@example.org", ["bert@example.net"], content, ["SMTPUTF8", "BODY=8BITMIME"])
    mbox = postfix.wait_for("bert", b"X-Mark: utf8\n")
    assert "Return-Path: <jürgen@example.org>".encode() in mbox and "Subject: Grüße\n".encode() in mbox


def test_one_of_two_refused(through_postfix: tuple[RunningCmail, PostfixServer]) -> None:
    """A 550 to one of two: the other gets it, and one RFC 3464 bounce with the header alone comes back."""
    cmail, postfix = through_postfix
    content = b"X-Mark: two\r\n" + HEAD + b"\r\nSECRET BODY\r\n"
    send(cmail, ["nobody@example.net", "anna@example.net"], content)
    postfix.wait_for("anna", b"X-Mark: two\n")

    def bounces() -> list[bytes]:
        return [text for text in cmail.mailbox(ANNA) if b"X-Mark: two\n" in text]

    wait_for(bounces, "the bounce")
    wait_for(lambda: not cmail.queue(), "an empty queue")
    [bounce] = bounces()
    assert bounce.startswith(b"Return-Path: <>\nDelivered-To: anna@example.org\n")
    for field in (
        b"Content-Type: multipart/report; report-type=delivery-status",
        b"Final-Recipient: rfc822; nobody@example.net\nAction: failed\nStatus: 5.1.1\n",
        b"Remote-MTA: dns; ",
        b"Diagnostic-Code: smtp; 550 5.1.1 <nobody@example.net>",
        b"Content-Type: text/rfc822-headers",
        b"X-Folded: one\n\ttwo\nx-Odd-CASE:none\n",
    ):
        assert field in bounce, bounce.decode()
    assert b"anna@example.net\nAction" not in bounce and b"SECRET" not in bounce


def test_greylisted(through_postfix: tuple[RunningCmail, PostfixServer]) -> None:
    """A 450: it waits with the reason, nobody is told; after `cmail queue flush` it is delivered."""
    cmail, postfix = through_postfix
    send(cmail, ["grey@example.net"], b"From: <a@example.net>\r\nX-Mark: grey\r\n\r\nhello\r\n")
    [row] = wait_for(lambda: [row for row in cmail.queue() if row["reason"]], "a reason")
    assert row["state"] == "queued" and row["attempts"] == 1 and "greylisted" in row["reason"]
    # A session of Postfix knows but the settings that it began with: let the kept connection end.
    wait_for(lambda: postfix.log.count(": connect from") == postfix.log.count(": disconnect from"), "its end")
    postfix.change("450 4.2.0 greylisted, come again", "OK")
    assert flush(cmail)
    postfix.wait_for("grey", b"X-Mark: grey\n")
    wait_for(lambda: not cmail.queue(), "an empty queue")
    assert not [text for text in cmail.mailbox(ANNA) if b"X-Mark: grey" in text]


def test_dsn_is_passed_on(through_postfix: tuple[RunningCmail, PostfixServer]) -> None:
    """'DSN parameters', 'success DSN when asked': NOTIFY, ORCPT, RET and ENVID go on to a Postfix that knows
    them; its report of success, with our ENVID and ORCPT, is the only one."""
    cmail, postfix = through_postfix
    rcpt = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Anna+2BX@example.net"]
    content = b"From: <a@example.net>\r\nX-Mark: dsn\r\nSubject: dsn\r\n\r\nhello\r\n"
    send(cmail, ["anna@example.net"], content, mail_options=["RET=HDRS", "ENVID=QQ+2B314"], rcpt_options=rcpt)
    postfix.wait_for("anna", b"X-Mark: dsn\n")

    def reports() -> list[bytes]:
        return [text for text in cmail.mailbox(ANNA) if b"\nOriginal-Envelope-Id: QQ+314\n" in text]

    wait_for(reports, f"the report:\n{postfix.log[-3000:]}")
    wait_for(lambda: not cmail.queue(), "an empty queue")
    [report] = reports()
    assert b"Reporting-MTA: dns; upstream.example.net\n" in report and b"\nAction: delivered\n" in report
    assert b"\nOriginal-Recipient: rfc822;Anna+X@example.net\n" in report


def test_no_line_end_at_the_end(through_postfix: tuple[RunningCmail, PostfixServer]) -> None:
    """Content by BDAT whose last line has no end is given one where DATA needs it, and nothing else."""
    cmail, postfix = through_postfix
    content = b"X-Mark: open\r\n" + HEAD + b"\r\nfirst\r\n.last, without an end"
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.ehlo()
        client.mail(ANNA)
        client.rcpt("bert@example.net")
        client.send(b"BDAT %d LAST\r\n%s" % (len(content), content))
        assert client.getreply()[0] == 250
    postfix.wait_for("bert", content.replace(b"\r\n", b"\n") + b"\n\n")


@contextmanager
def certified(folder: Path) -> Iterator[tuple[dict[str, str], Path, Path]]:
    """Postfix settings for TLS with a certificate for 127.0.0.1; who signed it; and a stranger."""
    place = reachable(folder)
    authority, stranger = trustme.CA(), trustme.CA()
    authority.issue_cert("127.0.0.1", "upstream.example.net").private_key_and_cert_chain_pem.write_to_path(
        place / "server.pem"
    )
    for name, ca in (("ca.pem", authority), ("stranger.pem", stranger)):
        ca.cert_pem.write_to_path(place / name)
        (place / name).chmod(0o644)
    yield (
        {
            "smtpd_tls_chain_files": str(place / "server.pem"),
            "smtpd_tls_security_level": "encrypt",
            "smtpd_tls_received_header": "yes",
        },
        place / "ca.pem",
        place / "stranger.pem",
    )


def test_starttls_required_and_verified(tmp_path: Path) -> None:
    """tls = "required": with the right authority it goes, encrypted; with a stranger's it waits, said
    loudly, and is no bounce."""
    with certified(tmp_path) as (tls, ca, stranger), PostfixServer(tls) as postfix:
        settings = smarthost(postfix, f'tls = "required"\n[tls]\nca_file = "{stranger}"\n')
        with RunningCmail(tmp_path, more=settings) as cmail:
            send(cmail, ["anna@example.net"], b"From: <a@example.net>\r\nX-Mark: tls\r\n\r\nhello\r\n")
            [row] = wait_for(lambda: [row for row in cmail.queue() if row["reason"]], "a reason")
            assert "certificate" in row["reason"] and cmail.wait_for_log("warning: ")
            assert postfix.mbox("anna") == b"" and cmail.mailbox(ANNA) == []
            cmail.config.write_text(cmail.config.read_text().replace(str(stranger), str(ca)))
            cmail.hang_up()
            wait_for(lambda: flush(cmail) and postfix.mbox("anna"), "it after the right authority")
        assert b"(using TLSv1.3 with cipher" in postfix.mbox("anna")


def flush(cmail: RunningCmail) -> bool:
    """`cmail queue flush`."""
    command = [sys.executable, "-m", "cmail", "queue", "flush", "--config", str(cmail.config)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_opportunistic_verifies_nothing(tmp_path: Path) -> None:
    """tls = "opportunistic": whoever signed its certificate, the mail goes, and goes encrypted."""
    with certified(tmp_path) as (tls, _, stranger), PostfixServer(tls) as postfix:
        more = smarthost(postfix, f'tls = "opportunistic"\n[tls]\nca_file = "{stranger}"\n')
        with RunningCmail(tmp_path, more=more) as cmail:
            send(cmail, ["anna@example.net"], b"From: <a@example.net>\r\nX-Mark: tls\r\n\r\nhello\r\n")
            assert b"(using TLSv1.3 with cipher" in postfix.wait_for("anna", b"X-Mark: tls\n")


@pytest.mark.needs("dovecot")
@pytest.mark.parametrize("mechanisms", ["plain", "login", "scram-sha-256", "plain login scram-sha-256"])
def test_log_in_upstream(tmp_path: Path, mechanisms: str) -> None:
    """'AUTH PLAIN/LOGIN/SCRAM with the password in a file': Postfix with Dovecot's log-in lets us in by each;
    the password is in no log."""
    with ExitStack() as stack:
        tls, ca, _ = stack.enter_context(certified(tmp_path))
        dovecot = stack.enter_context(DovecotServer({"me@isp": "s3cr-et"}, mechanisms=mechanisms))
        sasl = {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(dovecot.auth_socket),
            "smtpd_tls_auth_only": "yes",
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        }
        postfix = stack.enter_context(PostfixServer(tls | sasl))
        password = reachable(tmp_path) / "password"
        password.write_text("s3cr-et\n")
        shutil.chown(password, "nobody")
        os.chmod(password, 0o600)
        login = f'tls = "required"\nusername = "me@isp"\npassword_file = "{password}"\n'
        more = smarthost(postfix, f'{login}[tls]\nca_file = "{ca}"\n')
        cmail = stack.enter_context(RunningCmail(tmp_path, more=more))
        send(cmail, ["anna@example.net"], b"From: <a@example.net>\r\nX-Mark: login\r\n\r\nhello\r\n")
        postfix.wait_for("anna", b"X-Mark: login\n")
        used = mechanisms.split()[-1].upper()
        assert f"sasl_method={used}, sasl_username=me@isp" in postfix.log
        assert "s3cr-et" not in cmail.log()


@pytest.mark.needs("dovecot")
def test_wrong_password_upstream_is_no_bounce(tmp_path: Path) -> None:
    """'Trouble with our own log-in is never a bounce': it waits, and the log says so loudly."""
    with ExitStack() as stack:
        tls, ca, _ = stack.enter_context(certified(tmp_path))
        dovecot = stack.enter_context(DovecotServer({"me@isp": "right"}, mechanisms="plain"))
        sasl = {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(dovecot.auth_socket),
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        }
        postfix = stack.enter_context(PostfixServer(tls | sasl))
        more = smarthost(postfix, f'tls = "required"\nusername = "me@isp"\n[tls]\nca_file = "{ca}"\n')
        environ = {"CMAIL_SMTP_PASSWORD": "wr-ong"}
        cmail = stack.enter_context(RunningCmail(tmp_path, more=more, environ=environ))
        send(cmail, ["anna@example.net"], b"From: <a@example.net>\r\nX-Mark: login\r\n\r\nhello\r\n")
        [row] = wait_for(lambda: [row for row in cmail.queue() if row["reason"]], "a reason")
        assert "535" in row["reason"] and row["state"] == "queued" and cmail.mailbox(ANNA) == []
        assert "warning: " in cmail.log() and "wr-ong" not in cmail.log()


def test_postfix_relays_to_us(tmp_path: Path) -> None:
    """A Postfix whose relayhost we are, with STARTTLS and a SCRAM log-in: large and small arrive whole."""
    with RunningCmail(tmp_path, users=[(ANNA, "secret"), ("bert@example.org", "x")]) as cmail:
        here = f"[127.0.0.1]:{cmail.port('submission')}"
        relay = {
            "relayhost": here,
            "smtp_tls_security_level": "encrypt",
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": f"inline:{{ {{{here} = anna@example.org:secret}} }}",
            "smtp_sasl_security_options": "noanonymous",
            "smtp_sasl_mechanism_filter": "SCRAM-SHA-256",
        }
        with PostfixServer(relay) as postfix:
            for name in BODIES:
                content = f"X-Mark: {name}\r\n".encode() + HEAD + b"\r\n" + BODIES[name]
                with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as client:
                    to = ["anna@example.org", "bert@example.org", "nobody@example.org"]
                    client.sendmail("", to, content, ["BODY=8BITMIME"])
            for user in ("anna@example.org", "bert@example.org"):
                found = cmail.wait_for_mail(user, len(BODIES))
                for name, body in BODIES.items():
                    end = f"X-Mark: {name}\r\n".encode() + HEAD + b"\r\n" + body
                    assert any(text.endswith(end.replace(b"\r\n", b"\n")) for text in found), name
            assert "550 5.1.1" in postfix.log and "sasl_method=SCRAM-SHA-256" in cmail.log()
        assert b" with ESMTPSA id " in found[0]
