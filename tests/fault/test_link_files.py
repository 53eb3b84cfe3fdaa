"""The files of the link damaged, missing, of a newer version, not to be written, on a full disk: the server starts, mail
flows, words say what happened, and nothing counts as up or down for ever because of them."""

import contextlib
import json
import os
import shutil
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from cmail.net.control import ControlError
from tests.support.house import RunningCmail, reachable, wait_for
from tests.support.mailboxes_elsewhere import message
from tests.support.peers import Peers
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.small_disk import SmallDisk

FILES: Final = (
    "link.json",
    "link-history.json",
    "link-orders.json",
    "clock.json",
    "sites.json",
    "collect.sqlite3",
)
ANNA: Final = "anna@example.org"
SITE: Final = '\n[[site]]\nname = "ship"\ndomains = ["ship.example"]\nuser = "ship@example.org"\n'


@contextmanager
def server(folder: Path, pop3: ScriptedPop3) -> Iterator[RunningCmail]:
    """One that was started and stopped once, with a mailbox elsewhere, and is stopped now."""
    password = reachable(folder) / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    more = SITE + (
        f'\n[[collect]]\nname = "isp"\nprotocol = "pop3"\nhost = "127.0.0.1"\nport = {pop3.port}\n'
        f'tls = "none"\nusername = "anna"\npassword_file = "{password}"\nto = "{ANNA}"\n'
    )
    with RunningCmail(folder, more=more, users=((ANNA, "secret"), ("ship@example.org", "sail"))) as cmail:
        wait_for(lambda: cmail.ask("link", "collect.status")["accounts"][0]["last_ms"], "a collection")
        cmail.stop()
        yield cmail


def is_well(cmail: RunningCmail, subject: str) -> None:
    """It runs, counts as on line, and takes and delivers mail."""
    assert cmail.ask("link", "link.status")["is_down"] is False
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.sendmail("b@example.net", [ANNA], f"From: <b@example.net>\r\nSubject: {subject}\r\n\r\nx\r\n")
    wait_for(lambda: any(subject.encode() in each for each in cmail.mailbox(ANNA)), subject)


def collected(cmail: RunningCmail) -> dict[str, Any]:
    """How a collection ends."""
    [result] = cmail.ask("link", "collect.now", 60.0)["results"]
    return dict(result)


