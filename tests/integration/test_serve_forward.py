"""Domains that another server has: taken at the listener, sent to the host that [[forward]] names."""

import smtplib
from pathlib import Path

import pytest

from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

MESSAGE = b"From: <a@example.net>\r\nSubject: hello\r\n\r\nHello.\r\n"
STRANGERS = '[relay]\nnetworks = ["192.0.2.0/24"]\n'  # whoever connects from here may not relay


def forward(domain: str, port: int, tls: str = "opportunistic") -> str:
    """Its lines in the file."""
    return f'\n[[forward]]\ndomain = "{domain}"\nhost = "127.0.0.1:{port}"\ntls = "{tls}"\n'


def send(cmail: RunningCmail, *recipients: str) -> dict[str, tuple[int, bytes]]:
    """From a stranger; who was refused."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        return client.sendmail("bob@example.net", list(recipients), MESSAGE)


def test_mail_for_a_forwarded_domain_is_taken_from_a_stranger_and_reaches_its_host(tmp_path: Path) -> None:
    """Any local part of that domain is taken and goes to the host as it was; what is nobody's is refused
    as ever. The host is on this machine: that the line is down and mail is batched does not hold it."""
    with Peers() as peers:
        branch, upstream = peers.start(SinkMx()), peers.start(SinkMx())
        more = STRANGERS + f'[smtp]\nhost = "127.0.0.1"\nport = {upstream.port}\n[queue]\nbatch = true\n'
        with RunningCmail(tmp_path, more=more + forward("branch.example.org", branch.port)) as cmail:
            cmail.ask("link", "link.down")
            refused = send(cmail, "whoever@branch.example.org", "anna@example.org", "c@example.com")
            assert list(refused) == ["c@example.com"]
            wait_for(lambda: branch.taken, "the message at the branch")
            assert branch.taken[0].recipients == ["RCPT TO:<whoever@branch.example.org>"]
            assert branch.taken[0].content.endswith(MESSAGE)
            cmail.wait_for_mail("anna@example.org")
            wait_for(lambda: not cmail.queue(), "an empty queue")
            assert not upstream.taken


def test_mail_that_waits_goes_the_new_way_when_the_host_changes(tmp_path: Path) -> None:
    """The host is busy and the next try is in an hour; another host is named and the settings are read
    anew: the mail is there at once. Without any [[forward]] the domain is a stranger's, and mail for it that
    waits goes by the way out."""
    with Peers() as peers:
        old = peers.start(SinkMx({"connect": b"421 4.3.2 busy\r\n"}))
        new, upstream = peers.start(SinkMx()), peers.start(SinkMx())
        more = STRANGERS + f'[smtp]\nhost = "127.0.0.1"\nport = {upstream.port}\n[queue]\nretry = ["1h"]\n'
        with RunningCmail(tmp_path, more=more + forward("branch.example.org", old.port)) as cmail:
            send(cmail, "a@branch.example.org")
            wait_for(lambda: [r for r in cmail.queue() if r["attempts"]], "the first attempt")
            cmail.config.write_text(SETTINGS + more + forward("branch.example.org", new.port))
            cmail.ask("supervisor", "reload")
            wait_for(lambda: new.taken, "the message at the new host")
            cmail.config.write_text(SETTINGS + more + forward("branch.example.org", old.port))
            cmail.ask("supervisor", "reload")
            send(cmail, "b@branch.example.org")
            wait_for(lambda: [r for r in cmail.queue() if r["attempts"]], "an attempt")
            cmail.config.write_text(SETTINGS + more)
            cmail.ask("supervisor", "reload")
            wait_for(lambda: upstream.taken, "the message at the upstream server")
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                send(cmail, "c@branch.example.org")


def test_a_host_that_has_no_tls_gets_nothing_when_it_is_required(tmp_path: Path) -> None:
    """tls = "required" of a [[forward]] is obeyed, and what is missing is our trouble: mail waits, no bounce."""
    with Peers() as peers:
        branch = peers.start(SinkMx())
        more = STRANGERS + forward("branch.example.org", branch.port, "required")
        with RunningCmail(tmp_path, more=more) as cmail:
            send(cmail, "a@branch.example.org")
            rows = wait_for(lambda: [r for r in cmail.queue() if r["reason"]], "the attempt to fail")
            assert "STARTTLS" in rows[0]["reason"]
            assert len(cmail.queue()) == 1
            assert not branch.taken


def test_a_host_that_is_ourselves_is_no_loop(tmp_path: Path) -> None:
    """A [[forward]] back to our own listener does not send mail round until it is full of Received fields:
    it waits, and why is said."""
    with RunningCmail(tmp_path, more=STRANGERS) as cmail:
        port = cmail.port("smtp")
        text = SETTINGS.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
        cmail.stop()
        cmail.config.write_text(text + STRANGERS + forward("branch.example.org", port))
        cmail.start()
        send(cmail, "a@branch.example.org")
        rows = wait_for(lambda: [r for r in cmail.queue() if r["reason"]], "the attempt to fail")
        assert "this server itself" in rows[0]["reason"]
