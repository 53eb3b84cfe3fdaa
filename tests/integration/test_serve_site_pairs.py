"""Two servers of ours, a hub that keeps mail and a site that comes for it: both ways, and with one of them killed."""

import os
import signal
import smtplib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.house import RunningCmail, wait_for

HUB: str = """\
[host]
hostname = "mail.example.org"
domains = ["example.org"]
data_dir = "data"
user = "nobody"
workers = 2

[[listener]]
kind = "smtp"
address = "127.0.0.1:0"

[[listener]]
kind = "submission"
address = "127.0.0.1:0"

[[listener]]
kind = "odmr"
address = "127.0.0.1:0"

[admin]
address = ""

[[site]]
name = "ship"
domains = ["ship.example"]
user = "ship@example.org"
"""
SHIP: str = """\
[host]
hostname = "mail.ship.example"
domains = ["ship.example"]
data_dir = "data"
user = "nobody"
workers = 2

[[listener]]
kind = "smtp"
address = "127.0.0.1:{port}"

[admin]
address = ""

[smtp]
host = "127.0.0.1"
port = {submission}
tls = "opportunistic"
username = "ship@example.org"
password_file = "{password}"

[[link.kick]]
method = "{method}"
host = "127.0.0.1"
port = {kicked}
text = "ship.example"
tls = "opportunistic"
username = "ship@example.org"
password_file = "{password}"
wait = "20s"
"""
ALL = 24


def hub_of(folder: Path, more: str = "") -> RunningCmail:
    """The hub."""
    (folder / "hub").mkdir()
    users = (("anna@example.org", "secret"), ("ship@example.org", "sail"))
    return RunningCmail(folder / "hub", settings=HUB, more=more, users=users)


def ship_of(folder: Path, hub: RunningCmail, method: str, kicked: str, port: int = 0) -> RunningCmail:
    """The site, which kicks the hub by a method at one of its listeners."""
    (folder / "ship").mkdir()
    ship = RunningCmail(
        folder / "ship", settings="", users=(("carla@ship.example", "c"),), domains=("ship.example",)
    )
    password = ship.folder / "password"
    password.write_text("sail\n")
    password.chmod(0o600)
    text = SHIP.format(
        port=port,
        submission=hub.port("submission"),
        kicked=hub.port(kicked),
        method=method,
        password=password,
    )
    ship.config.write_text(text)
    return ship


def send(cmail: RunningCmail, to: str, subject: str, octets: int = 100) -> None:
    """A message at a connection of its own."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=20) as client:
        text = (
            f"From: <b@example.net>\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: {subject}\r\n"
            f"Message-ID: <{subject}@example.net>\r\n\r\n" + ("x" * 70 + "\r\n") * (octets // 72)
        )
        client.sendmail("b@example.net", [to], text)


def fill(hub: RunningCmail, count: int, octets: int = 100) -> list[str]:
    """So many messages for the site at the hub, some in each of its workers."""
    sent = [f"message-{n}" for n in range(count)]
    for subject in sent:
        send(hub, "carla@ship.example", subject, octets)
    assert all(hub.ask(f"worker-{n}", "queue.figures")["messages"] for n in range(2))
    return sent


def kick(ship: RunningCmail) -> "subprocess.Popen[bytes]":
    """`cmail link kick`."""
    command = [sys.executable, "-m", "cmail", "link", "kick", "--config", str(ship.config)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def arrived(ship: RunningCmail) -> list[str]:
    """The subjects in the mailbox of the site."""
    contents = ship.mailbox("carla@ship.example")
    lines = [line for content in contents for line in content.splitlines() if line.startswith(b"Subject: ")]
    return [line.removeprefix(b"Subject: ").decode() for line in lines]


@pytest.mark.limit(180)
def test_a_site_takes_and_brings_its_mail_by_atrn_and_submission(tmp_path: Path) -> None:
    """Under TLS and logged in: what both workers of the hub have is in the site's mailbox after one kick, each
    message once; what its people write goes out through the hub."""
    with hub_of(tmp_path) as hub, ship_of(tmp_path, hub, "atrn", "odmr") as ship:
        sent = fill(hub, ALL)
        assert kick(ship).wait(60) == 0
        wait_for(lambda: len(arrived(ship)) == ALL, "all of it at the ship", 30)
        assert Counter(arrived(ship)) == Counter(sent)
        wait_for(lambda: not hub.queue(), "an empty queue")
        assert "star=1" in hub.wait_for_log("atrn=1")
        send(ship, "anna@example.org", "from-the-ship")
        assert b"from-the-ship" in hub.wait_for_mail("anna@example.org")[0]
        assert kick(ship).wait(60) == 0  # nothing waits


@pytest.mark.limit(180)
def test_a_site_with_an_address_of_its_own_has_its_mail_sent_by_etrn(tmp_path: Path) -> None:
    """ETRN after a log-in at the submission port; the hub connects to the site's own port."""
    (tmp_path / "other").mkdir()
    with RunningCmail(tmp_path / "other") as other:  # a port that is free when this has ended
        port = other.port("smtp")
    with (
        hub_of(tmp_path, f'host = "127.0.0.1:{port}"\n') as hub,
        ship_of(tmp_path, hub, "etrn", "submission", port) as ship,
    ):
        sent = fill(hub, ALL)
        assert kick(ship).wait(60) == 0
        wait_for(lambda: len(arrived(ship)) == ALL, "all of it at the ship", 30)
        assert Counter(arrived(ship)) == Counter(sent)
        wait_for(lambda: not hub.queue(), "an empty queue")


