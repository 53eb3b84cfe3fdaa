"""ETRN with a real Exim, which takes #names alone unless it is told otherwise: its mail comes all the same."""

import asyncio
import json
import smtplib
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from cmail.link.kicks.etrn import etrn
from cmail.link.kicks.target import KickResult, Target, Verdict
from tests.support.exim_server import PROGRAM, EximServer
from tests.support.house import SETTINGS, RunningCmail
from tests.support.ports import free_port

pytestmark = [pytest.mark.needs(PROGRAM, "root"), pytest.mark.limit(400)]

MESSAGE = (
    "From: bert@example.net\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: number {0}\r\n"
    "Message-ID: <{0}@example.net>\r\n\r\nhello\r\n"
)


def leave_mail(exim: EximServer, count: int) -> None:
    """Mail for us that Exim cannot deliver now, and has put aside for an hour."""
    with smtplib.SMTP("127.0.0.1", exim.port, timeout=60) as client:
        for number in range(count):
            client.sendmail("bert@example.net", "anna@example.org", MESSAGE.format(number))
    exim.wait_for_log(" == anna@example.org", count)


def kicked(folder: Path, our_port: int, exim: EximServer, count: int) -> list[dict[str, Any]]:
    """What `cmail link kick` says of our server at this port, once so many messages are in the mailbox."""
    settings = SETTINGS.replace('"127.0.0.1:0"', f'"127.0.0.1:{our_port}"', 1)
    plan = f'\n[[link.kick]]\nmethod = "etrn"\nhost = "127.0.0.1"\nport = {exim.port}\nwait = "60s"\n'
    with RunningCmail(folder, settings=settings, more=plan) as cmail:
        command = [sys.executable, "-m", "cmail", "link", "kick", "--json", "--config", str(cmail.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stdout + done.stderr + exim.log
        cmail.wait_for_mail("anna@example.org", count)
    return [json.loads(line) for line in done.stdout.splitlines()]


def ask(exim: EximServer, text: str = "example.org") -> KickResult:
    """One ETRN, without a server of ours behind it."""
    here = (ip_address("127.0.0.1"),)
    return asyncio.run(etrn(Target("etrn", "127.0.0.1", here, (exim.port,), text, "mail.example.org", 20.0)))


def test_exim_sends_what_it_keeps(tmp_path: Path) -> None:
    """As it is by default it wants the name of a queue: that is said then, and three messages come."""
    our_port = free_port()
    with EximServer("example.org", our_port) as exim:
        leave_mail(exim, 3)
        rows = kicked(tmp_path, our_port, exim, 3)
        assert [row.get("state") for row in rows] == ["sent", "answered", None]
        assert "'ETRN #example.org'" in rows[0]["words"]
        assert "ETRN example.org received" in exim.log and "ETRN #example.org received" in exim.log


def test_exim_with_a_command_of_its_own(tmp_path: Path) -> None:
    """smtp_etrn_command takes the name as it is."""
    our_port = free_port()
    with EximServer("example.org", our_port, more="acl_smtp_etrn = accept_all\n{etrn}") as exim:
        leave_mail(exim, 1)
        rows = kicked(tmp_path, our_port, exim, 1)
        assert rows[0]["state"] == "sent" and "'ETRN example.org'" in rows[0]["words"]


def test_exim_that_is_at_it_already() -> None:
    """Its first run hangs at a server that says nothing; 458 Already is no failure."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with EximServer("example.org", silent.getsockname()[1]) as exim:
            with smtplib.SMTP("127.0.0.1", exim.port, timeout=60) as client:
                client.sendmail("bert@example.net", "anna@example.org", MESSAGE.format(0))
            silent.accept()[0].close()  # its first attempt
            exim.wait_for_log(" == anna@example.org")
            assert ask(exim).verdict is Verdict.SENT
            hanging, _ = silent.accept()
            with hanging:
                result = ask(exim)
                assert result.verdict is Verdict.SENT and "458" in result.words, result.words


def test_exim_that_does_not_do_it() -> None:
    """Without acl_smtp_etrn nobody may ask: said in words, and not worth another try."""
    with EximServer("example.org", free_port(), more="") as exim:
        result = ask(exim)
        assert result.verdict is Verdict.REFUSED and "458 Administrative" in result.words, result.words
