"""The hub for sites that come and go: mail waits for them, ETRN, ATRN, finger and log-ins have it sent."""

import smtplib
from pathlib import Path

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
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=10) as client:
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
    client = smtplib.SMTP("127.0.0.1", cmail.port(kind), timeout=10)
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
            client = smtplib.SMTP("127.0.0.1", cmail.port("submission"), timeout=10)
            client.ehlo()
            assert "etrn" not in client.esmtp_features
            assert client.docmd("ETRN ship.example")[0] == 530
            client.login("ship@example.org", "sail")
            client.ehlo()
            assert "etrn" in client.esmtp_features
            code, words = client.docmd("ETRN ship.example")
            assert (code, str(len(sent)) in words.decode()) in ((253, True), (251, False))  # the log-in was first
            wait_for(lambda: len(ship.taken) == len(sent), "all of it at the ship")
            assert subjects_of([m.content for m in ship.taken]) == sorted(sent)
            assert client.docmd("ETRN #ship")[0] == 251
            assert client.docmd("ETRN @example")[0] == 251
            assert client.docmd("ETRN example.org")[0] == 459
            assert client.docmd("ETRN")[0] == 501
            client.quit()
            send(cmail, "later")
            wait_for(lambda: len(ship.taken) == len(sent) + 1, "what came while it stays")
