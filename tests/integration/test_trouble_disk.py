"""A disk that is full, that cannot be written or that fails, and the running server: the peer hears 4xx, what was
accepted stays, and it recovers by itself."""

import pwd
import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx
from tests.support.small_disk import SmallDisk
from tests.support.tracing import failing

ONE = SETTINGS.replace("workers = 2", "workers = 1")
ON_DISK = ONE.replace('data_dir = "data"', 'data_dir = "disk/data"')
NO_RESERVE = "[limits]\nfree_space = 0\n"
SOON = '[queue]\nretry = ["1s"]\n'
NOBODY = pwd.getpwnam("nobody").pw_uid


def text(subject: str, size: int = 100) -> bytes:
    """A message of about this size."""
    return b"From: <a@example.net>\r\nSubject: %s\r\n\r\n" % subject.encode() + (b"y" * 76 + b"\r\n") * (
        size // 78 + 1
    )


def say(
    cmail: RunningCmail, subject: str, to: str = "b@example.net", size: int = 100
) -> tuple[str, int, str]:
    """Try to send one message: at which stage it ended, and the reply."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.ehlo()
        code, words = client.mail("anna@example.org")
        if code != 250:
            return "MAIL", code, words.decode()
        code, words = client.rcpt(to)
        if code != 250:
            return "RCPT", code, words.decode()
        code, words = client.data(text(subject, size))
        return "content", code, words.decode()


def is_taken(cmail: RunningCmail, subject: str, to: str = "b@example.net") -> bool:
    """Whether a message is accepted now."""
    return say(cmail, subject, to)[1] == 250


def subjects(sink: SinkMx) -> list[str]:
    """What arrived, by subject."""
    return sorted(
        re.findall(r"^Subject: (\S+)", taken.content.decode(), re.MULTILINE)[0] for taken in sink.taken
    )


@contextmanager
def on_a_small_disk(
    folder: Path, size: str, more: str = "", inodes: int = 0
) -> Iterator[tuple[RunningCmail, SmallDisk]]:
    """A server whose data folder is on a disk of its own."""
    cmail = RunningCmail(folder, settings=ON_DISK, more=more)
    with SmallDisk(cmail.folder / "disk", size, inodes=inodes) as disk:
        cmail.data = disk.folder / "data"
        with cmail:
            yield cmail, disk
            assert "is started again" not in cmail.log()


@pytest.mark.needs("root")
def test_little_space_left(tmp_path: Path) -> None:
    """Below limits.free_space new mail waits outside with 452 at MAIL, before it hurts, and the log says how
    much is missing; mail that was accepted before is delivered all the same; with space it goes on."""
    with Peers() as peers:
        sink = peers.start(SinkMx({"MAIL": b"451 4.3.0 later\r\n"}))
        relay = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n'
        with on_a_small_disk(tmp_path, "80m", relay + SOON) as (cmail, disk):
            assert say(cmail, "before")[:2] == ("content", 250)
            disk.fill(leave=32 << 20)
            wait_for(lambda: not is_taken(cmail, "meanwhile"), "a refusal")
            stage, code, words = say(cmail, "refused")
            assert (stage, code) == ("MAIL", 452) and words.startswith("4.3.1 ")
            cmail.wait_for_log("reject: MAIL")
            said = r"new mail has to wait outside \(452\): \d+ MiB are free in \S+, 64 must be"
            assert re.search(said, cmail.log())
            peers.heal(sink)
            wait_for(lambda: "before" in subjects(sink), "what was accepted before")
            disk.empty()
            wait_for(lambda: is_taken(cmail, "after"), "mail to be taken again")
            cmail.wait_for_log("new mail is taken again")
            wait_for(lambda: "after" in subjects(sink), "the message that came after")
            assert "refused" not in subjects(sink)


@pytest.mark.needs("root")
def test_no_inodes_left(tmp_path: Path) -> None:
    """A disk with space and without inodes: 452 at MAIL and the word in the log; then it goes on."""
    with on_a_small_disk(tmp_path, "100m", inodes=1400) as (cmail, disk):
        assert is_taken(cmail, "before")
        fillers = [disk.folder / f"filler-{number}" for number in range(1100)]
        for filler in fillers:
            try:
                filler.touch()
            except OSError:
                break
        wait_for(lambda: say(cmail, "x")[:2] == ("MAIL", 452), "452 at MAIL")
        cmail.wait_for_log("inodes are free in")
        for filler in fillers:
            filler.unlink(missing_ok=True)
        wait_for(lambda: is_taken(cmail, "after"), "mail to be taken again")


@pytest.mark.needs("root")
@pytest.mark.parametrize("size", [100, 2_000_000], ids=["small", "large"])
def test_disk_that_is_full(tmp_path: Path, size: int) -> None:
    """Not one octet left, at the end of the data: 452, a word in the log, what was accepted stays; with space
    it goes on without a restart, and what was accepted is there after a crash too."""
    with on_a_small_disk(tmp_path, "32m", NO_RESERVE) as (cmail, disk):
        for number in range(5):
            assert is_taken(cmail, f"before-{number}")
        disk.fill()
        accepted = 5
        for number in range(40):
            stage, code, words = say(cmail, f"full-{number}", size=size)
            if code == 250:  # the log had room for it
                accepted += 1
                continue
            assert (stage, code) in (("content", 452), ("MAIL", 452)) and words.startswith("4.3.1 ")
        assert accepted < 45
        cmail.wait_for_log("452 4.3.1")
        assert len(cmail.queue()) == accepted
        disk.empty()
        wait_for(lambda: is_taken(cmail, "after"), "mail to be taken again")
        assert len(cmail.queue()) == accepted + 1
        cmail.kill()
        cmail.start()
        assert len(cmail.queue()) == accepted + 1


@pytest.mark.needs("root")
def test_delivered_while_the_disk_is_full(tmp_path: Path) -> None:
    """A next hop takes a message and there is no room to write that down: it is not sent again, and written
    down when there is."""
    with Peers() as peers:
        sink = peers.start(SinkMx({"MAIL": b"451 4.3.0 later\r\n"}))
        relay = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n'
        with on_a_small_disk(tmp_path, "32m", relay + SOON + NO_RESERVE) as (cmail, disk):
            for number in range(3):
                assert is_taken(cmail, f"n{number}")
            wait_for(lambda: all(row["attempts"] for row in cmail.queue()), "an attempt each")
            wait_for(lambda: disk.fill() or disk.free() == 0, "a full disk")  # type: ignore[func-returns-value]
            wait_for(lambda: say(cmail, "filler")[1] == 452, "a disk that takes nothing more")
            peers.heal(sink)
            wait_for(lambda: sink.taken, "a delivery")
            disk.empty()
            wait_for(lambda: not cmail.queue(), "an empty queue")
            arrived = [subject for subject in subjects(sink) if subject != "filler"]
            assert arrived == ["n0", "n1", "n2"]


@pytest.mark.needs("root")
def test_mailboxes_that_are_full(tmp_path: Path) -> None:
    """No room where the mailboxes are: the message waits with the reason and is delivered, once and whole, when
    there is room; nobody gets a bounce."""
    cmail = RunningCmail(tmp_path, settings=ONE, more=SOON)
    cmail._make_accounts()
    with SmallDisk(cmail.data / "mail", "256k", owner=NOBODY, mode="0700") as disk, cmail:
        assert is_taken(cmail, "small", "anna@example.org")
        cmail.wait_for_mail("anna@example.org")
        assert say(cmail, "large", "anna@example.org", size=1_000_000)[1] == 250
        row = wait_for(lambda: [r for r in cmail.queue() if r["reason"]], "a reason")[0]
        assert "no space on the disk of the mailboxes" in row["reason"]
        cmail.wait_for_log("status=deferred (no space on the disk of the mailboxes")
        disk.resize("8m")
        large = cmail.wait_for_mail("anna@example.org", 2)
        assert sorted(len(message) > 900_000 for message in large) == [False, True]
        wait_for(lambda: not cmail.queue(), "an empty queue")
        assert len(cmail.mailbox("anna@example.org")) == 2
        assert list((cmail.data / "mail" / "example.org" / "anna" / "tmp").iterdir()) == []
        assert "is started again" not in cmail.log()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The spool's folder has lost its rights: large content (a file of its own) gets 451 and a word in the log,
    what needs no new file is taken; with its rights back all is."""
    with RunningCmail(tmp_path, settings=ONE) as cmail:
        assert say(cmail, "before", size=200_000)[1] == 250
        folders = [path for path in (cmail.data / "spool").rglob("*") if path.is_dir()]
        modes = {path: path.stat().st_mode & 0o777 for path in folders}
        for path in folders:
            path.chmod(0o500)
        try:
            stage, code, words = say(cmail, "large", size=200_000)
            assert (stage, code) == ("content", 451) and words.startswith("4.3.0 ")
            assert "ermission denied" in cmail.wait_for_log("ermission denied")
            assert say(cmail, "small")[1] == 250
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
        assert say(cmail, "after", size=200_000)[1] == 250
        assert len(cmail.queue()) == 3 and "is started again" not in cmail.log()


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("calls", "error"),
    [("fdatasync,fsync", "EIO"), ("pwrite64", "EROFS")],
    ids=["syncs fail", "writes fail"],
)
def test_disk_that_fails(tmp_path: Path, calls: str, error: str) -> None:
    """Syncs (or writes) of the worker fail: no message is acknowledged, the log says what gave out; when the disk
    is well again the server goes on by itself, and exactly what was acknowledged is there, also after a crash."""
    with RunningCmail(tmp_path, settings=ONE) as cmail:
        for number in range(3):
            assert is_taken(cmail, f"before-{number}")
        worker = cmail.pid("worker-0")
        with failing(worker, calls, error):
            replies = [
                say(cmail, f"failed-{number}", size=size)[1]
                for number, size in enumerate((100, 200_000, 100))
            ]
            assert set(replies) <= {451, 452}, replies
            cmail.wait_for_log("451 4.3.0")
            cmail.wait_for_log("spool")
        wait_for(lambda: is_taken(cmail, "after"), "mail to be taken again")
        assert cmail.pid("worker-0") == worker
        assert len(cmail.queue()) == 4
        cmail.kill()
        cmail.start()
        assert len(cmail.queue()) == 4
        assert "is given up: " in cmail.log() or error != "EIO"
