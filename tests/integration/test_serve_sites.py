"""The hub for sites that come and go: mail waits for them, ETRN, ATRN, finger and log-ins have it sent."""

import smtplib
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.support.customer import Customer
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

USERS = (("anna@example.org", "secret"), ("ship@example.org", "sail"))
LISTENERS = """
[[listener]]
kind = "odmr"
address = "127.0.0.1:0"

[[listener]]
kind = "finger"
address = "127.0.0.1:0"
"""
STRANGERS = '[relay]\nnetworks = ["192.0.2.0/24"]\n'  # whoever connects from here may not relay
SITE = '\n[[site]]\nname = "ship"\ndomains = ["ship.example"]\nuser = "ship@example.org"\n'


def hub(folder: Path, more: str) -> RunningCmail:
    """A server with two workers, and what is said of its sites."""
    return RunningCmail(folder, settings=SETTINGS + LISTENERS + STRANGERS, more=more, users=USERS)


def send(cmail: RunningCmail, *subjects: str, to: str = "whoever@ship.example", octets: int = 10) -> None:
    """From a stranger; each message on a connection of its own, so that both workers get some."""
    for subject in subjects:
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            text = f"From: <b@example.net>\r\nSubject: {subject}\r\n\r\n{'x' * octets}\r\n"
            client.sendmail("b@example.net", [to], text)


def spread(cmail: RunningCmail, count: int) -> list[str]:
    """So many messages at least, of which each worker has some; their subjects."""
    subjects: list[str] = []

    def is_spread() -> bool:
        figures = [cmail.ask(f"worker-{n}", "queue.figures")["messages"] for n in range(2)]
        return len(subjects) >= count and all(figures)

    while not is_spread():
        subjects.append(f"message {len(subjects)}")
        send(cmail, subjects[-1])
        assert len(subjects) < count + 100
    return subjects


def subjects_of(contents: list[bytes]) -> list[str]:
    """What came, by its subjects."""
    lines = [line for content in contents for line in content.split(b"\r\n") if line.startswith(b"Subject: ")]
    return sorted(line.removeprefix(b"Subject: ").decode() for line in lines)


def log_in(cmail: RunningCmail, kind: str = "submission") -> smtplib.SMTP:
    """The site's client, logged in."""
    client = smtplib.SMTP("127.0.0.1", cmail.port(kind), timeout=60)
    client.ehlo()
    client.login("ship@example.org", "sail")
    client.ehlo()
    return client


def test_mail_waits_for_a_site_and_goes_when_it_asks_by_etrn(tmp_path: Path) -> None:
    """Nothing is sent before; why it waits is said. ETRN counts what both workers have, and all of it goes to
    the site's host; what comes while it stays goes at once."""
    with Peers() as peers:
        ship = peers.start(SinkMx())
        more = SITE + f'host = "127.0.0.1:{ship.port}"\n'
        with hub(tmp_path, more) as cmail:
            sent = spread(cmail, 8)
            assert not ship.taken
            client = smtplib.SMTP("127.0.0.1", cmail.port("submission"), timeout=60)
            client.ehlo()
            assert "etrn" in client.esmtp_features  # real programs look for it once, before they log in
            assert client.docmd("ETRN ship.example")[0] == 530
            client.login("ship@example.org", "sail")
            client.ehlo()
            assert "etrn" in client.esmtp_features
            code, words = client.docmd("ETRN ship.example")  # the log-in has begun it already
            assert code in (251, 253) and b"ship.example" in words
            wait_for(lambda: len(ship.taken) == len(sent), "all of it at the ship")
            assert subjects_of([m.content for m in ship.taken]) == sorted(sent)
            wait_for(lambda: not cmail.queue(), "an empty queue")
            assert client.docmd("ETRN #ship")[0] == 251
            assert client.docmd("ETRN @example")[0] == 251
            assert client.docmd("ETRN example.org")[0] == 459
            assert client.docmd("ETRN")[0] == 501
            client.quit()
            send(cmail, "later")
            wait_for(lambda: len(ship.taken) == len(sent) + 1, "what came while it stays")


def customer(cmail: RunningCmail, *, is_tls: bool = False) -> Customer:
    """A site at the ODMR port, logged in."""
    found = Customer(cmail.port("odmr"))
    if is_tls:
        assert "STARTTLS" in found.says("EHLO ship.example")
        found.start_tls()
    assert "ATRN" in found.says("EHLO ship.example")
    assert found.log_in("ship@example.org", "sail").startswith("235")
    assert "ATRN" in found.says("EHLO ship.example")
    return found


@pytest.mark.parametrize("is_tls", [False, True], ids=["clear", "TLS"])
def test_a_site_takes_its_mail_over_the_connection_that_it_came_by(tmp_path: Path, is_tls: bool) -> None:
    """ATRN: what both workers have comes over the one connection, each message once, then QUIT. A second time
    there is no mail."""
    with hub(tmp_path, SITE) as cmail:
        sent = spread(cmail, 12)
        with customer(cmail, is_tls=is_tls) as ship:
            assert ship.says("ATRN ship.example").startswith("250")
            ship.serve("PIPELINING SIZE 8BITMIME")
        assert subjects_of(ship.taken) == sorted(sent)
        wait_for(lambda: not cmail.queue(), "an empty queue")
        with customer(cmail, is_tls=is_tls) as ship:
            assert ship.says("ATRN").startswith("453")
            assert ship.says("QUIT").startswith("221")


