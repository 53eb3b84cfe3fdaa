"""The kick, through the running server: who is asked at link-up and on demand, and that mail which comes is
what answers it."""

import json
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.house import RunningCmail, wait_for
from tests.support.ports import free_port


def cmail_link(cmail: RunningCmail, *words: str, code: int = 0) -> str:
    """Run `cmail link ...`; what it printed."""
    command = [sys.executable, "-m", "cmail", "link", *words, "--config", str(cmail.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def message(subject: str) -> str:
    """One that Validation lets in."""
    return (
        f"From: bert@example.net\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: {subject}\r\n"
        "Message-ID: <1@example.net>\r\n\r\nhello\r\n"
    )


class Trigger:
    """Takes one line a connection and answers; calls `on_line` with what it heard."""

    def __init__(self, answer: bytes, on_line: Callable[[bytes], None] = lambda line: None) -> None:
        self.heard: list[bytes] = []
        self._answer, self._on_line = answer, on_line
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, client.makefile("rb") as lines:
                client.settimeout(60)
                line = lines.readline(1000)
                self.heard.append(line)
                client.sendall(self._answer)
                self._on_line(line)

    def __enter__(self) -> "Trigger":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(20)


def step(method: str, port: int, text: str = "example.org", wait: str = "2s", more: str = "") -> str:
    """One [[link.kick]]."""
    return (
        f'\n[[link.kick]]\nmethod = "{method}"\nhost = "127.0.0.1"\nport = {port}\ntext = "{text}"\n'
        f'wait = "{wait}"\n{more}\n'
    )


def test_link_up_kicks_the_smtp_host(tmp_path: Path) -> None:
    """`cmail link down`, then up: one connection to the trigger port says the domain and CRLF, and what it
    answers stands in the log and in the status."""
    with Trigger(b"queue started\r\n") as trigger:
        more = f'\n[smtp]\nhost = "127.0.0.1"\nport = 1\nkick = true\ntrigger_port = {trigger.port}\n'
        with RunningCmail(tmp_path, more=more) as cmail:
            cmail_link(cmail, "down")
            cmail_link(cmail, "up")
            cmail.wait_for_log("queue started")
            assert trigger.heard[0] == b"example.org\r\n"
            wait_for(lambda: "queue started" in cmail_link(cmail, "status"), "the status to say so")


@pytest.mark.parametrize("batch", ["", "\n[queue]\nbatch = true\n"], ids=["at once", "batch"])
def test_who_was_away_kicks_when_it_is_started(tmp_path: Path, batch: str) -> None:
    """A machine that is switched on with the link up sees no link-up: what has gathered meanwhile is asked for
    all the same. A mere restart asks nobody."""
    with Trigger(b"queue started\r\n") as trigger:
        more = f'\n[smtp]\nhost = "127.0.0.1"\nport = 1\nkick = true\ntrigger_port = {trigger.port}\n{batch}'
        cmail = RunningCmail(tmp_path, more=more)
        with cmail:
            cmail_link(cmail, "status")
            assert cmail.stop() == 0
            cmail.start()
            cmail_link(cmail, "status")
            assert cmail.stop() == 0
            assert trigger.heard == []
            noted = cmail.data / "clock.json"
            fields = json.loads(noted.read_text())
            noted.write_text(json.dumps({**fields, "wall_ms": fields["wall_ms"] - 86_400_000}))
            cmail.start()
            cmail.wait_for_log("queue started")
            assert trigger.heard[0] == b"example.org\r\n"


@pytest.mark.limit(400)
def test_only_mail_answers_a_kick(tmp_path: Path) -> None:
    """A server that says yes and sends nothing is asked again, and then the next one is; that one sends
    mail over port 25, which answers it. Each step is printed with its result."""
    place: list[RunningCmail] = []

    def send(_line: bytes) -> None:
        with smtplib.SMTP("127.0.0.1", place[0].port("smtp"), timeout=60) as client:
            client.sendmail("bert@example.net", "anna@example.org", message("at last"))

    with Trigger(b"yes, yes\r\n") as silent, Trigger(b"+OK\r\n", send) as good:
        plan = step("finger", silent.port) + step("string", good.port, "FLUSH", "30s")
        with RunningCmail(tmp_path, more=plan) as cmail:
            place.append(cmail)
            said = cmail_link(cmail, "kick").splitlines()
            assert silent.heard == [b"example.org\r\n"] * 2 and good.heard == [b"FLUSH\r\n"]
            assert [line.split(":")[0] for line in said] == [
                "1/2 finger",
                "1/2 finger",
                "1/2 finger, try 2",
                "1/2 finger, try 2",
                "2/2 string",
                "2/2 string",
            ]
            assert "no mail came within 2 s" in said[1] and said[-1].endswith("answered: a message has come")
            assert b"at last" in cmail.wait_for_mail("anna@example.org")[0]


def test_mail_of_our_own_people_answers_nothing(tmp_path: Path) -> None:
    """What somebody here sends while we wait, with a log-in, proves nothing of the server that was kicked,
    although it comes from the same address. `cmail status` says that somebody should look at it."""
    place: list[RunningCmail] = []

    def send(_line: bytes) -> None:
        with smtplib.SMTP("127.0.0.1", place[0].port("submission"), timeout=60) as client:
            client.login("anna@example.org", "secret")
            client.sendmail("anna@example.org", "anna@example.org", message("mine"))

    with Trigger(b"yes\r\n", send) as trigger:
        with RunningCmail(tmp_path, more=step("finger", trigger.port, more="repeat = 0")) as cmail:
            place.append(cmail)
            said = cmail_link(cmail, "kick", code=75)
            assert "no mail came within 2 s" in said and "No mail has come" in said
            [step_] = cmail.ask("link", "link.status")["kick"]["steps"]
            assert (step_["state"], step_["method"]) == ("unanswered", "finger") and "yes" in step_["said"]
            command = [sys.executable, "-m", "cmail", "status", "--config", str(cmail.config)]
            status = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
            assert "attention  The servers that keep mail for us were kicked, and no mail has come." in status
            cmail.wait_for_mail("anna@example.org")


def test_a_kick_as_json(tmp_path: Path) -> None:
    """An object a line, for programs; the last says how it ended."""
    plan = step("finger", free_port(), wait="1s", more="repeat = 0")
    with RunningCmail(tmp_path, more=plan) as cmail:
        rows = [json.loads(line) for line in cmail_link(cmail, "kick", "--json", code=75).splitlines()]
        assert [row.get("state") for row in rows] == ["not now", None]
        assert rows[0]["method"] == "finger" and "refused" in rows[0]["words"]
        assert rows[1]["ending"] == "unanswered"


def test_nobody_to_kick_is_said(tmp_path: Path) -> None:
    """Without a plan, and while the link is down, the command says so and fails."""
    with RunningCmail(tmp_path) as cmail:
        assert "neither smtp.kick nor a [[link.kick]]" in cmail_link(cmail, "kick", code=78)
        plan = step("finger", free_port())
        cmail.config.write_text(cmail.config.read_text() + plan)
        cmail.ask("supervisor", "reload")
        cmail_link(cmail, "down")
        assert "the link is down" in cmail_link(cmail, "kick", code=75)


def test_a_command_of_the_settings_is_run(tmp_path: Path) -> None:
    """As the user of the server, without a shell; what it says is shown."""
    code = "import os, sys; print('I ran as', os.geteuid() != 0, sys.argv[1])"
    plan = (
        f'\n[[link.kick]]\nmethod = "command"\ncommand = ["{sys.executable}", "-c", "{code}", "$HOME"]\n'
        'wait = "1s"\nrepeat = 0\n'
    )
    with RunningCmail(tmp_path, more=plan) as cmail:
        assert "I ran as True $HOME" in cmail_link(cmail, "kick", code=75)


def test_who_kicks_again_ends_the_one_before(tmp_path: Path) -> None:
    """Two at once would count each other's mail; who waited for the first hears that it was stopped."""
    with Trigger(b"yes\r\n") as trigger:
        with RunningCmail(tmp_path, more=step("finger", trigger.port, wait="30s")) as cmail:
            command = [sys.executable, "-m", "cmail", "link", "kick", "--config", str(cmail.config)]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as first:
                wait_for(lambda: trigger.heard)
                with subprocess.Popen(command, stdout=subprocess.DEVNULL) as second:
                    out, err = first.communicate(timeout=60)
                    assert first.returncode == 75 and "begun again" in err and "answered" not in out
                    cmail_link(cmail, "down")
                    assert second.wait(60) == 75
            assert cmail.ask("link", "link.status")["is_kicking"] is False