def _write(octets: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        _remove(path)
        path.write_bytes(octets)
        _give(path)

    return damage


def _folder(path: Path) -> None:
    """Nobody can read it, or write it anew."""
    _remove(path)
    path.mkdir()
    (path / "x").mkdir()


def _remove(path: Path) -> None:
    for each in path.parent.glob(path.name + "*"):
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def _newer(path: Path) -> None:
    if path.suffix == ".sqlite3":
        with contextlib.closing(apsw.Connection(str(path))) as database:
            database.pragma("user_version", 99)
        _give(path)
        return
    fields = json.loads(path.read_text()) if path.exists() else {}
    _write(json.dumps({**fields, "version": 99, "links": {"line": {"hand": "sideways"}}}).encode())(path)


def _give(path: Path) -> None:
    for each in path.parent.glob(path.name + "*"):
        os.chown(each, path.parent.stat().st_uid, -1)


_NUMBERS: Final = (
    b'{"is_down": true, "down_ms": 1e999, "periods": 1, "changed_wall_ms": 9e99, "lived_ms": 1e999, '
)
# How they are damaged; whether the ledger can be used all the same.
DAMAGE: Final[dict[str, tuple[Callable[[Path], None], bool]]] = {
    "gone": (_remove, True),
    "garbage": (_write(os.urandom(5000)), False),
    "numbers": (_write(_NUMBERS + b'"wall_ms": -1, "exchanges": [{"begin_ms": 1e999, "why": 5}]}'), False),
    "newer": (_newer, False),
    "folders": (_folder, False),
}


@pytest.mark.limit(400)
@pytest.mark.needs("root")
@pytest.mark.parametrize("how", DAMAGE)
def test_files_that_make_no_sense(tmp_path: Path, how: str) -> None:
    """The server starts and is on line, mail goes in and out, each damage is said; what is collected waits for a ledger
    that can be used, at its server, and comes once then."""
    damage, has_ledger = DAMAGE[how]
    with Peers() as peers:
        pop3 = peers.start(ScriptedPop3())
        with server(tmp_path, pop3) as cmail:
            for name in FILES:
                damage(cmail.data / name)
            pop3.messages.append(("a", message(1)))
            before = len(cmail.log())
            cmail.start()
            is_well(cmail, "after the damage")
            log = cmail.log()[before:]
            if has_ledger:
                wait_for(lambda: not pop3.messages, "the collection")
            else:
                wait_for(lambda: "cannot be noted" in cmail.log(), "words about the ledger")
                assert len(pop3.messages) == 1, "deleted there, and nobody knows that we have it"
                _remove(cmail.data / "collect.sqlite3")
                cmail.stop()
                cmail.start()
                wait_for(lambda: not pop3.messages, "the collection")
            if how not in ("gone", "newer"):
                assert "link.json" in log and "link-history.json" in log and "clock.json" in log, log
            wait_for(lambda: len(cmail.mailbox(ANNA)) == 2, "the one from elsewhere")
            assert "Traceback" not in cmail.log()


@pytest.mark.limit(300)
def test_what_the_last_run_knew_is_not_for_ever(tmp_path: Path) -> None:
    """Down by what the kernel showed then: now it shows otherwise. Down by hand: it stays, with words, until
    somebody says up."""
    day_ms = 86_400_000
    reading = {
        "is_down": True,
        "down_ms": 0,
        "periods": 1,
        "changed_wall_ms": int(time.time() * 1000) - day_ms,
    }
    with Peers() as peers, server(tmp_path, peers.start(ScriptedPop3())) as cmail:
        record: dict[str, Any] = {**reading, "had_way": False, "links": {"line": {"hand": ""}}}
        _write(json.dumps(record).encode())(cmail.data / "link.json")
        cmail.start()
        wait_for(lambda: not cmail.ask("link", "link.status")["is_down"], "the link to be up")
        cmail.stop()
        record["links"] = {"line": {"hand": "down"}}
        _write(json.dumps(record).encode())(cmail.data / "link.json")
        cmail.start()
        status = cmail.ask("link", "link.status")
        assert status["is_down"] and "hand" in status["words"]
        assert cmail.ask("link", "link.up")["is_down"] is False


@pytest.mark.limit(300)
@pytest.mark.needs("root")
def test_a_full_disk(tmp_path: Path) -> None:
    """A word by hand that cannot be kept is refused, and nothing changes; nothing is fetched from elsewhere, or deleted
    there. With room again all of it works."""
    with Peers() as peers:
        pop3 = peers.start(ScriptedPop3())
        with server(tmp_path, pop3) as cmail:
            kept = cmail.folder / "kept"
            subprocess.run(["cp", "-a", str(cmail.data), str(kept)], check=True)
            owner = cmail.data.stat().st_uid
            with SmallDisk(cmail.data, "200m", owner=owner, mode="0711") as disk:
                subprocess.run(["cp", "-a", f"{kept}/.", str(cmail.data)], check=True)
                cmail.start()
                is_well(cmail, "with room")
                pop3.messages.append(("a", message(1)))
                disk.resize("1m")
                with contextlib.suppress(OSError), open(cmail.data / "filler", "wb") as filler:
                    filler.write(b"x" * 2**21)
                with pytest.raises(ControlError, match="cannot be written"):
                    cmail.ask("link", "link.down")
                assert cmail.ask("link", "link.status")["is_down"] is False
                result = collected(cmail)
                assert not result["is_ok"] and "disk" in result["words"] and len(pop3.messages) == 1
                (cmail.data / "filler").unlink()
                disk.resize("200m")
                assert cmail.ask("link", "link.down")["is_down"] is True
                assert cmail.ask("link", "link.up")["is_down"] is False
                wait_for(lambda: collected(cmail)["is_ok"] and not pop3.messages, "the collection")
                cmail.stop()


@pytest.mark.limit(300)
@pytest.mark.needs("root")
def test_a_backup_carries_them(tmp_path: Path) -> None:
    """What was collected is not collected again by a server that was restored; by hand down is down there too, and the
    history of exchanges goes on."""
    with Peers() as peers:
        pop3 = peers.start(ScriptedPop3(forgets_deletes=True, messages=[("a", message(1))]))
        with server(tmp_path, pop3) as cmail:
            cmail.start()
            cmail.ask("link", "link.down")
            cmail.stop()
            had = [json.loads((cmail.data / name).read_text()) for name in ("link.json", "link-history.json")]
            assert len(cmail.mailbox(ANNA)) == 1 and had[1]["exchanges"]
            copy = cmail.folder / "copy"
            _command("backup", str(copy), "--config", str(cmail.config))
            shutil.rmtree(cmail.data)
            _command("restore", str(copy), "--config", str(cmail.config))
            cmail.start()
            assert cmail.ask("link", "link.status")["is_down"] is True
            rows = cmail.ask("link", "link.history")["exchanges"]
            assert rows[-1]["begin_ms"] == had[1]["exchanges"][0]["begin_ms"]
            cmail.ask("link", "link.up")
            assert collected(cmail)["is_ok"]
            assert len(cmail.mailbox(ANNA)) == 1 and pop3.messages


def _command(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cmail", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
