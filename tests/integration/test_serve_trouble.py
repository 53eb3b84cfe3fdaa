"""What `cmail serve` refuses, and how it says so; what it does when it is told to read its settings anew."""

import os
import smtplib
import socket
import time
from pathlib import Path

import pytest

from cmail.net.control import ControlError
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.ports import free_port

TWO = ("example.org", "example.net")
BAD = '[relayy]\nnetworks = []\n[smtp]\nport = "x"\n'


def greeting(port: int) -> str:
    """What a server on this port says first."""
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        return client.recv(1000).decode()


def test_settings_with_errors(tmp_path: Path) -> None:
    """All of them with file and line; exit 78 and nothing is started."""
    cmail = RunningCmail(tmp_path, settings=SETTINGS.replace("mail.example.org", "mail..org") + BAD)
    code, said = cmail.run_to_end()
    assert code == 78
    for line, words in ((2, "host.hostname"), (18, "relayy"), (21, "smtp.port")):
        assert f"{cmail.config}:{line}: {words}" in said
    assert not cmail.data.exists()


def test_port_that_is_taken(tmp_path: Path) -> None:
    """The message names the address and what to do; exit 69."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        cmail = RunningCmail(tmp_path, settings=SETTINGS.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1))
        code, said = cmail.run_to_end()
    assert code == 69
    assert f"cannot listen on 127.0.0.1:{port} (smtp): another program has that port" in said
    assert f"ss -ltnp 'sport = :{port}'" in said


def test_port_of_another_cmail(tmp_path: Path) -> None:
    """Sockets of our own that share a port among workers are no exception."""
    (tmp_path / "2").mkdir()
    with RunningCmail(tmp_path) as first:
        port = first.port("smtp")
        settings = SETTINGS.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
        code, said = RunningCmail(tmp_path / "2", settings=settings).run_to_end()
        assert code == 69
        assert "another program has that port" in said
        assert greeting(port).startswith("220 ")


def test_address_of_another_machine(tmp_path: Path) -> None:
    """An address that this machine does not have is named."""
    settings = SETTINGS.replace("127.0.0.1:0", "192.0.2.1:2525", 1)
    code, said = RunningCmail(tmp_path, settings=settings).run_to_end()
    assert code == 69
    assert "this machine does not have that address" in said


def test_second_server_on_the_same_data_folder(tmp_path: Path) -> None:
    """The second one names the first and exits 75; the first serves on."""
    with RunningCmail(tmp_path) as first:
        (tmp_path / "2").mkdir()
        settings = SETTINGS.replace('data_dir = "data"', f'data_dir = "{first.data}"')
        code, said = RunningCmail(tmp_path / "2", settings=settings).run_to_end()
        assert code == 75
        assert first.process is not None
        assert f"another server works on {first.data} already (process {first.process.pid})" in said
        assert greeting(first.port("smtp")).startswith("220 ")


@pytest.mark.needs("root")
def test_data_folder_that_the_user_cannot_reach(tmp_path: Path) -> None:
    """Root is told which folder is in the way of the user that it would become."""
    cmail = RunningCmail(tmp_path)
    cmail.folder.chmod(0o700)
    code, said = cmail.run_to_end()
    assert code == 78
    assert f"the user nobody cannot go through {cmail.folder}" in said


@pytest.mark.needs("root")
def test_data_folder_of_somebody_else(tmp_path: Path) -> None:
    """A data folder that belongs to another user is not taken over."""
    cmail = RunningCmail(tmp_path)
    cmail.data.mkdir()
    os.chown(cmail.data, 1, 1)
    code, said = cmail.run_to_end()
    assert code == 77
    assert "belongs to user 1, not to nobody" in said


def test_spool_of_a_newer_version(tmp_path: Path) -> None:
    """A spool that a newer version wrote ends the start with exit 78 and a word, and stays as it is."""
    cmail = RunningCmail(tmp_path)
    cmail.start()
    cmail.stop()
    databases = [path for path in (cmail.data / "spool" / "0").iterdir() if path.suffix.startswith(".sq")]
    assert databases
    for path in databases:
        with open(path, "r+b") as file:
            file.seek(60)  # user_version in the header of an SQLite file
            file.write((9999).to_bytes(4, "big"))
    code, said = cmail.run_to_end()
    assert code == 78
    assert "worker-0 cannot start" in said and "newer" in said


def test_bad_settings_never_replace_good_ones(tmp_path: Path) -> None:
    """SIGHUP with a file that does not validate: every error in the log, the old ones go on."""
    with RunningCmail(tmp_path) as cmail:
        good = cmail.config.read_text()
        cmail.config.write_text(good + BAD)
        cmail.hang_up()
        log = cmail.wait_for_log("settings 1 go on")
        assert f"settings not applied: {cmail.config}:18: relayy" in log
        assert f"settings not applied: {cmail.config}:21: smtp.port" in log
        assert greeting(cmail.port("smtp")).startswith("220 mail.example.org")
        with pytest.raises(ControlError, match=r"smtp\.port") as refused:
            cmail.ask("supervisor", "reload")
        assert refused.value.code == 78
        cmail.config.write_text(good)
        assert cmail.ask("supervisor", "reload") == {"number": 2}


def test_reload_is_applied_everywhere_and_loses_no_connection(tmp_path: Path) -> None:
    """SIGHUP: all processes acknowledge, new sessions see the new settings, open ones go on."""
    with RunningCmail(tmp_path) as cmail:
        port = cmail.port("smtp")
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.ehlo()
            text = cmail.config.read_text()
            cmail.config.write_text(text.replace("mail.example.org", "post.example.org"))
            cmail.hang_up()
            cmail.wait_for_log("settings 2 applied")
            for _ in range(8):
                assert greeting(port).startswith("220 post.example.org")
            client.sendmail(
                "a@example.net", ["anna@example.org"], b"From: <a@example.net>\r\nSubject: x\r\n\r\nHello\r\n"
            )
        cmail.wait_for_mail("anna@example.org")
        assert {cmail.ask(f"worker-{n}", "status")["settings"] for n in (0, 1)} == {2}
        os.kill(cmail.pid("worker-0"), 9)
        wait_for(lambda: cmail.status()["children"][0]["state"] == "running", "worker-0")
        for _ in range(8):
            assert greeting(port).startswith("220 post.example.org")


def test_listeners_come_and_go(tmp_path: Path) -> None:
    """A reload opens a listener that is new and closes one that is gone, without a restart."""
    with RunningCmail(tmp_path) as cmail:
        smtp, submission, new = cmail.port("smtp"), cmail.port("submission"), free_port()
        kept = smtplib.SMTP("127.0.0.1", submission, timeout=60)
        text = cmail.config.read_text()
        removed = '[[listener]]\nkind = "submission"\naddress = "127.0.0.1:0"\n'
        added = f'[[listener]]\nkind = "smtp"\naddress = "127.0.0.1:{new}"\n'
        assert removed in text
        cmail.config.write_text(text.replace(removed, added))
        assert cmail.ask("supervisor", "reload") == {"number": 2}
        for _ in range(8):
            assert greeting(new).startswith("220 ")
            assert greeting(smtp).startswith("220 ")
        with pytest.raises(ConnectionRefusedError):
            greeting(submission)
        assert kept.noop()[0] == 250
        kept.close()


def test_listener_that_cannot_be_opened_changes_nothing(tmp_path: Path) -> None:
    """A reload that needs a port which is taken is refused as a whole."""
    with RunningCmail(tmp_path) as cmail, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with open(cmail.config, "a") as file:
            file.write(f'[[listener]]\nkind = "lmtp"\naddress = "127.0.0.1:{port}"\n')
        with pytest.raises(ControlError, match="another program has that port"):
            cmail.ask("supervisor", "reload")
        assert [each["kind"] for each in cmail.status()["listeners"]] == ["smtp", "submission"]


def test_queued_mail_follows_the_settings(tmp_path: Path) -> None:
    """A domain that becomes ours: what waits for it in the queue is delivered here, after a reload as
    after a restart."""
    message = b"From: <a@example.net>\r\nSubject: x\r\n\r\nHello\r\n"
    with RunningCmail(tmp_path, aliases=[("anna@example.net", ["anna@example.org"])], domains=TWO) as cmail:
        _submit(cmail, "anna@example.net", message)
        wait_for(cmail.queue, "the message in the queue")
        _own(cmail, "example.net")
        cmail.ask("supervisor", "reload")
        cmail.wait_for_mail("anna@example.org")
        _disown(cmail, "example.net")
        cmail.ask("supervisor", "reload")
        _submit(cmail, "anna@example.net", message)
        wait_for(cmail.queue, "the second message in the queue")
        cmail.stop()
        _own(cmail, "example.net")
        cmail.start()
        cmail.wait_for_mail("anna@example.org", 2)


def _submit(cmail: RunningCmail, to: str, message: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.sendmail("a@example.net", [to], message)


def _own(cmail: RunningCmail, domain: str) -> None:
    text = cmail.config.read_text()
    cmail.config.write_text(text.replace('["example.org"]', f'["example.org", "{domain}"]'))


def _disown(cmail: RunningCmail, domain: str) -> None:
    cmail.config.write_text(cmail.config.read_text().replace(f', "{domain}"]', "]"))


def test_log_that_was_rotated(tmp_path: Path) -> None:
    """SIGHUP: every process goes on in the file that has the name of the log now."""
    with RunningCmail(tmp_path, more='[log]\nfile = "data/mail.log"\n') as cmail:
        log = cmail.data / "mail.log"
        _submit(cmail, "b@example.net", b"From: <a@example.net>\r\nSubject: x\r\n\r\n")
        wait_for(lambda: "to=<b@example.net>" in log.read_text(), "a line of the first log")
        log.rename(cmail.data / "mail.log.1")
        cmail.hang_up()
        wait_for(lambda: log.exists() and "settings 2 applied" in log.read_text(), "the new log")
        for _ in range(6):
            _submit(cmail, "c@example.net", b"From: <a@example.net>\r\nSubject: x\r\n\r\n")
        wait_for(lambda: log.read_text().count("from=<a@example.net>") == 6, "lines of the new log")


def test_spool_that_cannot_be_written(tmp_path: Path) -> None:
    """A spool that cannot be opened ends the start with words, not with a trace."""
    cmail = RunningCmail(tmp_path)
    cmail.start()
    cmail.stop()
    for path in (cmail.data / "spool" / "0").glob("*.sq*"):
        path.unlink()
        path.mkdir()
    code, said = cmail.run_to_end()
    assert code == 71
    assert f"the spool {cmail.data}/spool/0 cannot be opened" in said
    assert "Traceback" not in said


def test_what_needs_a_restart_is_said(tmp_path: Path) -> None:
    """A changed data folder or number of workers is not half obeyed."""
    with RunningCmail(tmp_path) as cmail:
        text = cmail.config.read_text()
        cmail.config.write_text(text.replace('"data"', '"other"').replace("workers = 2", "workers = 3"))
        cmail.ask("supervisor", "reload")
        log = cmail.wait_for_log("host.workers has changed: that takes effect when the server is started")
        assert "host.data_dir has changed" in log
        assert not (cmail.folder / "other").exists()
        assert len([c for c in cmail.status()["children"] if c["name"].startswith("worker-")]) == 2


def test_new_accounts_hold_at_once(tmp_path: Path) -> None:
    """`accounts.changed` (what `cmail user add` sends) makes a new user known to every worker."""
    with RunningCmail(tmp_path) as cmail:
        for name in ("worker-0", "worker-1"):
            assert cmail.ask(name, "accounts.changed") == {"users": 1}


def test_link_down_is_told_to_all(tmp_path: Path) -> None:
    """`link.down` reaches every worker, survives a restart of one, and `link.up` ends it."""
    with RunningCmail(tmp_path) as cmail:
        assert cmail.ask("link", "link.down")["is_down"] is True
        for name in ("worker-0", "worker-1"):
            assert cmail.ask(name, "queue.figures")["is_link_down"] is True
        first = cmail.pid("worker-1")
        os.kill(first, 9)
        wait_for(lambda: cmail.pid("worker-1") not in (0, first), "a new worker-1")
        wait_for(lambda: cmail.status()["children"][1]["state"] == "running", "worker-1")
        assert cmail.ask("worker-1", "queue.figures")["is_link_down"] is True
        assert cmail.ask("link", "link.up")["is_down"] is False
        assert cmail.ask("worker-1", "queue.figures")["is_link_down"] is False


def test_stop_lets_a_transaction_end(tmp_path: Path) -> None:
    """SIGTERM: new clients are refused, one that is at its message may end it, and gets its 250."""
    with RunningCmail(tmp_path) as cmail:
        port = cmail.port("smtp")
        client = smtplib.SMTP("127.0.0.1", port, timeout=60)
        client.ehlo()
        client.mail("a@example.net")
        client.rcpt("anna@example.org")
        assert cmail.process is not None
        cmail.process.terminate()
        cmail.wait_for_log("stopping: got SIGTERM")
        wait_for(lambda: _is_refused(port), "the port to be closed")
        assert client.data(b"From: <a@example.net>\r\nSubject: x\r\n\r\nHello\r\n")[0] == 250
        assert cmail.process.wait(60) == 0
        assert "cmail/supervisor" in cmail.log().splitlines()[-1]
        cmail.start()
        cmail.wait_for_mail("anna@example.org")


def _is_refused(port: int) -> bool:
    try:
        greeting(port)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


@pytest.mark.needs("root")
def test_settings_that_only_root_can_reach(tmp_path: Path) -> None:
    """A settings file below a folder of root's (a clone in /root): the server starts, and reads it anew
    at SIGHUP, though the user that it has become could not go there."""
    cmail = RunningCmail(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir()
    text = cmail.config.read_text().replace('"data"', f'"{cmail.data}"')
    (closed / "var").mkdir(mode=0o755)
    cmail.config = closed / "var" / "cmail.toml"
    cmail.config.write_text(text)
    closed.chmod(0o700)
    with cmail:
        cmail.config.write_text(text.replace("mail.example.org", "post.example.org"))
        assert cmail.ask("supervisor", "reload") == {"number": 2}
        assert greeting(cmail.port("smtp")).startswith("220 post.example.org")


def test_told_to_stop_while_it_starts(tmp_path: Path) -> None:
    """SIGTERM as soon as one process serves, others being on their way: it ends in order with exit code 0
    and without a trace in the log, each time."""
    cmail = RunningCmail(tmp_path)
    cmail._make_accounts()
    for delay_s in (0.0, 0.01, 0.02, 0.03, 0.05, 0.08):
        served = cmail.data / "run" / "worker-0.sock"
        served.unlink(missing_ok=True)
        cmail.launch()
        try:
            wait_for(served.exists, "a worker")
            time.sleep(delay_s)  # each time at another moment of the start
        finally:
            code = cmail.stop()
        assert code == 0, cmail.log()
        assert "Traceback" not in cmail.log()
