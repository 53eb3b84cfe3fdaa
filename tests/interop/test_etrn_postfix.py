"""ETRN with a real Postfix: mail that it could not deliver while we were away comes when `cmail link kick`
asks for it, long before Postfix would have tried again."""

import json
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import SETTINGS, RunningCmail
from tests.support.ports import free_port
from tests.support.postfix_server import PostfixServer

pytestmark = [pytest.mark.needs("postfix", "root"), pytest.mark.limit(400)]

MESSAGE = (
    "From: bert@example.net\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: number {0}\r\n"
    "Message-ID: <{0}@example.net>\r\n\r\nhello\r\n"
)


@pytest.fixture
def our_port() -> int:
    """Where Postfix expects us."""
    return free_port()


@pytest.fixture
def postfix(our_port: int) -> Iterator[PostfixServer]:
    """Relays example.org to us and example.com to nobody in particular; ETRN is for the first alone."""
    settings = {
        "relay_domains": "example.org, example.com",
        "fast_flush_domains": "example.org",
        "transport_maps": f"inline:{{ example.org=smtp:[127.0.0.1]:{our_port} }}",
    }
    with PostfixServer(settings) as server:
        yield server


def leave_mail(postfix: PostfixServer, count: int) -> None:
    """Mail for us that Postfix cannot deliver now, and has put aside."""
    with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as client:
        for number in range(count):
            client.sendmail("bert@example.net", "anna@example.org", MESSAGE.format(number))
    end = time.monotonic() + 60
    while postfix.log.count("status=deferred") < count:
        assert time.monotonic() < end, postfix.log[-3000:]
        time.sleep(0.05)


def cmail_of(folder: Path, our_port: int, plan: str) -> RunningCmail:
    settings = SETTINGS.replace('"127.0.0.1:0"', f'"127.0.0.1:{our_port}"', 1)
    return RunningCmail(folder, settings=settings, more=plan)


def step(port: int, more: str = "", method: str = "etrn") -> str:
    return f'\n[[link.kick]]\nmethod = "{method}"\nhost = "127.0.0.1"\nport = {port}\nwait = "60s"\n{more}\n'


def kick(cmail: RunningCmail) -> tuple[int, list[dict[str, Any]]]:
    """`cmail link kick --json`: exit code and rows."""
    command = [sys.executable, "-m", "cmail", "link", "kick", "--json", "--config", str(cmail.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_postfix_sends_what_it_keeps(tmp_path: Path, our_port: int, postfix: PostfixServer) -> None:
    """Three messages wait there; one kick, and they are in the mailbox."""
    leave_mail(postfix, 3)
    with cmail_of(tmp_path, our_port, step(postfix.port)) as cmail:
        code, rows = kick(cmail)
        assert code == 0 and [row.get("state") for row in rows] == ["sent", "answered", None], rows
        assert "250 Queuing started" in rows[0]["words"]
        assert len(cmail.wait_for_mail("anna@example.org", 3)) == 3


def test_at_link_up_too(tmp_path: Path, our_port: int, postfix: PostfixServer) -> None:
    """Nobody has to ask by hand: `cmail link up` does it, as a hook of ppp would."""
    leave_mail(postfix, 1)
    with cmail_of(tmp_path, our_port, step(postfix.port)) as cmail:
        for state in ("down", "up"):
            command = [sys.executable, "-m", "cmail", "link", state, "--config", str(cmail.config)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        cmail.wait_for_mail("anna@example.org", 1)
        cmail.wait_for_log("kick: answered")


def test_a_name_that_postfix_does_not_do_that_for(
    tmp_path: Path, our_port: int, postfix: PostfixServer
) -> None:
    """It says 459; that is not repeated, and the next step of the plan is taken, which brings the mail."""
    leave_mail(postfix, 1)
    plan = step(postfix.port, 'text = "example.com"') + step(postfix.port, 'text = "@example.org"')
    plan += step(postfix.port, 'text = "#example.org"') + step(postfix.port)
    with cmail_of(tmp_path, our_port, plan) as cmail:
        code, rows = kick(cmail)
        assert code == 0, rows
        assert "459" in rows[0]["words"] and rows[0]["state"] == "refused"
        assert rows[-2]["state"] == "answered"
        cmail.wait_for_mail("anna@example.org", 1)


def test_postfix_with_etrn_switched_off(tmp_path: Path, our_port: int, postfix: PostfixServer) -> None:
    """Said in words, not repeated."""
    postfix.change(
        "relay_domains", "smtpd_discard_ehlo_keywords = etrn\nsmtpd_etrn_restrictions = reject\nrelay_domains"
    )
    with cmail_of(tmp_path, our_port, step(postfix.port)) as cmail:
        code, rows = kick(cmail)
        assert code == 75 and [row.get("state") for row in rows] == ["refused", None], rows