def test_a_site_without_pipelining_and_one_that_refuses_a_message(tmp_path: Path) -> None:
    """One command at a time comes through all shards in step; what is refused for now waits for the next time,
    and what comes behind it is sent."""
    with hub(tmp_path, SITE) as cmail:
        sent = spread(cmail, 6)
        with customer(cmail) as ship:
            assert ship.says("ATRN").startswith("250")
            ship.serve("SIZE", lambda count: "451 4.2.0 not now" if count == 1 else "250 ok")
        first = ship.taken
        with customer(cmail) as ship:
            if wait_for(lambda: [cmail.queue()], "the queue")[0]:
                assert ship.says("ATRN").startswith("250")
                ship.serve()
        assert subjects_of(first + ship.taken) == sorted(sent)


@pytest.mark.parametrize("cut_at", [0, 3, 9])
def test_nothing_is_lost_when_the_connection_is_cut_in_the_middle(tmp_path: Path, cut_at: int) -> None:
    """The site is gone before it has acknowledged a message: what it has acknowledged does not come again, all
    the rest comes the next time."""
    with hub(tmp_path, SITE) as cmail:
        sent = spread(cmail, 12)
        with customer(cmail) as ship:
            assert ship.says("ATRN").startswith("250")
            ship.serve(cut_at=cut_at)
        first = ship.taken
        assert len(first) == cut_at
        wait_for(lambda: len(cmail.queue()) == len(sent) - cut_at, "the rest in the queue")
        assert not cmail.mailbox("anna@example.org")
        with customer(cmail) as ship:
            wait_for(lambda: ship.says("ATRN").startswith("250"), "the turn")
            ship.serve()
        assert Counter(subjects_of(first + ship.taken)) == Counter(sent)
        wait_for(lambda: not cmail.queue(), "an empty queue")


def test_who_may_not_turn_a_connection_round(tmp_path: Path) -> None:
    """Without a log-in, with another account, for somebody else's domain; on the port of mail; no mail is taken
    at the ODMR port; octets behind ATRN end the session."""
    with hub(tmp_path, SITE) as cmail:
        send(cmail, "one")
        with Customer(cmail.port("odmr")) as stranger:
            stranger.says("EHLO x")
            assert stranger.says("ATRN ship.example").startswith("530")
            assert stranger.says("ETRN ship.example").startswith("530")
            assert stranger.says("MAIL FROM:<>").startswith("502")
            assert stranger.log_in("anna@example.org", "secret").startswith("235")
            assert "ATRN" not in stranger.says("EHLO x")
            assert stranger.says("ATRN").startswith("450")
            assert stranger.says("ATRN ship.example").startswith("450")
        with Customer(cmail.port("smtp")) as stranger:
            assert "TRN" not in stranger.says("EHLO x")
            assert stranger.says("ATRN").startswith("502")
            assert stranger.says("ETRN ship.example").startswith("459")
            assert stranger.says("ETRN #ship").startswith("459")
        with customer(cmail) as ship:
            assert ship.says("ATRN ship.example,other.example").startswith("450")
            assert ship.says("ATRN a b").startswith("501")
            ship.sends("ATRN\r\n220 too early")
            assert ship.hears().startswith("421")
        assert len(cmail.queue()) == 1


def finger(cmail: RunningCmail, text: str) -> str:
    """What the finger listener answers."""
    with socket.create_connection(("127.0.0.1", cmail.port("finger")), 60) as client:
        client.sendall(text.encode() + b"\r\n")
        return client.makefile("rb").read().decode()


def test_a_known_site_kicks_by_finger(tmp_path: Path) -> None:
    """Its domain from its network has its mail sent to its host; another name learns nothing, and who asks too
    often is told so."""
    with Peers() as peers:
        ship = peers.start(SinkMx())
        more = SITE + f'host = "127.0.0.1:{ship.port}"\nnetworks = ["127.0.0.0/8"]\n'
        with hub(tmp_path, more) as cmail:
            sent = spread(cmail, 2)
            assert finger(cmail, "example.org") == finger(cmail, "other.example") != ""
            assert not ship.taken
            assert finger(cmail, "Ship.Example") == f"{len(sent)} messages for ship.example: on the way.\r\n"
            wait_for(lambda: len(ship.taken) == len(sent), "all of it")
            wait_for(lambda: not cmail.queue(), "an empty queue")
            answers = [finger(cmail, "ship.example")]
            while answers[-1] != "Not so often, please.\r\n":  # each worker counts for itself
                assert len(answers) < 100
                answers.append(finger(cmail, "ship.example"))
            assert answers[0] == "No mail waits for ship.example.\r\n"