@pytest.mark.limit(240)
@pytest.mark.parametrize("who", ["site", "hub", "the worker of the hub that lends", "the one that borrows"])
def test_nothing_is_lost_when_one_of_them_is_killed_in_the_middle(tmp_path: Path, who: str) -> None:
    """After the restart and another kick all of it is there; twice is at most what was not acknowledged, or
    whose end was not recorded yet."""
    with hub_of(tmp_path) as hub, ship_of(tmp_path, hub, "atrn", "odmr") as ship:
        sent = fill(hub, 100, 60_000)
        kicking = kick(ship)
        wait_for(lambda: arrived(ship), "the first of it at the ship", 30)
        taker = ship.pid("worker-0")  # who stands still now, so that this is the middle of it
        os.kill(taker, signal.SIGSTOP)
        assert hub.queue()
        if who == "site":
            ship.kill()
            ship.start()
        elif who == "hub":
            _keep_ports(hub)
            hub.kill()
            hub.start()
        else:
            _kill_worker(hub, is_owner="lends" in who)
        if who != "site":
            os.kill(taker, signal.SIGCONT)
        kicking.wait(60)
        _kick_until_all_is_there(ship, hub)
        counts = Counter(arrived(ship))
        assert set(counts) == set(sent)
        assert sum(counts.values()) - len(sent) <= 20
        assert not hub.mailbox("anna@example.org")


def _keep_ports(hub: RunningCmail) -> None:
    """The site knows them."""
    text = hub.config.read_text()
    for kind in ("smtp", "submission", "odmr"):
        text = text.replace("127.0.0.1:0", f"127.0.0.1:{hub.port(kind)}", 1)
    hub.config.write_text(text)


def _kill_worker(hub: RunningCmail, *, is_owner: bool) -> None:
    """The worker that has the session of the site, or the other one."""
    owner = wait_for(
        lambda: [n for n in range(2) if hub.ask(f"worker-{n}", "status")["sessions"]], "the session", 10
    )[0]
    name = f"worker-{owner if is_owner else 1 - owner}"
    os.kill(hub.pid(name), signal.SIGKILL)
    wait_for(lambda: hub.pid(name), "it to be there again", 20)


def _kick_until_all_is_there(ship: RunningCmail, hub: RunningCmail) -> None:
    for _ in range(10):
        wait_for(lambda: all(c["state"] == "running" for c in hub.status()["children"]), "the hub", 20)
        kick(ship).wait(60)
        if not [row for row in hub.queue() if row["route"] == "site:ship"]:
            return
    raise AssertionError(f"it does not come to an end: {hub.queue()}")
