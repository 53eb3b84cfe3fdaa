"""Collecting from a real Dovecot, by POP3 and IMAP: each message once, octet for octet, to who it is for."""

import imaplib
import json
import os
import signal
import smtplib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import trustme

from tests.support.dovecot_server import DovecotServer
from tests.support.house import RunningCmail, reachable, wait_for
from tests.support.mailboxes_elsewhere import PASSWORD, USER, account, left, message, put

pytestmark = pytest.mark.needs("dovecot", "root")

ANNA = "anna@example.org"


def cmail_collect(cmail: RunningCmail, *words: str, code: int = 0) -> str:
    """Run `cmail collect ...`; what it printed."""
    command = [sys.executable, "-m", "cmail", "collect", *words, "--config", str(cmail.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == code, done.stdout + done.stderr + cmail.log()
    return done.stdout + done.stderr


def port(dovecot: DovecotServer, protocol: str) -> int:
    return dovecot.pop3_port if protocol == "pop3" else dovecot.imap_port


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_what_waits_there_comes_here(tmp_path: Path, protocol: str) -> None:
    """Small and large ones: once each, below our Received field octet for octet, and gone there."""
    sent = [message(1), message(2, 300_000), message(3, 2_000_000), message(4)]
    with DovecotServer({USER: PASSWORD}) as dovecot:
        put(dovecot, sent)
        more = account(reachable(tmp_path), "isp", protocol, port(dovecot, protocol))
        with RunningCmail(tmp_path, more=more) as cmail:
            got = cmail.wait_for_mail(ANNA, 4)
            for each in sent:
                [found] = [one for one in got if one.endswith(each.replace(b"\r\n", b"\n").partition(b"\n\n")[2])
                           and b"\nSubject: " + each.partition(b"Subject: ")[2][:8] in one]  # fmt: skip
                head, mark, rest = found.partition(b"Received: from a.example")
                plain = each.replace(b"\r\n", b"\n")
                assert mark + rest == plain[plain.index(b"Received: from a.example") :]
                assert b"by mail.example.org with " + protocol.upper().encode() in head
                assert head.startswith(b"Return-Path: <bert@example.net>\n")
            assert "nothing new" in cmail_collect(cmail, "now")
            assert left(dovecot) == []
            assert len(cmail.mailbox(ANNA)) == 4
            put(dovecot, [message(5)])
            [told] = json.loads(cmail_collect(cmail, "now", "--json"))
            assert told["fetched"] == 1 and told["is_ok"] and told["deleted"] == 1
            cmail.wait_for_mail(ANNA, 5)
            assert not list((cmail.data / "collect/incoming").iterdir())


@pytest.mark.parametrize("tls", ["none", "opportunistic", "required", "implicit"])
@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_each_kind_of_tls(tmp_path: Path, protocol: str, tls: str) -> None:
    """One message by each; the name in the certificate counts where it is verified."""
    authority, place = trustme.CA(), reachable(tmp_path)
    certificate, key, trusted = (place / name for name in ("certificate.pem", "key.pem", "ca.pem"))
    made = authority.issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    authority.cert_pem.write_to_path(trusted)
    trusted.chmod(0o644)
    with DovecotServer({USER: PASSWORD}, certificate=(certificate, key)) as dovecot:
        put(dovecot, [message(1)])
        implicit = dovecot.pop3s_port if protocol == "pop3" else dovecot.imaps_port
        at = implicit if tls == "implicit" else port(dovecot, protocol)
        more = account(place, "isp", protocol, at, tls=tls) + f'\n[tls]\nca_file = "{trusted}"\n'
        with RunningCmail(tmp_path, more=more) as cmail:
            cmail.wait_for_mail(ANNA, 1)
        assert ("TLS" in dovecot.log) is (tls != "none")


@pytest.mark.parametrize("tls", ["required", "implicit"])
def test_a_certificate_that_nobody_vouches_for(tmp_path: Path, tls: str) -> None:
    """It is said in words, the password is not sent, and nothing comes."""
    place = reachable(tmp_path)
    certificate, key = place / "certificate.pem", place / "key.pem"
    made = trustme.CA().issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    with DovecotServer({USER: PASSWORD}, certificate=(certificate, key)) as dovecot:
        put(dovecot, [message(1)])
        before = dovecot.log.count("Login: user=")
        at = dovecot.imaps_port if tls == "implicit" else dovecot.imap_port
        more = account(place, "isp", "imap", at, tls=tls)
        with RunningCmail(tmp_path, more=more) as cmail:
            assert "the certificate of 127.0.0.1" in cmail_collect(cmail, "now", code=75)
            assert "the certificate of 127.0.0.1" in cmail_collect(cmail, "status")
        assert dovecot.log.count("Login: user=") == before


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_each_way_to_log_in(tmp_path: Path, protocol: str, mechanism: str) -> None:
    """With a password that has quotes and letters in it; a wrong one is said, and never logged."""
    place = reachable(tmp_path)
    mechanisms = mechanism if mechanism == "login" else f"{mechanism} plain"
    with DovecotServer({USER: PASSWORD}, mechanisms=mechanisms) as dovecot:
        with smtplib.LMTP("127.0.0.1", dovecot.lmtp_port) as client:
            client.sendmail("bert@example.net", [USER], message(1))
        more = account(place, "isp", protocol, port(dovecot, protocol))
        more += account(
            place, "wrong", protocol, port(dovecot, protocol), username="bert", password="n0t this"
        )
        with RunningCmail(tmp_path, more=more) as cmail:
            cmail.wait_for_mail(ANNA, 1)
            said = cmail_collect(cmail, "now", code=75)
            assert "isp: nothing new" in said and "wrong: 127.0.0.1 does not take the user name" in said
            assert "n0t this" not in cmail.log() + said and PASSWORD not in cmail.log()
        assert f"method={mechanism.upper()}" in dovecot.log


def test_a_folder_kept_and_unread(tmp_path: Path) -> None:
    """IMAP with `keep`, a folder with letters that ASCII has not: all come once, nothing there is marked, and after
    a restart none comes again."""
    folder = "Entw&APw-rfe"
    with DovecotServer({USER: PASSWORD}) as dovecot:
        put(dovecot, [message(1), message(2, 200_000)], folder=folder)
        more = account(reachable(tmp_path), "isp", "imap", dovecot.imap_port, folder="Entwürfe", keep=True)
        with RunningCmail(tmp_path, more=more) as cmail:
            cmail.wait_for_mail(ANNA, 2)
            cmail.stop()
            cmail.start()
            assert "nothing new" in cmail_collect(cmail, "now")
            assert len(cmail.mailbox(ANNA)) == 2
        flags = left(dovecot, folder=folder)
        assert len(flags) == 2 and not any(b"Seen" in each or b"Deleted" in each for each in flags)


def test_somebody_else_has_marked_a_message(tmp_path: Path) -> None:
    """UID EXPUNGE takes ours alone: what a person has marked as deleted is still there, and not fetched."""
    with DovecotServer({USER: PASSWORD}) as dovecot:
        put(dovecot, [message(1), message(2)])
        with imaplib.IMAP4("127.0.0.1", dovecot.imap_port) as client:
            client.login(USER, PASSWORD)
            client.select()
            client.store("1", "+FLAGS", "(\\Deleted)")
            client.unselect()
        more = account(reachable(tmp_path), "isp", "imap", dovecot.imap_port)
        with RunningCmail(tmp_path, more=more) as cmail:
            [found] = cmail.wait_for_mail(ANNA, 1)
            assert b"Subject: number 2" in found
            wait_for(lambda: len(left(dovecot)) == 1, "the other one to be gone")
            [flags] = left(dovecot)
            assert b"\\Deleted" in flags


def test_new_mail_is_heard_of_at_once(tmp_path: Path) -> None:
    """IDLE: without any `every`, a message is here soon after it is there; link-down ends the session, and what
    comes meanwhile comes at link-up."""
    with DovecotServer({USER: PASSWORD}) as dovecot:
        more = account(reachable(tmp_path), "isp", "imap", dovecot.imap_port, idle=True)
        with RunningCmail(tmp_path, more=more) as cmail:

            def state() -> str:
                [row] = json.loads(cmail_collect(cmail, "status", "--json"))["accounts"]
                return str(row["state"])

            for number in (1, 2):
                wait_for(lambda: state() == "listening", "it to listen")
                put(dovecot, [message(number)])
                cmail.wait_for_mail(ANNA, number)
            cmail.ask("link", "link.down")
            wait_for(lambda: state() == "off line", "it to be off line")
            put(dovecot, [message(3)])
            assert "we are off line" in cmail_collect(cmail, "now", code=75)
            assert len(cmail.mailbox(ANNA)) == 2
            cmail.ask("link", "link.up")
            cmail.wait_for_mail(ANNA, 3)


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_a_large_message_waits_until_it_is_wanted(tmp_path: Path, protocol: str) -> None:
    """The preview, the list, and the command that the preview names."""
    with DovecotServer({USER: PASSWORD}) as dovecot:
        put(dovecot, [message(1, 500_000), message(2)])
        more = account(reachable(tmp_path), "isp", protocol, port(dovecot, protocol), largest="100KiB")
        with RunningCmail(tmp_path, more=more) as cmail:
            got = cmail.wait_for_mail(ANNA, 2)
            [preview] = [each for each in got if b"not fetched yet" in each]
            command = next(line for line in preview.decode().splitlines() if "cmail collect fetch" in line)
            [row] = json.loads(cmail_collect(cmail, "list", "--json"))
            assert row["state"] == "previewed" and row["size"] > 500_000
            assert "It is fetched." in cmail_collect(cmail, *command.split()[2:])
            got = cmail.wait_for_mail(ANNA, 3)
            assert any(len(each) > 450_000 for each in got) and "Nothing was left" in cmail_collect(
                cmail, "list"
            )
            assert left(dovecot) == []
            assert "nothing waits at isp" in cmail_collect(cmail, *command.split()[2:], code=67)


def test_a_box_of_a_whole_domain(tmp_path: Path) -> None:
    """Sorted by Delivered-To; who nobody here is, is postmaster's."""
    users = [(ANNA, "x"), ("bert@example.org", "x")]
    with DovecotServer({USER: PASSWORD}) as dovecot:
        to = (ANNA, "bert@example.org", "nobody@example.org", "box@isp.example")
        put(dovecot, [message(n, to=each) for n, each in enumerate(to)])
        more = account(reachable(tmp_path), "isp", "imap", dovecot.imap_port, to="@example.org")
        with RunningCmail(tmp_path, more=more, users=users) as cmail:
            assert b"number 0" in cmail.wait_for_mail(ANNA, 1)[0]
            assert b"number 1" in cmail.wait_for_mail("bert@example.org", 1)[0]
            assert len(cmail.wait_for_mail("postmaster@example.org", 2)) == 2


def test_all_that_waits_elsewhere(tmp_path: Path) -> None:
    """`cmail link collect` with no kick in the settings collects; with neither of the two it says so."""
    with DovecotServer({USER: PASSWORD}) as dovecot:
        more = account(reachable(tmp_path), "isp", "pop3", dovecot.pop3_port)
        with RunningCmail(tmp_path, more=more) as cmail:
            cmail_collect(cmail, "now")
            put(dovecot, [message(1)])
            command = [sys.executable, "-m", "cmail", "link", "collect", "--config", str(cmail.config)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=90)
            assert (done.returncode, done.stdout) == (0, "isp: 1 fetched\n"), done.stderr
            cmail.wait_for_mail(ANNA, 1)
            cmail.config.write_text(cmail.config.read_text().replace(more, ""))
            cmail.ask("supervisor", "reload")
            done = subprocess.run(command, capture_output=True, text=True, timeout=90)
            assert done.returncode == 64 and "no mailbox is set up" in done.stderr


@pytest.mark.limit(300)
@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_killed_again_and_again(tmp_path: Path, protocol: str) -> None:
    """While 60 messages are collected the link process and the first worker are killed (SIGKILL) by turns: each
    message is in the mailbox once, and none is left there."""
    with DovecotServer({USER: PASSWORD}) as dovecot:
        put(dovecot, [message(n, 200_000 if n % 10 == 0 else 2000) for n in range(60)])
        more = account(reachable(tmp_path), "isp", protocol, port(dovecot, protocol), every="10s")
        with RunningCmail(tmp_path, more=more) as cmail:
            for number in range(8):
                _kill_when_mail_has_come(cmail, ("link", "worker-0")[number % 2])
            got = cmail.wait_for_mail(ANNA, 60, 150)
            wait_for(lambda: left(dovecot) == [], "an empty box")
            numbers = Counter(each.partition(b"Subject: number ")[2].split(b"\n")[0] for each in got)
            assert len(numbers) == 60 and len(cmail.mailbox(ANNA)) == 60, numbers


def _kill_when_mail_has_come(cmail: RunningCmail, name: str) -> None:
    """SIGKILL after the next message, unless all are there; it is started again."""
    before = len(cmail.mailbox(ANNA))
    wait_for(lambda: before < len(cmail.mailbox(ANNA)) or before == 60, "mail")
    pid = cmail.pid(name)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: cmail.pid(name) not in (0, pid), f"{name} to be started again")
