"""The journal of a running server: every process writes it, old days go, and mail flows when it cannot be written."""

import shutil
import smtplib
from pathlib import Path

import pytest

from tests.support.house import SETTINGS, RunningCmail, wait_for

WITH_PAGE = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
WAIT_S = 60.0


def send(house: RunningCmail) -> None:
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        client.sendmail(
            "x@example.net", ["anna@example.org"], "From: x@example.net\r\nSubject: x\r\n\r\nx\r\n"
        )


def kept(house: RunningCmail) -> str:
    """All of it."""
    return "".join(path.read_text() for path in sorted((house.data / "log").iterdir()))


@pytest.mark.parametrize("form", ["postfix", "json"])
def test_every_process_writes_and_old_days_go(tmp_path: Path, form: str) -> None:
    """What supervisor, workers and link say stands in one file; a day that is too old is removed; a restart goes on
    in the same file."""
    more = f'[log]\nformat = "{form}"\nkeep = "2d"\n'
    with RunningCmail(tmp_path, settings=WITH_PAGE, more=more) as house:
        send(house)
        house.wait_for_mail("anna@example.org")
        house.ask("link", "link.down")
        wait_for(lambda: "ready: version" in kept(house) and "removed" in kept(house), "the journal", WAIT_S)
        wait_for(lambda: "link is down" in kept(house) or "link down" in kept(house), "the line", WAIT_S)
        old = house.data / "log" / "2020-01-01.log"
        old.write_text("old\n")
        shutil.chown(old, (house.data / "log").stat().st_uid)
        wait_for(lambda: not old.exists(), "the old day to go", WAIT_S)
        house.stop()
        house.start()
        wait_for(lambda: kept(house).count("ready: version") == 2, "the second start", WAIT_S)
        assert "cannot be removed" not in house.log()


def test_without_a_page_there_is_none(tmp_path: Path) -> None:
    """Nobody would read it: no folder, no file."""
    with RunningCmail(tmp_path) as house:
        send(house)
        house.wait_for_mail("anna@example.org")
        assert not (house.data / "log").exists()


@pytest.mark.needs("root")
def test_mail_flows_when_it_cannot_be_written(tmp_path: Path) -> None:
    """With a file in the place of its folder: mail comes in and is delivered, the log says once for each process
    what is wrong, so does the status; when the file is gone the journal goes on."""
    with RunningCmail(tmp_path, settings=WITH_PAGE) as house:
        folder = house.data / "log"
        shutil.rmtree(folder)
        folder.write_text("")
        house.wait_for_log("has lines missing", timeout_s=WAIT_S)
        send(house)
        house.wait_for_mail("anna@example.org")
        wait_for(
            lambda: any("lines missing" in words for words in house.ask("worker-0", "troubles")["troubles"]),
            "the status to say so",
            WAIT_S,
        )
        folder.unlink()
        house.wait_for_log("journal of the page is written again", timeout_s=WAIT_S)
        send(house)
        wait_for(lambda: folder.exists() and "cmail/local" in kept(house), "the journal to go on", WAIT_S)
        processes = len(house.status()["children"]) + 1
        assert house.log().count("has lines missing") <= processes
        assert house.ask("worker-0", "troubles")["troubles"] == []
