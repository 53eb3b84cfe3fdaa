"""The whole house on loopback: `cmail serve` with workers, mailboxes and the queue."""

import os
import pwd
import signal
import smtplib
import stat
from pathlib import Path

import pytest

from tests.support.house import RunningCmail, wait_for

MESSAGE = b"From: a@example.net\r\nTo: anna@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"


def send(cmail: RunningCmail, to: str = "anna@example.org", content: bytes = MESSAGE) -> None:
    """One message by SMTP."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.sendmail("a@example.net", [to], content)


def test_mail_arrives(tmp_path: Path) -> None:
    """A message that was accepted is in the mailbox, with the trace fields on top."""
    with RunningCmail(tmp_path) as cmail:
        send(cmail)
        message = cmail.wait_for_mail("anna@example.org")[0]
        assert message.startswith(b"Return-Path: <a@example.net>\n")
        assert b"\nReceived: from " in message
        assert message.endswith(b"\n\nHello.\n")
        log = cmail.wait_for_log("status=sent")
        assert "from=<a@example.net>" in log and "to=<anna@example.org>" in log
    assert cmail.process is not None and cmail.process.returncode == 0


def test_plain_loop_serves_as_well(tmp_path: Path) -> None:
    """Without uvloop (here: CMAIL_LOOP=asyncio) mail arrives all the same, also after STARTTLS."""
    with RunningCmail(tmp_path, environ={"CMAIL_LOOP": "asyncio"}) as cmail:
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            client.starttls()
            client.sendmail("a@example.net", ["anna@example.org"], MESSAGE)
        cmail.wait_for_mail("anna@example.org")
    assert cmail.process is not None and cmail.process.returncode == 0


def test_start_screen(tmp_path: Path) -> None:
    """What listens where, where mail goes, and a line that sends a test."""
    with RunningCmail(tmp_path) as cmail:
        screen = wait_for(cmail.screen, "the start screen")
        assert f"127.0.0.1:{cmail.port('smtp')}" in screen
        assert f"send-test --config {cmail.config} you@example.org" in screen
        assert "smtp.host is empty" in screen


def test_log_in_and_queue_for_elsewhere(tmp_path: Path) -> None:
    """After STARTTLS and AUTH mail for elsewhere is taken, and waits: there is no SMTP host yet."""
    with RunningCmail(tmp_path) as cmail:
        with smtplib.SMTP("127.0.0.1", cmail.port("submission"), timeout=60) as client:
            client.starttls()
            client.login("anna@example.org", "secret")
            client.sendmail("anna@example.org", ["b@example.net"], MESSAGE)
        row = wait_for(lambda: [r for r in cmail.queue() if r["reason"]], "a reason in the queue")[0]
        assert row["to"] == "b@example.net"
        assert "smtp.host" in row["reason"]


def test_unknown_user_is_refused(tmp_path: Path) -> None:
    """Nobody here of that name: 550 at RCPT."""
    with RunningCmail(tmp_path) as cmail, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(cmail, "nobody.here@example.org")
    assert refused.value.recipients["nobody.here@example.org"][0] == 550


def test_queued_mail_survives_a_restart(tmp_path: Path) -> None:
    """What waits when the server is stopped, or killed, waits when it is back."""
    with RunningCmail(tmp_path) as cmail:
        send(cmail, "b@example.net")
        wait_for(cmail.queue, "the message in the queue")
        assert cmail.stop() == 0
        cmail.start()
        assert [row["to"] for row in cmail.queue()] == ["b@example.net"]
        cmail.kill()
        cmail.start()
        assert [row["to"] for row in cmail.queue()] == ["b@example.net"]


def test_killed_worker_is_replaced(tmp_path: Path) -> None:
    """kill -9 of a worker: the other serves on, and a new one serves the same ports and shard."""
    with RunningCmail(tmp_path) as cmail:
        port = cmail.port("smtp")
        first = cmail.pid("worker-0")
        for _ in range(6):
            send(cmail, "b@example.net")
        before = sorted(row["id"] for row in cmail.queue())
        assert len(before) == 6
        os.kill(first, signal.SIGKILL)
        for _ in range(10):
            send(cmail)  # those that fall to the dead one wait in its socket, and none is refused
        wait_for(lambda: cmail.pid("worker-0") not in (0, first), "a new worker-0")
        cmail.wait_for_mail("anna@example.org", 10)
        wait_for(cmail._is_ready, "all of it to serve")
        assert cmail.port("smtp") == port
        waiting = [row["id"] for row in cmail.queue() if row["to"] == "b@example.net"]
        assert sorted(waiting) == before
        assert "worker-0 ended with signal SIGKILL; it is started again" in cmail.log()


@pytest.mark.parametrize("name", ["link", "admin"])
def test_mail_goes_on_without_the_others(tmp_path: Path, name: str) -> None:
    """The link and the admin process are on nobody's path: killed, mail goes on and they come back."""
    with RunningCmail(tmp_path, settings=_with_admin()) as cmail:
        first = cmail.pid(name)
        os.kill(first, signal.SIGKILL)
        send(cmail)
        cmail.wait_for_mail("anna@example.org")
        wait_for(lambda: cmail.pid(name) not in (0, first), f"a new {name}")


