"""Two CMails: one keeps the mail of the other, which comes and goes, and sends it when it is kicked."""

import json
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import SETTINGS, RunningCmail, reachable, wait_for
from tests.support.ports import free_port

LISTENERS = """
[[listener]]
kind = "odmr"
address = "127.0.0.1:0"

[[listener]]
kind = "finger"
address = "127.0.0.1:0"
"""
STRANGERS = '[relay]\nnetworks = ["192.0.2.0/24"]\n'
MESSAGE = (
    "From: bert@example.net\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: number {0}\r\n"
    "Message-ID: <{0}@example.net>\r\n\r\nhello\r\n"
)
COUNT = 12


@contextmanager
def hub(folder: Path, ship_port: int) -> Iterator[RunningCmail]:
    """Keeps mail for ship.example; has some."""
    site = (
        '\n[[site]]\nname = "ship"\ndomains = ["ship.example"]\nuser = "ship@example.org"\n'
        f'networks = ["127.0.0.0/8"]\nhost = "127.0.0.1:{ship_port}"\n'
    )
    place = folder / "hub"
    place.mkdir()
    users = (("anna@example.org", "secret"), ("ship@example.org", "sail"))
    with RunningCmail(place, settings=SETTINGS + LISTENERS + STRANGERS, more=site, users=users) as running:
        for number in range(COUNT):  # a connection each: both workers have some
            with smtplib.SMTP("127.0.0.1", running.port("smtp"), timeout=60) as client:
                client.sendmail("bert@example.net", "crew@ship.example", MESSAGE.format(number))
        yield running


def ship(folder: Path, port: int, plan: str) -> RunningCmail:
    """A server for ship.example that has just come on line."""
    place = folder / "ship"
    place.mkdir()
    settings = SETTINGS.replace("example.org", "ship.example").replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    users = (("crew@ship.example", "sail"),)
    return RunningCmail(place, settings=settings, more=plan, users=users, domains=("ship.example",))


def step(folder: Path, method: str, port: int, *, has_log_in: bool) -> str:
    log_in = ""
    if has_log_in:
        file = reachable(folder) / "password"
        file.write_text("sail\n")
        file.chmod(0o600)
        log_in = f'username = "ship@example.org"\npassword_file = "{file}"\n'
    return f'\n[[link.kick]]\nmethod = "{method}"\nhost = "127.0.0.1"\nport = {port}\nwait = "60s"\n{log_in}'


def kick(cmail: RunningCmail) -> tuple[int, list[dict[str, Any]]]:
    """`cmail link kick --json`: exit code and rows."""
    command = [sys.executable, "-m", "cmail", "link", "kick", "--json", "--config", str(cmail.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def _history_tells(cmail: RunningCmail) -> None:
    """Off line and on again: the plan runs by itself, and the history of exchanges says how it ended."""
    for state in ("down", "up"):
        command = [sys.executable, "-m", "cmail", "link", state, "--config", str(cmail.config)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def kicks() -> list[str]:
        told = cmail.ask("link", "link.history")["exchanges"]
        return [words for each in told for words in each["kicks"]]

    wait_for(kicks, "the kick in the history", 90)
    assert kicks() == ["kick: no mail waits for us there"]


@pytest.mark.limit(400)
@pytest.mark.parametrize(
    ("method", "kind", "has_log_in"),
    [
        ("atrn", "odmr", True),
        ("etrn", "submission", True),
        ("etrn", "smtp", False),
        ("finger", "finger", False),
    ],
)
def test_the_hub_sends_what_it_keeps(tmp_path: Path, method: str, kind: str, has_log_in: bool) -> None:
    """All of it, from both of its workers, each message once; a second kick finds nothing more."""
    port = free_port()
    with hub(tmp_path, port) as keeper:
        plan = step(tmp_path, method, keeper.port(kind), has_log_in=has_log_in)
        with ship(tmp_path, port, plan) as cmail:
            code, rows = kick(cmail)
            assert code == 0, rows
            # Where a log-in counts as being there, nothing waits any more when ETRN asks.
            assert rows[0]["state"] in ("sent", "nothing" if has_log_in else "sent"), rows
            assert [row.get("state") for row in rows[1:]] == ["answered", None], rows
            got = cmail.wait_for_mail("crew@ship.example", COUNT)
            subjects = sorted(line for each in got for line in each.splitlines() if b"Subject:" in line)
            assert subjects == sorted(f"Subject: number {n}".encode() for n in range(COUNT))
            if method == "etrn" and not has_log_in:
                _history_tells(cmail)
            if method == "atrn":
                assert all(b"with ESMTPS" in each for each in got)
                code, rows = kick(cmail)
                assert (code, rows[0]["state"]) == (0, "nothing"), rows
