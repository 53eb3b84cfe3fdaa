"""Faults of a disk, each shown once: clients hear 4xx, log and status say what is wrong, and it recovers by
itself. The long part is tests/fault/disk.py."""

import os
import smtplib
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fault.disk import ANNA, FAR, Load, LoadedHouse, try_fault
from tests.fault.disk_faults import LARGE, NO_RESERVE, ONE, SOON, house, row, status, troubles
from tests.support.house import RunningCmail, wait_for
from tests.support.ledger import message
from tests.support.small_disk import SmallDisk
from tests.support.tracing import attached

pytestmark = [pytest.mark.needs("root", "strace"), pytest.mark.limit(400)]
ADMIN = ONE.replace('[admin]\naddress = ""', '[admin]\naddress = "127.0.0.1:0"')


def reply_to(cmail: RunningCmail, port: int, tag: str, to: str = FAR, size: int = 500) -> int:
    """The code that a client hears in the end."""
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.ehlo()
        for code, _ in (client.mail("a@example.com"), client.rcpt(to)):
            if code != 250:
                return code
        return client.data(message(tag, size))[0]


def run(cmail: RunningCmail, *words: str) -> tuple[int, str]:
    """A command: exit code and all that it said."""
    command = [sys.executable, "-m", "cmail", "--config", str(cmail.config), *words]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return ended.returncode, (ended.stdout + ended.stderr).decode()


def sendmail(cmail: RunningCmail, text: bytes) -> tuple[int, str]:
    """A program of this machine sends to anna."""
    code = "from cmail.cli.sendmail import main; main()"
    command = [sys.executable, "-c", code, "-C", str(cmail.config), ANNA]
    content = b"Subject: x\n\n" + text + b"\n"
    ended = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
    return ended.returncode, (ended.stdout + ended.stderr).decode()


def well(cmail: RunningCmail) -> None:
    """The status comes to tell of no trouble."""
    wait_for(lambda: not troubles(cmail), "a status without trouble")


