"""The door for sites under attack: floods of ETRN and ATRN, sites that turn round and talk nonsense, two of one site at
once: bounded, nothing is lost, others are served."""

import smtplib
import socket
import threading
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.test_serve_sites import SITE, customer, hub, send, spread, subjects_of
from tests.support.house import RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

ETRN_COUNT: Final = 60
NEAR: Final = 'networks = ["127.0.0.0/8"]\n'
FAR: Final = 'networks = ["192.0.2.0/28"]\n'


def _raw(port: int) -> tuple[socket.socket, Any]:
    """A connection that has been greeted and has said EHLO."""
    sock = socket.create_connection(("127.0.0.1", port), 60)
    file = sock.makefile("rb")
    file.readline()
    sock.sendall(b"EHLO ship.example\r\n")
    while file.readline()[3:4] == b"-":
        pass
    return sock, file


def _replies(sock: socket.socket, file: Any, line: bytes, count: int) -> list[bytes]:
    """Say it so often in one go; what came until the end of the connection, or so many replies."""
    sock.sendall(line * count)
    found = []
    for _ in range(count):
        reply = file.readline()
        if not reply:
            break
        found.append(reply)
    return found


def _rss_kb(cmail: RunningCmail) -> int:
    """Of all its processes."""
    pids = [child["pid"] for child in cmail.status()["children"] if child["pid"]]
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4 for pid in pids)


@pytest.mark.limit(300)
def test_etrn_from_an_unknown_network(tmp_path: Path) -> None:
    """Each is refused, counts as a mistake and so ends the session; no site counts as there, none is called."""
    with hub(tmp_path, SITE + FAR) as cmail:
        send(cmail, "waits")
        for name in (b"ship.example", b"@example", b"#ship", b"nobody.example"):
            sock, file = _raw(cmail.port("smtp"))
            with sock:
                replies = _replies(sock, file, b"ETRN " + name + b"\r\n", ETRN_COUNT)
            assert len(replies) <= 21 and replies[-1].startswith(b"421"), replies[-1]
            assert all(reply[:1] in b"45" for reply in replies) and b"pending" not in b"".join(replies)
        assert "it is there" not in cmail.log() and len(cmail.queue()) == 1
        send(cmail, "others are served", to="anna@example.org")


@pytest.mark.limit(300)
def test_etrn_without_end_from_a_site(tmp_path: Path) -> None:
    """Its own server is called a few times, not each time, and the log is not filled: nobody makes us knock at a
    door over and over. What waits comes all the same once somebody opens."""
    with Peers() as peers:
        ship = peers.start(SinkMx(script={"connect": b"421 4.3.2 not now\r\n"}))
        with hub(tmp_path, SITE + NEAR + f'host = "127.0.0.1:{ship.port}"\n') as cmail:
            send(cmail, "waits")
            said = 0
            for _ in range(3):
                sock, file = _raw(cmail.port("smtp"))
                with sock:
                    said += len(_replies(sock, file, b"ETRN ship.example\r\n", ETRN_COUNT))
            assert said > ETRN_COUNT
            assert cmail.log().count("it is there") <= 10
            assert ship.connections <= 20
            time.sleep(1.1)  # whoever asks again within a second is not heard
            peers.heal(ship)
            sock, file = _raw(cmail.port("smtp"))
            with sock:
                assert _replies(sock, file, b"ETRN ship.example\r\n", 1)[0].startswith(b"25")
            wait_for(lambda: len(ship.taken) == 1, "it at the ship")


@pytest.mark.limit(300)
def test_atrn_without_end(tmp_path: Path) -> None:
    """With no mail, for others' domains, without a log-in: the session ends after so many."""
    with hub(tmp_path, SITE) as cmail:
        send(cmail, "another's", to="anna@example.org")
        for line, code in (
            (b"ATRN\r\n", b"453"),
            (b"ATRN example.org\r\n", b"450"),
            (b"ATRN a b\r\n", b"501"),
        ):
            with customer(cmail) as ship:
                ship._socket.sendall(line * 150)
                ship._socket.settimeout(20)
                heard = b""
                while data := ship._socket.recv(65536):
                    heard += data
            codes = [reply[:3] for reply in heard.splitlines()]
            assert codes[0] == code and codes[-1] == b"421" and len(codes) <= 101, (
                codes[0],
                codes[-1],
                len(codes),
            )
        assert cmail.mailbox("anna@example.org")


@pytest.mark.limit(300)
def test_two_of_one_site_at_once(tmp_path: Path) -> None:
    """Both turn round; each message comes to one of them, none to both, and none is left."""
    with hub(tmp_path, SITE) as cmail:
        sent = spread(cmail, 30)
        taken: list[bytes] = []
        problems: list[str] = []

        def come() -> None:
            with customer(cmail) as ship:
                said = ship.says("ATRN ship.example")
                if said.startswith("250"):
                    ship.serve(reply=lambda count: time.sleep(0.01) or "250 2.0.0 taken")  # type: ignore[func-returns-value]
                    taken.extend(ship.taken)
                elif not said.startswith("453"):
                    problems.append(said)

        threads = [threading.Thread(target=come) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if cmail.queue():
            come()
        assert not problems and subjects_of(taken) == sorted(sent)
        wait_for(lambda: not cmail.queue(), "an empty queue")


# What a site says once the connection has turned round.
NONSENSE: Final = {
    "a line without an end": (b"2" * 65536, 400),
    "greetings without an end": (b"220 ship.example\r\n" * 4000, 100),
    "a reply of lines without an end": (b"220 ship.example ready\r\n" + b"250-x\r\n" * 8000, 100),
    "nobody's octets": (bytes(range(256)) * 256, 50),
    "it takes everything before it is said": (b"220 ready\r\n250 ok\r\n" + b"250 2.0.0 taken\r\n" * 200, 1),
    "a command of its own": (b"220 ready\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\n", 1),
}  # fmt: skip


@pytest.mark.limit(400)
def test_a_site_that_turns_round_and_talks_nonsense(tmp_path: Path) -> None:
    """The connection ends, memory stays, no message counts as taken by who was never given it; others are served, and
    the next visit takes all of it, once."""
    with hub(tmp_path, SITE) as cmail:
        sent = spread(cmail, 8)
        before_kb = _rss_kb(cmail)
        for name, (octets, times) in NONSENSE.items():
            with customer(cmail) as ship:
                assert ship.says("ATRN ship.example").startswith("250"), name
                sock = ship._socket
                sock.settimeout(20)
                try:
                    for _ in range(times):
                        sock.sendall(octets)
                    while sock.recv(65536):
                        pass
                except (ConnectionError, BrokenPipeError):
                    pass
            send(cmail, "meanwhile", to="anna@example.org")
            assert len(cmail.queue()) >= len(sent), f"{name}: taken by nobody"
        assert _rss_kb(cmail) - before_kb < 60 * 1024
        assert "Traceback" not in cmail.log()
        with customer(cmail) as ship:
            assert ship.says("ATRN ship.example").startswith("250")
            ship.serve()
            assert subjects_of(ship.taken) == sorted(sent)
        wait_for(lambda: not cmail.queue(), "an empty queue")


def test_nobody_sends_as_a_site_by_its_network_alone(tmp_path: Path) -> None:
    """A site's network may ask for its mail; relay it may not, and no local-part of ours is given away to it."""
    with hub(tmp_path, SITE + NEAR) as cmail:
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            client.ehlo()
            client.mail("a@ship.example")
            assert client.rcpt("victim@example.com")[0] == 550
