"""Dovecot behind us: it takes our mail by LMTP, and reads the Maildirs that we write while we write them."""

import imaplib
import re
import smtplib
from pathlib import Path

import pytest

from tests.support.dovecot_server import DovecotServer
from tests.support.house import RunningCmail, wait_for

pytestmark = pytest.mark.needs("dovecot", "root")

ANNA, BERT = "anna@example.org", "bert@example.org"
MESSAGE = (
    "Date: Mon, 5 Oct 2026 10:00:00 +0200\r\nFrom: x@example.net\r\nSubject: {}\r\n\r\n"
    "Grüße\r\n.dot\r\n..two\r\nFrom here\r\n"
)


def send(cmail: RunningCmail, to: list[str], subject: str, sender: str = BERT) -> None:
    """One message, handed over on loopback."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        content = MESSAGE.format(subject).encode()
        assert client.sendmail(sender, to, content, ["BODY=8BITMIME"]) == {}


@pytest.mark.parametrize("place", ["tcp", "unix"])
def test_delivery_by_lmtp(tmp_path: Path, place: str) -> None:
    """'LMTP out (Dovecot is the proof)': a message for three, of whom Dovecot does not know one, is in two
    mailboxes of Dovecot, octet for octet, and one bounce names the third."""
    with DovecotServer({ANNA: "x", BERT: "x"}) as dovecot:
        lmtp = f"127.0.0.1:{dovecot.lmtp_port}" if place == "tcp" else f"unix:{dovecot.lmtp_socket}"
        users = [(name, "x") for name in (ANNA, BERT, "carl@example.org")]
        more = f'[local]\ndelivery = "lmtp"\nlmtp = "{lmtp}"\n'
        with RunningCmail(tmp_path, more=more, users=users) as cmail:
            send(cmail, [ANNA, BERT, "carl@example.org"], "three")
            [stored] = dovecot.wait_for(ANNA, 1)
            assert stored.endswith(MESSAGE.format("three").replace("\r\n", "\n").encode())
            assert stored.startswith(b"Return-Path: <bert@example.org>\nReceived: from mail.example.org")
            found = dovecot.wait_for(BERT, 2)
            [bounce] = [text for text in found if b"multipart/report" in text]
            assert b"Final-Recipient: rfc822; carl@example.org\nAction: failed\nStatus: 5.1.1\n" in bounce
            assert bounce.count(b"\nFinal-Recipient: ") == 1
            wait_for(lambda: not cmail.queue(), "an empty queue")
            sent = r"/lmtp\[\d+\]: .* status=sent \(250 2\.0\.0 <anna@example\.org> "
            wait_for(lambda: re.search(sent, cmail.log()), "the word of it")


def test_lmtp_server_that_comes_later(tmp_path: Path) -> None:
    """Dovecot is down: mail is accepted and waits, nobody is told; it goes when Dovecot is there."""
    dovecot = DovecotServer({ANNA: "x"})
    more = f'[local]\ndelivery = "lmtp"\nlmtp = "127.0.0.1:{dovecot.lmtp_port}"\n'
    with RunningCmail(tmp_path, more=more) as cmail:
        send(cmail, [ANNA], "waits")
        [row] = wait_for(lambda: [row for row in cmail.queue() if row["reason"]], "a reason")
        assert row["state"] == "queued" and "refused" in row["reason"].lower()
        with dovecot:
            for name in ("worker-0", "worker-1"):
                cmail.ask(name, "queue.flush", filter={})
            [stored] = dovecot.wait_for(ANNA, 1)
        assert b"\nSubject: waits\n" in stored


def test_users_that_only_dovecot_knows(tmp_path: Path) -> None:
    """refuse_unknown_users = false with LMTP: Dovecot's users need no account here."""
    with DovecotServer({"dora@example.org": "x"}) as dovecot:
        more = (
            f'[local]\ndelivery = "lmtp"\nlmtp = "unix:{dovecot.lmtp_socket}"\n'
            "[smtp.advanced]\nrefuse_unknown_users = false\n"
        )
        with RunningCmail(tmp_path, more=more, users=[]) as cmail:
            send(cmail, ["dora@example.org"], "hers", "x@example.net")
            dovecot.wait_for("dora@example.org", 1)


def test_dovecot_reads_what_we_wrote(tmp_path: Path) -> None:
    """'Maildir, Dovecot-readable': a person reads by IMAP what came, flags it, moves it to a folder and
    deletes it; what comes meanwhile is there too, and nothing is there twice."""
    with RunningCmail(tmp_path, users=[(ANNA, "x"), (BERT, "x")]) as cmail:
        for subject in ("one", "two"):
            send(cmail, [ANNA], subject)
        cmail.wait_for_mail(ANNA, 2)
        with DovecotServer({ANNA: "pw"}, mail=cmail.data / "mail", owner="nobody") as dovecot:
            with imaplib.IMAP4("127.0.0.1", dovecot.imap_port, timeout=60) as imap:
                imap.login(ANNA, "pw")
                assert imap.select("INBOX") == ("OK", [b"2"])
                assert subjects(imap) == {"one", "two"}
                one = numbers(imap, "SUBJECT", "one")[0]
                body = fetch(imap, one, "(BODY.PEEK[TEXT])")
                assert body == MESSAGE.partition("\r\n\r\n")[2].encode()
                assert fetch(imap, one, "(BODY.PEEK[HEADER.FIELDS (RETURN-PATH)])").startswith(
                    b"Return-Path: <bert@example.org>\r\n"
                )
                imap.store(one, "+FLAGS", r"(\Seen \Flagged)")
                send(cmail, [ANNA], "three")
                wait_for(lambda: imap.noop() and len(numbers(imap, "ALL")) == 3, "the third by IMAP")
                assert numbers(imap, "FLAGGED") == numbers(imap, "SUBJECT", "one")
                imap.create("Archive")
                imap.copy(one, "Archive")
                imap.store(one, "+FLAGS", r"\Deleted")
                imap.expunge()
                assert subjects(imap) == {"two", "three"}
                send(cmail, [ANNA], "four")
                wait_for(
                    lambda: imap.noop() and subjects(imap) == {"two", "three", "four"}, "the fourth by IMAP"
                )
                imap.select("Archive")
                assert subjects(imap) == {"one"}
        assert "rror" not in dovecot.log
        wait_for(lambda: not cmail.queue(), "an empty queue")


def numbers(imap: imaplib.IMAP4, *search: str) -> list[str]:
    """The message numbers that a search finds."""
    found = imap.search(None, *search)[1][0]
    assert isinstance(found, bytes)
    return found.decode().split()


def fetch(imap: imaplib.IMAP4, number: str, what: str) -> bytes:
    """One literal of one message."""
    found = imap.fetch(number, what)[1][0]
    assert isinstance(found, tuple)
    return bytes(found[1])


def subjects(imap: imaplib.IMAP4) -> set[str]:
    """Of all messages in the selected folder; none may be there twice."""
    each = [fetch(imap, n, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])") for n in numbers(imap, "ALL")]
    found = [text.decode().partition(":")[2].strip() for text in each]
    assert len(set(found)) == len(found)
    return set(found)