def health_of(address: str, code: int) -> bytes:
    """What /health says, as far as it says it by this code; its figures are a moment old."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return bytes(answer.read()) if code == 200 else b""
    except urllib.error.HTTPError as error:
        return error.read() if error.code == code else b""


@contextmanager
def loaded(folder: Path) -> Iterator[Load]:
    """A house with small and large messages coming in, for a mailbox here and for a next hop."""
    with LoadedHouse(folder) as load:
        try:
            load.wait_for_more()
            yield load
        finally:
            load.small.stop()
            load.large.stop()


def test_faults_under_load(tmp_path: Path) -> None:
    """Full, failing, moved away, unmounted, one after the other: the status says what it is as long as it lasts,
    small and large messages are taken again after each, no process is started again, nothing acknowledged is
    lost and nothing is sent twice."""
    with loaded(tmp_path) as load:
        for name in ("full", "EIO at sync", "EIO at read and sync", "mailboxes moved", "disk unmounted"):
            assert try_fault(load, row(name)) == []
        load.small.stop()
        load.large.stop()
        balance = load.balance()
        assert balance.accepted and not balance.lost and not balance.duplicated
        assert "Traceback" not in load.house.cmail.log()


def test_spool_that_is_removed(tmp_path: Path) -> None:
    """All of DATA/spool and the control sockets are deleted under a running server: what was accepted is made
    durable anew from the open file, mail is taken, commands find the server, a restart finds all of it."""
    with house(tmp_path, NO_RESERVE) as built:
        cmail, port, worker = built.cmail, built.cmail.port("smtp"), built.cmail.pid("worker-0")
        assert reply_to(cmail, port, "before") == 250
        for name in ("spool", "run"):
            subprocess.run(["rm", "-r", cmail.data / name], check=True)
        (cmail.data / "spool").mkdir(mode=0o700)
        os.chown(cmail.data / "spool", built.owner, built.owner)
        wait_for(lambda: reply_to(cmail, port, "x", size=LARGE) == 250, "large mail to be taken")
        wait_for(lambda: status(cmail)["running"] and not troubles(cmail), "an answer, without trouble")
        count = wait_for(lambda: len(cmail.queue()), "the queue")
        cmail.wait_for_log("1 messages were copied")
        assert cmail.pid("worker-0") == worker
        cmail.kill()
        cmail.start()
        assert len(cmail.queue()) == count >= 2


def test_content_that_cannot_be_read(tmp_path: Path) -> None:
    """The disk fails where a large message stands: it is put off in plain words, others go on, and when it can
    be read it is delivered whole."""
    cmail = RunningCmail(tmp_path, settings=ONE, more=SOON)
    with cmail:
        port = cmail.port("smtp")
        (cmail.data / "mail").rename(cmail.folder / "away")
        assert reply_to(cmail, port, "large", ANNA, LARGE) == 250
        cmail.wait_for_log("mail cannot be delivered here")
        [content] = [p for p in (cmail.data / "spool/0/content").rglob("*") if p.is_file()]
        calls = "read,pread64"
        with attached(cmail.pid("worker-0"), "-P", str(content), "-e", f"inject={calls}:error=EIO"):
            (cmail.folder / "away").rename(cmail.data / "mail")
            cmail.wait_for_log("the content of the message cannot be read: Input/output error")
            assert reply_to(cmail, port, "other", ANNA) == 250
            assert b"other" in cmail.wait_for_mail(ANNA)[0]
        assert len(max(cmail.wait_for_mail(ANNA, 2), key=len)) > LARGE * 0.9
        well(cmail)


def test_accounts_on_a_full_disk_and_away(tmp_path: Path) -> None:
    """A full disk: the command says that nothing was changed, and nothing was. Accounts that are away: users stay
    users (no 550), also after a reload, and the status says so."""
    with house(tmp_path, NO_RESERVE + SOON) as built:
        cmail, port = built.cmail, built.cmail.port("smtp")
        built.disk.fill()
        code, said = run(cmail, "alias", "add", "x@example.org", *[f"t{n}@example.net" for n in range(90)])
        assert code != 0 and ("nothing was changed" in said or "cannot be used" in said), said
        built.disk.empty()
        assert "x@example.org" not in run(cmail, "alias", "list")[1]
        accounts = [p for p in cmail.data.iterdir() if p.name.startswith("accounts.sqlite3")]
        for path in accounts:
            path.rename(built.disk.folder / path.name)
        assert any("accounts.sqlite3 is not there" in words for words in troubles(cmail))
        cmail.hang_up()
        cmail.wait_for_log("accounts.sqlite3 cannot be opened")
        assert reply_to(cmail, port, "still", ANNA) == 250
        assert not (cmail.data / "accounts.sqlite3").exists()
        for path in accounts:
            (built.disk.folder / path.name).rename(path)
        well(cmail)
        assert len(cmail.wait_for_mail(ANNA)) == 1


def test_log_on_a_full_disk(tmp_path: Path) -> None:
    """Mail goes on while its log cannot be written, and the status says that lines are lost; then the log says how
    many were."""
    cmail = RunningCmail(tmp_path, settings=ADMIN, more='[log]\nfile = "log-disk/mail.log"\n' + SOON)
    cmail._make_accounts()
    with SmallDisk(cmail.folder / "log-disk", "256k", mode="0777") as logs, cmail:
        port = cmail.port("smtp")
        logs.fill()
        for number in range(30):
            assert reply_to(cmail, port, f"n{number}", ANNA) == 250
        wait_for(lambda: any("lines of the log" in words for words in troubles(cmail)), "the status")
        address = f"http://127.0.0.1:{cmail.port('admin')}/health"
        wait_for(lambda: b"lines of the log" in health_of(address, 503), "the health to tell of it")
        logs.empty()
        log = logs.folder / "mail.log"
        wait_for(lambda: "lines of the log were lost: No space left" in log.read_text(), "the word of it")
        well(cmail)
        wait_for(lambda: health_of(address, 200) == b"ok\n", "the health to be well")
        assert len(cmail.wait_for_mail(ANNA, 30)) == 30


def test_drop_folder_on_a_full_disk(tmp_path: Path) -> None:
    """sendmail on a full disk: exit 75 and words, nothing half done is left; then it goes."""
    with house(tmp_path, NO_RESERVE + SOON) as built:
        cmail = built.cmail
        built.disk.fill()
        code, said = sendmail(cmail, b"y" * 70000)
        assert code == 75 and "no space left on device; nothing was sent" in said
        assert not list((cmail.data / "drop").iterdir())
        built.disk.empty()
        assert sendmail(cmail, b"y")[0] == 0
        cmail.wait_for_mail(ANNA)


def test_started_on_a_bad_disk(tmp_path: Path) -> None:
    """The server is started on a disk that is read-only, or full: it says so in plain words and ends with 75, so
    that whoever starts it tries again; with the disk well it starts, and all is there."""
    with house(tmp_path, NO_RESERVE) as built:
        cmail = built.cmail
        assert reply_to(cmail, cmail.port("smtp"), "before") == 250
        cmail.stop()
        built.disk.read_only()
        code, said = cmail.run_to_end()
        assert (code, "Traceback" in said) == (75, False), said
        assert "Read-only file system" in said
        built.disk.read_only(False)
        built.disk.fill()
        code, said = cmail.run_to_end()
        assert (code, "Traceback" in said) == (75, False), said
        assert "no space" in said.lower()
        built.disk.empty()
        cmail.start()
        assert len(cmail.queue()) == 1


def test_worker_that_starts_on_a_full_disk(tmp_path: Path) -> None:
    """A worker is killed while its disk is full: it is tried again with pauses, the server does not end, and when
    there is room mail is taken."""
    with house(tmp_path, NO_RESERVE) as built:
        cmail, port = built.cmail, built.cmail.port("smtp")
        assert reply_to(cmail, port, "before") == 250
        built.disk.fill()
        os.kill(cmail.pid("worker-0"), 9)
        wait_for(lambda: cmail.status()["children"][0]["restarts"] >= 3, "three tries")
        assert cmail.log().count("is started again") <= 10
        built.disk.empty()
        wait_for(lambda: cmail.status()["children"][0]["state"] == "running", "a worker")
        assert reply_to(cmail, port, "after") == 250
        assert len(cmail.queue()) == 2
