"""The hub and its site, on a line that comes and goes: the site's mail comes when the site comes, and a cut in the
middle of it loses nothing, sends nothing twice that was acknowledged, and tells nobody of anything."""

import smtplib
import ssl
import time
from pathlib import Path

import pytest

from tests.support.cut_house import connections, status, wait_until_down
from tests.support.house import RunningCmail, wait_for
from tests.support.hub_and_site import (
    all_has_come,
    arrived,
    hub_of,
    let_the_first_come,
    nobody_was_told,
    post,
    send,
    site_of,
    standing_still,
    subjects,
    waiting,
)
from tests.support.netns import FAR, Net

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]


# What the hub must know of the site, by the way it comes.
KNOWN = {
    "atrn": "",
    "etrn": "",
    "finger": 'networks = ["10.1.0.0/24"]\n',
    "none": 'host = "10.1.0.1:25"\n',  # it logs in to send something
}


ON_ITS_WAY = 10  # messages of 60 KB on one connection, of which the hub has no reply: half a megabyte


def submit_at(net: Net, site: RunningCmail) -> None:
    """A message of the site's people for somebody at the hub."""
    net.inside(lambda: post("127.0.0.1", 25, "crew@ship.example", "anna@example.org", "from-the-ship"))


def is_up(site: RunningCmail) -> bool:
    """Whether it knows that it is on line."""
    return status(site)["links"][0]["state"] == "up"


@pytest.mark.parametrize("method", ["atrn", "etrn", "finger"])
def test_the_mail_of_a_site_comes_at_its_link_up(net: Net, tmp_path: Path, method: str) -> None:
    """By its kick and by nothing else, each time that its line is there; while it is not, nothing is tried, counted
    or told."""
    with hub_of(net, tmp_path, KNOWN[method]) as hub, site_of(net, tmp_path, method) as site:
        sent: list[str] = []
        for turn in ("first", "second"):
            wait_for(lambda: is_up(site), "the line to be seen")
            net.cut("wire")
            wait_until_down(site)
            sent += subjects(6, turn)
            send(net, *subjects(6, turn))
            assert [row["attempts"] for row in waiting(hub)] == [0] * 6
            net.join("wire")
            all_has_come(site, hub, sent)
        assert arrived(site) == dict.fromkeys(sent, 1)
        nobody_was_told(hub)


def test_the_mail_of_a_site_comes_when_it_sends_something(net: Net, tmp_path: Path) -> None:
    """No kick: a message that waits there goes to the hub at link-up, with a log-in, and that has its mail sent."""
    with hub_of(net, tmp_path, KNOWN["none"]) as hub, site_of(net, tmp_path, "none") as site:
        wait_for(lambda: is_up(site), "the line to be seen")
        net.cut("wire")
        wait_until_down(site)
        sent = subjects(6)
        send(net, *sent)
        submit_at(net, site)
        net.join("wire")
        all_has_come(site, hub, sent)
        assert arrived(site) == dict.fromkeys(sent, 1)
        assert len(hub.wait_for_mail("anna@example.org")) == 1


@pytest.mark.parametrize("how", ["pulled", "silent", "silent, then another address"])
@pytest.mark.parametrize("method", ["atrn", "etrn"])
def test_a_cut_in_the_middle_of_it(net: Net, tmp_path: Path, method: str, how: str) -> None:
    """Large messages, the line cut while they come: at the next link-up the rest comes by itself. Twice comes at
    most what was on its way, nothing is lost, and nobody is told."""
    with hub_of(net, tmp_path, KNOWN[method]) as hub, site_of(net, tmp_path, method) as site:
        wait_for(lambda: is_up(site), "the line to be seen")
        net.cut("wire")
        wait_until_down(site)
        workers = [site.pid(f"worker-{number}") for number in range(2)]
        sent = subjects(150)
        send(net, *sent, octets=60_000)
        with standing_still(workers):
            net.join("wire")
            let_the_first_come(site, workers)
            assert waiting(hub), "it is all there already"
            most = ON_ITS_WAY * max(1, connections(hub))
            if how == "pulled":
                net.cut("wire")
            else:
                net.silence("wire")
        if how != "pulled":
            site.ask("link", "link.down")  # nothing shows it: who dials says so, as by ip-down of pppd
        wait_until_down(site)
        assert sum(arrived(site).values()) < len(sent)
        if how == "pulled":
            net.join("wire")
        else:
            if "another" in how:
                net.readdress("wire", 7)
            net.speak("wire")
            site.ask("link", "link.up")
        all_has_come(site, hub, sent)
        twice = sum(arrived(site).values()) - len(sent)
        assert twice <= most, arrived(site)
        nobody_was_told(hub)


@pytest.mark.parametrize("method", ["atrn", "etrn"])
def test_a_large_message_for_a_site(net: Net, tmp_path: Path, method: str) -> None:
    """It stays on hold while the small ones come, and a notice of it comes with them; when the site has asked for
    it by its name, over the same line, it comes, too. When too much waits, senders are told to try again."""
    limits = 'largest = "100KiB"\nmessages = 8\n'
    with hub_of(net, tmp_path, limits) as hub, site_of(net, tmp_path, method) as site:
        wait_for(lambda: is_up(site), "the line to be seen")
        net.cut("wire")
        wait_until_down(site)
        sent = subjects(7)
        send(net, *sent)
        send(net, "huge", octets=200_000)
        [held] = wait_for(lambda: [row for row in hub.queue() if row["state"] == "held"], "it to be held")
        wait_for(lambda: len(waiting(hub)) == 9, "the notice of it")
        wait_for(lambda: is_full(net), "the hub to say that it is enough")
        net.join("wire")
        wait_for(lambda: set(arrived(site)) == set(sent), "the small ones")
        [notice] = site.wait_for_mail("postmaster@ship.example")
        assert f"ETRN #{held['id']}".encode() in notice
        wait_for(
            lambda: [row["state"] for row in waiting(hub)] == ["held"], "the hub to know that they have come"
        )
        assert net.inside(lambda: etrn(f"#{held['id']}")) == 250
        if method == "atrn":
            net.cut("wire")
            wait_until_down(site)
            net.join("wire")
        all_has_come(site, hub, [*sent, "huge"])
        assert arrived(site) == dict.fromkeys([*sent, "huge"], 1)
        nobody_was_told(hub)


def is_full(net: Net) -> bool:
    """Whether a further message for the site is refused for now; not asked often, or we are told to wait."""
    time.sleep(1)
    try:
        net.outside(lambda: probe("ship.example"))
    except smtplib.SMTPRecipientsRefused as refused:
        return {code for code, _ in refused.recipients.values()} == {452}
    return False


def probe(domain: str) -> None:
    """MAIL and RCPT, and no content."""
    with smtplib.SMTP(FAR, 25, timeout=60) as client:
        client.ehlo()
        client.mail("b@example.net")
        code, words = client.rcpt(f"crew@{domain}")
        if code != 250:
            raise smtplib.SMTPRecipientsRefused({domain: (code, words)})


def etrn(name: str) -> int:
    """Asked for at the hub, with the site's log-in."""
    with smtplib.SMTP(FAR, 587, timeout=60) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.login("ship@example.org", "sail")
        client.ehlo()
        return client.docmd(f"ETRN {name}")[0]
