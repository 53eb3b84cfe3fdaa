"""The whole way with a running server: sendmail leaves broken mail, a person looks, repairs and releases it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.house import RunningCmail, wait_for

pytestmark = pytest.mark.limit(400)
BROKEN = b"From: a@example.org\nTo: anna@example.org\nSubject: broken\nSubject: broken\n\nhello\n"


def cmail(house: RunningCmail, *words: str) -> tuple[int, str, str]:
    """Run `cmail quarantine ...`."""
    command = [sys.executable, "-m", "cmail", "quarantine", *words, "--config", str(house.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def leave(house: RunningCmail, content: bytes) -> None:
    """As a program of this machine does."""
    command = [sys.executable, "-m", "cmail.cli.sendmail", "-C", str(house.config), "-f", "a@example.org"]
    code = "import sys; from cmail.cli.sendmail import main; sys.argv[0] = 'sendmail'; main()"
    command = [sys.executable, "-c", code, *command[3:], "anna@example.org"]
    subprocess.run(command, input=content, timeout=60, check=True)


def listed(house: RunningCmail) -> list[dict[str, object]]:
    """`cmail quarantine list --json`."""
    code, out, error = cmail(house, "list", "--json")
    assert code == 0, error
    found: list[dict[str, object]] = json.loads(out)
    return found


def test_from_sendmail_to_the_mailbox(tmp_path: Path) -> None:
    """What Validation refuses waits; looked at, repaired and released it arrives, repaired, once."""
    with RunningCmail(tmp_path) as house:
        leave(house, BROKEN)
        wait_for(lambda: listed(house), "the message in quarantine")
        [row] = listed(house)
        queue_id = str(row["id"])
        assert row["to"] == ["anna@example.org"] and "Subject" in str(row["defects"])
        house.wait_for_log("is in quarantine")
        code, out, _ = cmail(house, "show", queue_id)
        assert code == 0 and "Subject: stands more than once" in out and "hello" in out
        assert "a repair would do this: a second Subject field" in out
        assert cmail(house, "repair", queue_id)[1].startswith("would be done: a second Subject field")
        assert cmail(house, "repair", "--yes", queue_id)[1].startswith("done: a second Subject field")
        assert cmail(house, "repair", "--yes", queue_id)[0] == 65
        code, out, error = cmail(house, "release", queue_id)
        assert (code, out) == (0, f"{queue_id} is on its way to 1 recipient\n"), error
        [text] = house.wait_for_mail("anna@example.org")
        assert text.count(b"Subject: broken\n") == 1 and b"from quarantine" in text
        assert listed(house) == [] and cmail(house, "list")[1] == "The quarantine is empty.\n"
        assert cmail(house, "release", queue_id)[0] == 67


def test_with_the_server_down(tmp_path: Path) -> None:
    """Looking, repairing and deleting need no server; releasing says that it does. Switched off, nothing comes."""
    with RunningCmail(tmp_path) as house:
        leave(house, BROKEN)
        leave(house, BROKEN.replace(b"Subject: broken\nSubject: broken", b"Subject: a\nSubject: b"))
        wait_for(lambda: len(listed(house)) == 2, "both messages in quarantine")
    first, second = (str(row["id"]) for row in listed(house))
    assert cmail(house, "release", first)[0] in (69, 75)
    repaired = [cmail(house, "repair", each)[0] for each in (first, second)]
    assert sorted(repaired) == [0, 65]
    code, out, _ = cmail(house, "delete", first, second)
    assert code == 0 and out.count("is deleted") == 2 and listed(house) == []
    assert cmail(house, "show", first)[0] == cmail(house, "delete", "x")[0] == 67


def test_switched_off(tmp_path: Path) -> None:
    """With smtp.validation = false it goes straight to its mailbox."""
    with RunningCmail(tmp_path, more="[smtp]\nvalidation = false\n") as house:
        leave(house, BROKEN)
        [text] = house.wait_for_mail("anna@example.org")
        assert text.count(b"Subject: broken\n") == 2 and listed(house) == []
