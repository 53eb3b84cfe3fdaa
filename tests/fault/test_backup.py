"""`cmail backup` and `cmail restore` as a person types them: under load, on a full disk, in the wrong place."""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cmail.cli.leave import leave
from cmail.mail.address import parse_address
from cmail.mail.envelope import Envelope, Recipient
from tests.fault.backups import (
    LARGE,
    LOCAL,
    OUTSIDE,
    Scene,
    balance_in,
    cmail,
    good,
    kill_all,
    left_in_drop,
    mail_tags,
    measured,
    round_under_load,
)
from tests.support.house import SETTINGS, RunningCmail, reachable, wait_for
from tests.support.ledger import message
from tests.support.peers import Peers
from tests.support.small_disk import SmallDisk

BOX: Final = "mail/example.org/anna"


def test_under_load(tmp_path: Path) -> None:
    """What got its 250 before the backup began is restored elsewhere, all of it, and is delivered there once,
    though the whole server is killed in the middle of the backup."""
    with Peers() as peers:
        scene = Scene(tmp_path, peers)
        try:
            scene.source.start()
            balance, wrong = round_under_load(scene, kill_all, rate=100, before=120)
        finally:
            scene.close()
    assert balance.lost == [] and wrong == []
    assert balance.accepted >= 120 and balance.in_queue and balance.delivered


@contextlib.contextmanager
def a_house(tmp_path: Path) -> Iterator[tuple[RunningCmail, Path]]:
    """A server that is down, with a mailbox and the drop folder filled, and where backups may go."""
    house = RunningCmail(tmp_path, more='[smtp]\nhost = "127.0.0.1"\nport = 9\n')
    house._make_accounts()
    for name in ("spool/0", "drop", *(f"{BOX}/{kind}" for kind in ("new", "cur", "tmp"))):
        (house.data / name).mkdir(parents=True)
    (house.data / BOX / "new/1.M1.host").write_bytes(message("one"))
    for path in house.data.rglob("*"):
        os.chown(path, house.data.stat().st_uid, house.data.stat().st_gid)
    submit(house, "two")
    backups = Path(tempfile.mkdtemp(prefix="cmail-backups-"))
    backups.chmod(0o755)
    try:
        yield house, backups
    finally:
        shutil.rmtree(backups)


def submit(house: RunningCmail, tag: str, to: str = LOCAL[0], size: int = 1500) -> None:
    """As `sendmail` does."""
    envelope = Envelope(parse_address(b"a@example.com"), (Recipient(parse_address(to.encode())),))
    leave(str(house.data), envelope, [message(tag, size)], 1 << 20)


def test_what_was_dropped_and_waits_in_the_queue(tmp_path: Path) -> None:
    """What `sendmail` left, and the server has taken into its queue and could not deliver yet, is in the restored
    queue and counted there, small and large; what is nowhere is counted as lost."""
    with a_house(tmp_path) as (house, backups):
        submit(house, "small", OUTSIDE[0])
        submit(house, "large", OUTSIDE[0], LARGE)
        with house:
            wait_for(lambda: not list((house.data / "drop").iterdir()), "an empty drop folder")
            good("backup", str(backups / "b"), config=house.config)
        good("restore", str(backups / "b"), "--replace", config=house.config)
        acknowledged = {tag: left_in_drop(tag) for tag in ("two", "small", "large", "never")}
        balance = balance_in(house, acknowledged, Counter())
    assert (balance.delivered + balance.in_queue, balance.lost) == (3, ["never"])
    assert balance.in_queue >= 2


def test_memory_is_that_of_the_process() -> None:
    """A large process that measures a small one learns what the small one took."""
    ballast = bytearray(b"x") * (200 << 20)
    code, rss = measured(sys.executable, "-c", "x = bytearray(b'x') * (40 << 20); raise SystemExit(3)")
    assert len(ballast) == 200 << 20
    assert code == 3 and 40 << 20 < rss < 120 << 20


def test_with_the_server_down(tmp_path: Path) -> None:
    """Settings, account, mail and what waits in the drop folder go to a new machine, where no settings file is:
    it is made from the backup. Who submitted is known there too; nothing of the old folder is touched."""
    with a_house(tmp_path) as (house, backups):
        said = good("backup", str(backups / "b"), config=house.config)
        assert "1 messages in the queue, 1 in mailboxes" in said
        assert (backups / "b").stat().st_mode & 0o777 == 0o700
        there = reachable(tmp_path / "there") / "etc/cmail.toml"
        said = good("restore", str(backups / "b"), config=there)
        assert f"{there} is made from the backup" in said
        assert there.read_text() == house.config.read_text()
        new = RunningCmail.__new__(RunningCmail)
        new.__dict__ |= house.__dict__ | {
            "folder": there.parent,
            "config": there,
            "data": there.parent / "data",
            "log_file": there.parent / "log",
            "screen_file": there.parent / "screen",
            "process": None,
        }
        [dropped] = (new.data / "drop").iterdir()
        assert dropped.stat().st_uid == os.geteuid()
        with new:
            wait_for(lambda: len(mail_tags(new.data, LOCAL[0])) == 2, "both messages")
        assert set(mail_tags(house.data, LOCAL[0])) == {"one"}


