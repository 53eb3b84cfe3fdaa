"""What only the page could do once: the log in sentences, the versions of the settings, who writes odd mail."""

import json
import smtplib
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.integration.test_commands import cmail, good
from tests.support.house import SETTINGS, RunningCmail, wait_for

WITH_PAGE = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
ODD = "From: anna@example.org\r\nSubject: no date, no message-id\r\n\r\nHello.\r\n"


def test_the_log_in_sentences(tmp_path: Path) -> None:
    """Found by address and by kind, told as JSON, and followed as it happens; wrong days are said."""
    with RunningCmail(tmp_path, settings=WITH_PAGE) as house:
        send(house, "anna@example.org")
        wait_for(lambda: "mailbox of anna@example.org" in good(house, "log"), "the delivery in the log")
        assert "came in" not in good(house, "log", "--kind", "sent", "anna@example.org")
        first = json.loads(good(house, "log", "--json", "--limit", "1", "anna@example.org"))
        assert first["sentence"] and first["line"] and first["id"]
        assert good(house, "log", "nobody-at-all@example.net") == ""
        assert cmail("log", "--day", "yesterday", config=house.config)[0] == 64

        command = [
            sys.executable,
            "-m",
            "cmail",
            "log",
            "--follow",
            "--limit",
            "1",
            "--config",
            str(house.config),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
            try:
                assert following.stdout is not None
                assert following.stdout.readline()
                send(house, "anna@example.org")
                assert any("from bob@example.net" in line for line in following.stdout)
            finally:
                following.terminate()


def test_settings_of_before(tmp_path: Path) -> None:
    """What the API saved is listed with who changed what; return brings the old file back, and the server goes by it;
    reload reads what was edited by hand."""
    with RunningCmail(tmp_path, settings=WITH_PAGE) as house:
        before = house.config.read_text()
        own(house)
        token = good(house, "token", "add", "test", "--scope", "admin").strip()
        url = f"http://127.0.0.1:{house.port('admin')}/api/v1/settings"
        patch = urllib.request.Request(
            url,
            b'{"smtp": {"advanced": {"max_message_size": "1MiB"}}}',
            {"authorization": f"Bearer {token}", "content-type": "application/json"},
            method="PATCH",
        )
        urllib.request.urlopen(patch, timeout=60).close()
        assert size_of(house) == 2**20
        newest, oldest = json.loads(good(house, "config", "versions", "--json"))
        assert newest["changes"][0]["key"] == "smtp.advanced.max_message_size"
        assert "smtp.advanced.max_message_size" in good(house, "config", "versions")
        assert f"version {oldest['number']} again" in good(house, "config", "return", str(oldest["number"]))
        assert house.config.read_text() == before and size_of(house) == 50 * 2**20
        assert cmail("config", "return", "99", config=house.config)[0] == 66

        house.config.write_text(before + '\n[smtp.advanced]\nmax_message_size = "2MiB"\n')
        assert "goes by the file" in good(house, "config", "reload")
        assert size_of(house) == 2 * 2**20
        house.config.write_text(before + "\n[smtp]\nport = 99999\n")
        code, _, words = cmail("config", "reload", config=house.config)
        assert code != 0 and "port" in words
        assert size_of(house) == 2 * 2**20
    assert cmail("config", "reload", config=house.config)[0] == 69


def test_who_writes_odd_mail(tmp_path: Path) -> None:
    """Counted by sender, told in words."""
    with RunningCmail(tmp_path) as house:
        assert "Nothing was odd" in good(house, "quarantine", "senders")
        send(house, "anna@example.org", ODD)
        [row] = wait_for(lambda: json.loads(good(house, "quarantine", "senders", "--json")), "a sender")
        assert row["sender"] == "bob@example.net" and row["messages"] == 1 and row["noted"]
        assert "<bob@example.net>  1" in good(house, "quarantine", "senders")


def send(house: RunningCmail, to: str, text: str = ODD) -> None:
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        client.sendmail("bob@example.net", [to], text)


def size_of(house: RunningCmail) -> int:
    """What the server says it takes."""
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        client.ehlo()
        return int(client.esmtp_features["size"])


def own(house: RunningCmail) -> None:
    """As an installed server has it: its user may write the settings file."""
    from tests.browser.test_smtp_flow import own as give

    give(house)
