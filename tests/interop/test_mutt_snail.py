"""Real mail programs send through our sendmail: into the drop folder with the server down, into a Maildir with it up."""

import os
import subprocess
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.house import RunningCmail

HOME = {"LC_ALL": "C.UTF-8", "USER": "root", "LOGNAME": "root"}


@pytest.fixture
def sendmail(tmp_path: Path) -> Path:
    """A program named sendmail that finds its settings by $CMAIL_CONFIG, as /usr/sbin/sendmail would."""
    path = tmp_path / "sendmail"
    code = "from cmail.cli.sendmail import main; main()"
    path.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n")
    path.chmod(0o755)
    return path


def _mutt(sendmail: Path, home: Path) -> list[str]:
    attached = home / "file.txt"
    attached.write_text("attached\n")
    (home / "muttrc").write_text(
        f'set sendmail="{sendmail} -oem -oi"\nset from="bob@example.net"\nset use_envelope_from=yes\n'
        'set realname="Bøb, the builder"\nset record=""\nset dsn_notify="failure"\nset dsn_return="hdrs"\n'
    )
    return [
        "mutt", "-n", "-F", str(home / "muttrc"), "-s", "Grüße", "-b", "hidden@example.org", "-a", str(attached), "--",
        "Anna <anna@example.org>",
    ]  # fmt: skip


def _snail(sendmail: Path, home: Path) -> list[str]:
    (home / "mailrc").write_text("")
    return [
        "s-nail", "-:/", "-S", f"mta={sendmail}", "-S", "v15-compat", "-S", "from=bob@example.net",
        "-S", "ttycharset=utf-8", "-S", "sendcharsets=utf-8", "-r", "bob@example.net", "-s", "Grüße",
        "-b", "hidden@example.org", "anna@example.org",
    ]  # fmt: skip


PROGRAMS = {"mutt": _mutt, "s-nail": _snail}
CASES = [pytest.param(name, marks=pytest.mark.needs(name), id=name) for name in PROGRAMS]


def send(house: RunningCmail, name: str, sendmail: Path, folder: Path) -> None:
    """Write a mail with the program, as a person would."""
    command = PROGRAMS[name](sendmail, folder)
    environ = {**os.environ, **HOME, "HOME": str(folder), "CMAIL_CONFIG": str(house.config)}
    text = "Hällo Anna,\n.\n.dots and all\nFrom here on\n".encode()
    done = subprocess.run(command, input=text, capture_output=True, env=environ, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def check(octets: bytes) -> None:
    """Everything that was written is there, and the hidden recipient is not."""
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message["subject"] == "Grüße"
    assert "bob@example.net" in message["from"]
    assert message["message-id"] and message["date"] and message["bcc"] is None
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == "Hällo Anna,\n.\n.dots and all\nFrom here on\n"


@pytest.mark.parametrize("name", CASES)
def test_into_a_mailbox(tmp_path: Path, sendmail: Path, name: str) -> None:
    """With the server up it is in both mailboxes, as it was written."""
    users = (("anna@example.org", "secret"), ("hidden@example.org", "secret"))
    with RunningCmail(tmp_path, users=users) as house:
        send(house, name, sendmail, tmp_path)
        for user, _ in users:
            octets = house.wait_for_mail(user)[0]
            assert octets.startswith(b"Return-Path: <bob@example.net>\n")
            check(octets)


@pytest.mark.parametrize("name", CASES)
def test_with_the_server_down(tmp_path: Path, sendmail: Path, name: str) -> None:
    """It is left in the drop folder, whole, and goes when the server starts."""
    house = RunningCmail(tmp_path, users=(("anna@example.org", "x"), ("hidden@example.org", "x")))
    house.start()
    house.stop()
    send(house, name, sendmail, tmp_path)
    left = [path.read_bytes() for path in (house.data / "drop").iterdir()]
    assert len(left) == 1
    check(left[0].partition(b"\n")[2])
    with house:
        check(house.wait_for_mail("hidden@example.org")[0])