def test_finger_from_elsewhere_learns_nothing(tmp_path: Path) -> None:
    """The site's own domain, but not from its networks: as for a name that nobody has."""
    with hub(tmp_path, SITE + 'networks = ["192.0.2.0/28"]\n') as cmail:
        send(cmail, "one")
        assert finger(cmail, "ship.example") == finger(cmail, "nobody.example")
        assert len(cmail.queue()) == 1


def test_what_waits_for_a_site_has_limits(tmp_path: Path) -> None:
    """With as many messages as the settings allow the next one is refused for now, with words; the octets that
    MAIL announces count likewise, and what is larger than all that may ever wait is refused for good."""
    more = SITE + "messages = 3\n" + SITE.replace("ship", "boat") + 'size = "4KiB"\n'
    text = SETTINGS.replace("workers = 2", "workers = 1") + LISTENERS + STRANGERS
    users = (*USERS, ("boat@example.org", "row"))
    with RunningCmail(tmp_path, settings=text, more=more, users=users) as cmail:
        send(cmail, "one", "two", "three")
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            send(cmail, "four")
        ((code, words),) = caught.value.recipients.values()
        assert code == 452 and words.startswith(b"4.2.2")
        for octets, refusal in ((3000, 452), (5000, 550)):  # with what waits; by itself, for ever
            send(cmail, "small", to="a@boat.example", octets=1000 if octets == 3000 else 10)
            with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
                send(cmail, "large", to="a@boat.example", octets=octets)
            assert caught.value.recipients["a@boat.example"][0] == refusal


def test_what_is_held_for_its_size_counts_for_the_limits(tmp_path: Path) -> None:
    """It lies on the disk as all else does: what came before a restart, and is held, fills the site's share."""
    more = SITE + 'largest = "10KiB"\nsize = "30KiB"\n'
    text = SETTINGS.replace("workers = 2", "workers = 1") + LISTENERS + STRANGERS
    cmail = RunningCmail(tmp_path, settings=text, more=more, users=USERS)
    with cmail:
        send(cmail, "huge", octets=25_000)
        wait_for(lambda: [r for r in cmail.queue() if r["state"] == "held"], "it to be held")
    with cmail:
        wait_for(lambda: cmail.rows("worker-0", "site.list"), "the worker to know its sites")
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            send(cmail, "another", octets=8_000)
        ((code, words),) = caught.value.recipients.values()
        assert code == 452 and words.startswith(b"4.2.2")
        send(cmail, "small")


def test_a_large_message_is_held_and_the_site_is_told_once(tmp_path: Path) -> None:
    """Its postmaster hears of it with the small mail; ETRN with its name, after a log-in, has it sent."""
    with Peers() as peers:
        ship = peers.start(SinkMx())
        more = SITE + f'host = "127.0.0.1:{ship.port}"\nlargest = "10KiB"\n'
        with hub(tmp_path, more) as cmail:
            send(cmail, "huge", octets=20_000)
            send(cmail, "small")
            rows = wait_for(lambda: [r for r in cmail.queue() if r["state"] == "held"], "it to be held")
            assert "is larger than what site ship takes unasked (10 KiB)" in rows[0]["reason"]
            name = rows[0]["id"]
            with log_in(cmail) as client:
                wait_for(lambda: len(ship.taken) == 2, "the small one and the notice")
                notice = next(m for m in ship.taken if b"postmaster@ship.example" in m.recipients[0].encode())
                assert f"ETRN #{name}".encode() in notice.content and b"Subject: huge" in notice.content
                assert client.docmd("ETRN #0000000000000")[0] in (459, 550)
                assert client.docmd(f"ETRN #{name}")[0] == 250
                wait_for(lambda: len(ship.taken) == 3, "the large one")
            wait_for(lambda: not cmail.queue(), "an empty queue")
            assert len(ship.taken) == 3


def test_a_log_in_of_a_site_with_a_host_is_enough(tmp_path: Path) -> None:
    """Whatever it came for."""
    with Peers() as peers:
        ship = peers.start(SinkMx())
        with hub(tmp_path, SITE + f'host = "127.0.0.1:{ship.port}"\n') as cmail:
            sent = spread(cmail, 3)
            log_in(cmail).quit()
            wait_for(lambda: len(ship.taken) == len(sent), "all of it")


def test_a_site_that_has_gone_is_closed_again(tmp_path: Path) -> None:
    """After `stays` what comes waits again, and why is said."""
    with Peers() as peers:
        ship = peers.start(SinkMx())
        with hub(tmp_path, SITE + f'host = "127.0.0.1:{ship.port}"\nstays = "5s"\n') as cmail:
            send(cmail, "one")
            log_in(cmail).quit()
            wait_for(lambda: len(ship.taken) == 1, "the first")
            wait_for(lambda: not cmail.rows("worker-0", "site.list")[0]["is_there"], "it to be gone")
            wait_for(lambda: not cmail.rows("worker-1", "site.list")[0]["is_there"], "it to be gone")
            send(cmail, "two", "three", "four")
            assert len(cmail.queue()) == 3 and len(ship.taken) == 1
