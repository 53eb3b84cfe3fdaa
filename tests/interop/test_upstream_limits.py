"""Out through a Postfix that can do less than we: fewer extensions, few recipients, small messages."""

import smtplib
from pathlib import Path
from typing import Final

import pytest

from tests.support.house import RunningCmail, wait_for
from tests.support.postfix_server import PostfixServer

pytestmark = pytest.mark.needs("postfix", "root")

ANNA: Final = "anna@example.org"
HEAD: Final = (
    b"From: anna@example.org\r\nDate: Mon, 5 Oct 2026 10:00:00 +0200\r\nMessage-ID: <1@example.org>\r\n"
)


def smarthost(port: int) -> str:
    """Settings that send through it."""
    return f'[smtp]\nhost = "127.0.0.1"\nport = {port}\n'


def send(cmail: RunningCmail, to: list[str], content: bytes) -> None:
    """One message from anna, handed over on loopback."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        assert client.sendmail(ANNA, to, content) == {}


# What Postfix is told to leave out of its reply to EHLO.
LEFT_OUT: Final = ("pipelining", "chunking", "pipelining, chunking", "8bitmime, size, dsn", "silent-discard")


@pytest.mark.parametrize("keywords", LEFT_OUT)
def test_postfix_that_offers_less(tmp_path: Path, keywords: str) -> None:
    """Whatever the next hop offers or not, ten messages arrive, each octet for octet, each once."""
    with PostfixServer({"smtpd_discard_ehlo_keywords": keywords}) as postfix:
        with RunningCmail(tmp_path, more=smarthost(postfix.port)) as cmail:
            bodies = [HEAD + b"\r\n%d\r\n" % n + b".dot\r\n..\r\n" * n for n in range(10)]
            for body in bodies:
                send(cmail, ["anna@example.net", "bert@example.net"], body)
            wait_for(lambda: not cmail.queue(), f"an empty queue:\n{cmail.log()[-2000:]}")
            for name in ("anna", "bert"):
                for body in bodies:
                    stored = body.replace(b"\r\n", b"\n") + b"\n"
                    assert postfix.wait_for(name, stored).count(stored) == 1


def test_postfix_with_few_recipients_a_message(tmp_path: Path) -> None:
    """'452 or 552 to a later RCPT means a new transaction at once': ten recipients by three at a time."""
    to = [f"u{n}@example.net" for n in range(10)]
    everybody = ", ".join(f"{each}=anna@example.net" for each in to)
    limits = {"smtpd_recipient_limit": "3", "virtual_alias_maps": f"inline:{{ {everybody} }}"}
    with PostfixServer(limits) as postfix:
        with RunningCmail(tmp_path, more=smarthost(postfix.port)) as cmail:
            send(cmail, to, b"From: <a@example.net>\r\nX-Mark: many\r\n\r\nhello\r\n")
            wait_for(lambda: not cmail.queue(), f"an empty queue:\n{cmail.log()[-2000:]}")
            log = cmail.wait_for_log("status=sent (250", 10)
            assert all(log.count(f"to=<{each}>") == log.count(f"to=<{each}>, ") == 1 for each in to), log
            assert log.count("status=sent (250") == 10 and cmail.mailbox(ANNA) == []


# name -> Postfix's setting, sender, recipient, content, the status in the bounce
CANNOT: Final = {
    "too large": (
        {"message_size_limit": "20000"},
        ANNA,
        "anna@example.net",
        b"x" * 70 + b"\r\n",
        1000,
        "5.3.4",
    ),
    "no SMTPUTF8": ({"smtputf8_enable": "no"}, ANNA, "jürgen@example.net", b"x\r\n", 1, "5.6.7"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_what_postfix_cannot_take(tmp_path: Path, name: str) -> None:
    """What the next hop says in its reply to EHLO that it cannot take is returned at once, with the reason."""
    settings, sender, to, line, count, status = CANNOT[name]
    with PostfixServer(settings) as postfix:
        with RunningCmail(tmp_path, more=smarthost(postfix.port)) as cmail:
            with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
                client.ehlo()
                options = [] if to.isascii() else ["SMTPUTF8"]
                client.sendmail(
                    sender, [to], b"From: <a@example.net>\r\nSubject: cannot\r\n\r\n" + line * count, options
                )
            [bounce] = cmail.wait_for_mail(ANNA)
            assert f"\nStatus: {status}\n".encode() in bounce, bounce.decode()
            assert b"x" * 70 not in bounce
            wait_for(lambda: not cmail.queue(), "an empty queue")
