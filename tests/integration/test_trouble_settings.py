"""A settings file with everything wrong: what a person reads, at the start, at a reload and from `config check`."""

import smtplib
import subprocess
import sys
from pathlib import Path

from tests.support.house import SETTINGS, RunningCmail

MESSAGE = b"From: <a@example.net>\r\nSubject: hello\r\n\r\nHello.\r\n"
# line of the file behind SETTINGS (which has 17): what is said there, and what would be right
WRONG = """\
[smtp]
hots = "smtp.isp.example"
port = "25"
tls = "starttls"
[queue]
lifetime = 5
[relay]
networks = ["0.0.0.0/0"]
[[listener]]
kind = "imap"
address = "127.0.0.1:0"
[exchange]
every = "soon"
[[link.via]]
"""
SAID = {
    19: ("smtp.hots", "host"),
    20: ("smtp.port: must be a whole number", "port = 25"),
    21: ("smtp.tls: must be", 'tls = "opportunistic"'),
    23: ("queue.lifetime: must be a duration", '"5d"'),
    25: ("relay.networks", "127.0.0.0/8"),
    27: ('listeners of kind "imap" are not there yet', "smtp"),
    30: ("exchange.every: must be a duration", 'every = "1h"'),
    31: ("link.via[1].name: is missing", 'name = "fibre"'),
}


def check_words(said: str, path: Path) -> None:
    """Every mistake stands there with file and line, and with what would be right."""
    for line, words in SAID.items():
        found = [text for text in said.splitlines() if f"{path}:{line}: " in text]
        assert len(found) == 1, (line, said)
        assert all(word in found[0] for word in words), found
    assert "Traceback" not in said


def test_everything_wrong_at_the_start(tmp_path: Path) -> None:
    """All mistakes at once, exit 78, nothing started or made; `config check` says the same with the same code."""
    cmail = RunningCmail(tmp_path, more=WRONG)
    code, said = cmail.run_to_end()
    assert code == 78
    check_words(said, cmail.config)
    assert not cmail.data.exists()
    checked = subprocess.run(
        [sys.executable, "-m", "cmail", "config", "check", "--config", str(cmail.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 78
    check_words(checked.stdout + checked.stderr, cmail.config)


def test_everything_wrong_at_a_reload(tmp_path: Path) -> None:
    """The running server says all of it and keeps its settings, also for a session that is open; put right, the
    file is taken over and the session goes on."""
    with RunningCmail(tmp_path) as cmail:
        good = cmail.config.read_text()
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            client.ehlo()
            client.mail("b@example.net")
            cmail.config.write_text(good.replace('"mail.example.org"', '"other.example.org"') + WRONG)
            cmail.hang_up()
            check_words(cmail.wait_for_log("settings 1 go on"), cmail.config)
            assert client.rcpt("anna@example.org")[0] == 250
            assert client.data(MESSAGE)[0] == 250
            cmail.config.write_text(good.replace('"mail.example.org"', '"other.example.org"'))
            cmail.hang_up()
            cmail.wait_for_log("settings 2 applied")
            client.sendmail("b@example.net", ["anna@example.org"], MESSAGE)
        cmail.wait_for_mail("anna@example.org", 2)
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            assert b"other.example.org" in client.ehlo()[1]


def test_settings_that_are_gone(tmp_path: Path) -> None:
    """No file, or one that is no text: words, exit 78; a running server goes on with what it has."""
    cmail = RunningCmail(tmp_path, settings=SETTINGS)
    good = cmail.config.read_text()
    with cmail:
        cmail.config.unlink()
        cmail.hang_up()
        cmail.wait_for_log("settings 1 go on")
        cmail.config.write_bytes(b"\xff\xfe\x00")
        cmail.hang_up()
        log = cmail.wait_for_log("settings 1 go on", 2)
        assert log.count(f"settings not applied: {cmail.config}") == 2 and "Traceback" not in log
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            client.sendmail("b@example.net", ["anna@example.org"], MESSAGE)
        cmail.wait_for_mail("anna@example.org")
    code, said = cmail.run_to_end()
    assert code == 78 and str(cmail.config) in said and "Traceback" not in said
    cmail.config.unlink()
    code, said = cmail.run_to_end()
    assert code == 78 and str(cmail.config) in said and "Traceback" not in said
    cmail.config.write_text(good)
