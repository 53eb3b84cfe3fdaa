"""Two servers of ours, a hub that keeps mail and a site that comes for it: both ways, and with one of them killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.house import RunningCmail, wait_for
from tests.support.hub_and_site import (
    CREW,
    arrived,
    hub_at,
    let_the_first_come,
    post,
    site_at,
    subjects,
    waiting,
)
from tests.support.ports import free_port

LOCAL: str = "127.0.0.1"
KINDS: tuple[str, ...] = ("smtp", "submission", "odmr")
ALL = 24


def hub_of(folder: Path, more: str = "") -> RunningCmail:
    """The hub, at ports that are free."""
    return hub_at(folder, LOCAL, dict.fromkeys(KINDS, 0), more=more)


def ship_of(folder: Path, hub: RunningCmail, method: str, port: int = 0) -> RunningCmail:
    """The site, which kicks the running hub by a method."""
    ports = {kind: hub.port(kind) for kind in KINDS}
    return site_at(folder, LOCAL, ports, method, address=f"{LOCAL}:{port}", wait="20s")


def fill(hub: RunningCmail, count: int, octets: int = 100) -> list[str]:
    """So many messages for the site at the hub, some in each of its workers."""
    sent = subjects(count)
    for subject in sent:
        post(LOCAL, hub.port("smtp"), "b@example.net", CREW, subject, octets)
    assert all(hub.ask(f"worker-{n}", "queue.figures")["messages"] for n in range(2))
    return sent


def kick(ship: RunningCmail) -> "subprocess.Popen[bytes]":
    """`cmail link kick`."""
    command = [sys.executable, "-m", "cmail", "link", "kick", "--config", str(ship.config)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.limit(400)
def test_a_site_takes_and_brings_its_mail_by_atrn_and_submission(tmp_path: Path) -> None:
    """Under TLS and logged in: what both workers of the hub have is in the site's mailbox after one kick, each
    message once; what its people write goes out through the hub."""
    with hub_of(tmp_path) as hub, ship_of(tmp_path, hub, "atrn") as ship:
        sent = fill(hub, ALL)
        assert kick(ship).wait(60) == 0
        wait_for(lambda: arrived(ship).total() >= ALL, "all of it at the ship")
        assert arrived(ship) == dict.fromkeys(sent, 1)
        wait_for(lambda: not hub.queue(), "an empty queue")
        assert "star=1" in hub.wait_for_log("atrn=1")
        post(LOCAL, ship.port("smtp"), CREW, "anna@example.org", "from-the-ship")
        assert b"from-the-ship" in hub.wait_for_mail("anna@example.org")[0]
        assert kick(ship).wait(60) == 0  # nothing waits


@pytest.mark.limit(400)
def test_a_site_with_an_address_of_its_own_has_its_mail_sent_by_etrn(tmp_path: Path) -> None:
    """ETRN after a log-in at the submission port; the hub connects to the site's own port."""
    port = free_port()
    with (
        hub_of(tmp_path, f'host = "127.0.0.1:{port}"\n') as hub,
        ship_of(tmp_path, hub, "etrn", port) as ship,
    ):
        sent = fill(hub, ALL)
        assert kick(ship).wait(60) == 0
        wait_for(lambda: arrived(ship).total() >= ALL, "all of it at the ship")
        assert arrived(ship) == dict.fromkeys(sent, 1)
        wait_for(lambda: not hub.queue(), "an empty queue")


@pytest.mark.limit(400)
@pytest.mark.parametrize("who", ["site", "hub", "the worker of the hub that lends", "the one that borrows"])
def test_nothing_is_lost_when_one_of_them_is_killed_in_the_middle(tmp_path: Path, who: str) -> None:
    """After the restart and another kick all of it is there; twice is at most what was not acknowledged, or
    whose end was not recorded yet."""
    with hub_of(tmp_path) as hub, ship_of(tmp_path, hub, "atrn") as ship:
        sent = fill(hub, 100, 60_000)
        kicking = kick(ship)
        taker = ship.pid("worker-0")
        let_the_first_come(ship, [taker])  # it stands still now, so that this is the middle of it
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
        counts = arrived(ship)
        assert set(counts) == set(sent)
        assert counts.total() - len(sent) <= 20
        assert not hub.mailbox("anna@example.org")


def _keep_ports(hub: RunningCmail) -> None:
    """The site knows them."""
    text = hub.config.read_text()
    for kind in KINDS:
        text = text.replace(f"{LOCAL}:0", f"{LOCAL}:{hub.port(kind)}", 1)
    hub.config.write_text(text)


def _kill_worker(hub: RunningCmail, *, is_owner: bool) -> None:
    """The worker that has the session of the site, or the other one."""
    owner = wait_for(
        lambda: [n for n in range(2) if hub.ask(f"worker-{n}", "status")["sessions"]], "the session"
    )[0]
    name = f"worker-{owner if is_owner else 1 - owner}"
    os.kill(hub.pid(name), signal.SIGKILL)
    wait_for(lambda: hub.pid(name), "it to be there again")


def _kick_until_all_is_there(ship: RunningCmail, hub: RunningCmail) -> None:
    for _ in range(10):
        wait_for(lambda: all(c["state"] == "running" for c in hub.status()["children"]), "the hub")
        kick(ship).wait(60)
        if not waiting(hub):
            return
    raise AssertionError(f"it does not come to an end: {hub.queue()}")