def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor: the others end in order by themselves, and a new server starts."""
    with RunningCmail(tmp_path) as cmail:
        send(cmail, "b@example.net")
        pids = [child["pid"] for child in cmail.status()["children"]]
        assert cmail.process is not None
        cmail.process.kill()
        cmail.process.wait()
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the children to end")
        cmail.start()
        assert [row["to"] for row in cmail.queue()] == ["b@example.net"]


def test_shard_without_a_worker_is_adopted(tmp_path: Path) -> None:
    """With fewer workers than before, the first takes what the missing ones had in their shards."""
    cmail = RunningCmail(tmp_path)
    cmail.start()
    for _ in range(20):
        send(cmail, "b@example.net")
    shards = {row["id"] for row in cmail.rows("worker-1", "queue.list", filter={}, limit=100)}
    assert shards, "both workers have some"
    cmail.stop()
    cmail.config.write_text(cmail.config.read_text().replace("workers = 2", "workers = 1"))
    with cmail:
        assert len(cmail.queue()) == 20
        assert cmail.ask("worker-0", "status")["shards"] == [0, 1]
        assert not (cmail.data / "run" / "worker-1.sock").exists()  # nobody would answer there


@pytest.mark.needs("root")
def test_rights_of_root_are_dropped(tmp_path: Path) -> None:
    """Started by root, every process runs as the user of the settings, in no group of root's, and
    cannot win rights back; the data folder is that user's, with the rights of the design."""
    user = pwd.getpwnam("nobody")
    with RunningCmail(tmp_path) as cmail:
        send(cmail)
        cmail.wait_for_mail("anna@example.org")
        status = cmail.status()
        for pid in [status["pid"], *(child["pid"] for child in status["children"])]:
            facts = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":\t" in line
            )
            assert facts["Uid"].split() == [str(user.pw_uid)] * 4
            assert facts["Gid"].split() == [str(user.pw_gid)] * 4
            assert set(map(int, facts["Groups"].split())) == set(os.getgrouplist("nobody", user.pw_gid))
            assert facts["NoNewPrivs"] == "1"
            assert int(facts["CapEff"], 16) == 0
        modes = {
            name: stat.S_IMODE((cmail.data / name).stat().st_mode)
            for name in (".", "drop", "spool", "mail", "run", "secrets", "tls")
        }
        assert modes.pop(".") == 0o711
        assert modes.pop("drop") == 0o1733
        assert set(modes.values()) == {0o700}
        for path in cmail.data.rglob("*"):
            assert path.stat().st_uid == user.pw_uid, path


def test_idle_workers_are_small(tmp_path: Path) -> None:
    """A worker that has nothing to do takes less than 80 MiB."""
    with RunningCmail(tmp_path) as cmail:
        for name in ("worker-0", "worker-1"):
            text = Path(f"/proc/{cmail.pid(name)}/status").read_text()
            rss_kib = int(text.split("VmRSS:")[1].split()[0])
            assert rss_kib < 80 * 1024, name


def _with_admin() -> str:
    from tests.support.house import SETTINGS

    return SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