def test_what_is_there_is_safe(tmp_path: Path) -> None:
    """A restore refuses a folder with data in it, a server that runs, and what is no whole backup; with --replace
    what was there stands aside."""
    with a_house(tmp_path) as (house, backups):
        backup = backups / "b"
        good("backup", str(backup), config=house.config)
        submit(house, "three")
        done = cmail("restore", str(backup), config=house.config)
        assert done.returncode == 73 and "--replace" in done.stderr
        with open(house.data / "lock", "w") as lock:
            print(os.getpid(), file=lock, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)  # as a server that runs
            done = cmail("restore", str(backup), "--replace", config=house.config)
            assert done.returncode == 75 and "another server works on" in done.stderr
        (backup / "data/accounts.sqlite3").write_bytes(b"damaged")
        done = cmail("restore", str(backup), "--replace", config=house.config)
        assert done.returncode == 65 and "accounts.sqlite3" in done.stderr
        done = cmail("backup", "--verify", str(backup), config=house.config)
        assert done.returncode == 65 and "'data/accounts.sqlite3' has 7 octets" in done.stderr
        (backup / "backup.json").unlink()
        done = cmail("restore", str(backup), "--replace", config=house.config)
        assert done.returncode == 66 and "cut short" in done.stderr
        assert len(house.mailbox(LOCAL[0])) == 1 and len(list((house.data / "drop").iterdir())) == 2
        shutil.rmtree(backup)
        good("backup", str(backup), config=house.config)
        said = good("restore", str(backup), "--replace", config=house.config)
        [replaced] = house.data.glob("replaced-*")
        assert str(replaced) in said
        assert len(mail_tags(replaced, LOCAL[0])) == len(mail_tags(house.data, LOCAL[0])) == 1
        assert len(list((house.data / "drop").iterdir())) == 2


def test_where_a_backup_may_not_go(tmp_path: Path) -> None:
    """Not over anything, not into the data folder; each has its words, and nothing is left there."""
    with a_house(tmp_path) as (house, backups):
        (backups / "full").mkdir()
        (backups / "full/file").touch()
        for folder, code, words in (
            (backups / "full", 73, "is there already"),
            (house.data / "backup", 64, "in the data folder"),
        ):
            done = cmail("backup", str(folder), config=house.config)
            assert done.returncode == code and words in done.stderr
        assert sorted(path.name for path in backups.iterdir()) == ["full"]
        assert not (house.data / "backup.partial").exists()


def test_one_that_was_killed(tmp_path: Path) -> None:
    """A backup that is killed leaves no folder with its name; the next one takes its place. While one is at
    work, another to the same folder waits for another time."""
    with a_house(tmp_path) as (house, backups):
        mail = house.data / BOX / "cur"
        owner = mail.stat()
        for number in range(3000):
            (mail / f"{number}.M1.x:2,").write_text("Subject: x\n\n")
            os.chown(mail / f"{number}.M1.x:2,", owner.st_uid, owner.st_gid)
        command = [sys.executable, "-m", "cmail", "backup", str(backups / "b"), "--config", str(house.config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        copied = backups / "b.partial/data" / BOX / "cur"
        wait_for(lambda: copied.exists() and len(os.listdir(copied)) > 10, "it to be at the mail")
        process.send_signal(signal.SIGSTOP)
        done = cmail("backup", str(backups / "b"), config=house.config)
        assert done.returncode == 75 and "another backup" in done.stderr
        process.kill()
        process.communicate()
        assert not (backups / "b").exists()
        done = cmail("restore", str(backups / "b.partial"), "--replace", config=house.config)
        assert done.returncode == 66 and "not a whole backup" in done.stderr
        assert "3001 in mailboxes" in good("backup", str(backups / "b"), config=house.config)
        assert os.listdir(backups) == ["b"]


@pytest.mark.needs("root")
def test_a_full_disk(tmp_path: Path) -> None:
    """The disk of the backup is full: said in words, exit 74, and nothing is left of it. The disk of the restored
    data folder is full: the same, and what was there stays."""
    with a_house(tmp_path) as (house, backups), SmallDisk(backups / "disk", "600k", mode="0777") as disk:
        mail = house.data / BOX / "cur"
        (mail / "large.M1.x:2,").write_bytes(b"Subject: x\n\n" + bytes(2 << 20))
        os.chown(mail / "large.M1.x:2,", mail.stat().st_uid, -1)
        done = cmail("backup", str(disk.folder / "b"), config=house.config)
        assert done.returncode == 74 and "no space left" in done.stderr
        assert os.listdir(disk.folder) == []
        good("backup", str(backups / "b"), config=house.config)
        small = reachable(tmp_path) / "small.toml"
        small.write_text(SETTINGS.replace('"data"', f'"{disk.folder}/data"'))
        done = cmail("restore", str(backups / "b"), config=small)
        assert done.returncode == 74 and "no space left" in done.stderr
        files = [path for path in (disk.folder / "data").rglob("*") if path.is_file()]
        assert [path.name for path in files] == ["lock"]


@pytest.mark.needs("root")
def test_only_root_and_the_owner(tmp_path: Path) -> None:
    """Somebody else gets 77 and no folder; the owner of the data folder may do both."""
    with a_house(tmp_path) as (house, backups):
        backups.chmod(0o777)

        def as_user(name: str, *words: str) -> subprocess.CompletedProcess[str]:
            user = pwd.getpwnam(name)
            code = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from cmail.cli.main import main; main()"
            preload = (
                "import cmail.cli.backup, cmail.cli.restore, cmail.storage.backup, cmail.app.ground, os\n"
            )
            drop = f"os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})\n"
            command = [sys.executable, "-c", preload + drop + code, "", *words, "--config", str(house.config)]
            return subprocess.run(command, capture_output=True, text=True, timeout=60)

        for words in (("backup", str(backups / "b")), ("restore", str(backups / "b"), "--replace")):
            done = as_user("daemon", *words)
            assert done.returncode == 77 and "sudo" in done.stderr, done.stderr
        assert os.listdir(backups) == []
        done = as_user("nobody", "backup", str(backups / "b"))
        assert done.returncode == 0, done.stderr
        done = as_user("nobody", "restore", str(backups / "b"), "--replace")
        assert done.returncode == 0, done.stderr
