"""Collecting from a real Dovecot, by POP3 and IMAP: each message once, octet for octet, to who it is for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dovecot_server import DovecotServer
from tests.support.house import RunningCmail, reachable
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
            got = cmail.wait_for_mail(ANNA, 4, 30)
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
