"""Clients that mean harm, at the running server: they get little, and good clients don't notice."""

import contextlib
import smtplib
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.support.house import SETTINGS, RunningCmail, wait_for

STRANGER = "127.0.0.66"  # of this machine, and outside relay.networks
STRICT = '[relay]\nnetworks = ["127.0.0.1/32"]\n[limits]\nsessions_per_address = 40\n'
ONE = SETTINGS.replace("workers = 2", "workers = 1")


class Talk:
    """A client that sends what it likes."""

    def __init__(self, port: int, source: str = STRANGER) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60, (source, 0))
        self._file = self._socket.makefile("rb")
        self.greeting = self.reply()

    def reply(self) -> str:
        """The next reply; "" when the connection has ended."""
        lines = []
        with contextlib.suppress(ConnectionError):
            while line := self._file.readline():
                lines.append(line.decode())
                if line[3:4] != b"-":
                    break
        return "".join(lines)

    def say(self, octets: bytes) -> str:
        """Send, and read one reply."""
        self._socket.sendall(octets)
        return self.reply()

    def send(self, octets: bytes) -> None:
        """Send, and read nothing."""
        self._socket.sendall(octets)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


@contextlib.contextmanager
def talk(cmail: RunningCmail, source: str = STRANGER) -> Iterator[Talk]:
    """A conversation with the server."""
    client = Talk(cmail.port("smtp"), source)
    try:
        yield client
    finally:
        client.close()


def good_client_takes(cmail: RunningCmail) -> float:
    """Seconds for a whole message from a good client."""
    started = time.monotonic()
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.sendmail(
            "b@example.net", ["anna@example.org"], b"From: <a@example.net>\r\nSubject: good\r\n\r\nHello\r\n"
        )
    return time.monotonic() - started


def test_idle_connections_do_not_stop_others(tmp_path: Path) -> None:
    """300 connections of one stranger that say nothing: beyond limits.sessions_per_address each hears 421,
    and a good client is served as ever; when they go the stranger is welcome again."""
    with RunningCmail(tmp_path, settings=ONE, more=STRICT) as cmail:
        usual_s = good_client_takes(cmail)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(talk(cmail)) for _ in range(300)]
            codes = [client.greeting[:3] for client in clients]
            assert codes.count("220") == 40 and codes.count("421") == 260
            assert sorted(good_client_takes(cmail) for _ in range(5))[2] < usual_s + 1.0
            assert "421 4.7.0" in clients[-1].greeting
        cmail.wait_for_mail("anna@example.org", 6)

        def is_welcome() -> bool:
            with talk(cmail) as client:
                return client.greeting.startswith("220")

        wait_for(is_welcome, "the stranger to be served again")


# name: (what stands in the content, the reply)
SMUGGLED = {
    "LF . LF": (b"\n.\n", "550 5.6.0"),
    "LF . CRLF": (b"\n.\r\n", "550 5.6.0"),
    "CRLF . LF": (b"\r\n.\n", "550 5.6.0"),
    "CR . CR": (b"\r.\r", "550 5.6.0"),
    "CRLF . CR": (b"\r\n.\r", "550 5.6.0"),
    "NUL": (b"\0", "550 5.6.0"),
    "bare LF": (b"\n", "550 5.6.0"),
}
SECOND = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\nFrom: <e@example.com>\r\nSubject: evil\r\n\r\nx\r\n.\r\n"


def test_smuggling(tmp_path: Path) -> None:
    """What is no CRLF.CRLF ends nothing: the message is refused as a whole, what it hides is never read as
    commands, the session goes on, and nothing of it is in a mailbox."""
    with RunningCmail(tmp_path, settings=ONE, more=STRICT) as cmail:
        for name, (trick, refusal) in SMUGGLED.items():
            with talk(cmail) as client:
                client.say(b"EHLO evil.example.com\r\n")
                client.say(b"MAIL FROM:<a@example.com>\r\n")
                client.say(b"RCPT TO:<anna@example.org>\r\n")
                assert client.say(b"DATA\r\n").startswith("354"), name
                said = client.say(b"From: <a@example.net>\r\nSubject: first\r\n\r\nHello" + trick + SECOND)
                assert said.startswith(refusal), f"{name}: {said}"
                assert client.say(b"NOOP\r\n").startswith("250"), name
        good_client_takes(cmail)
        assert len(cmail.wait_for_mail("anna@example.org")) == 1
        assert b"Subject: good" in cmail.mailbox("anna@example.org")[0]
        assert cmail.log().count("reject: END-OF-MESSAGE") == len(SMUGGLED)


RELAYS = [
    "<b@example.net>",
    "<b%example.net@example.com>",
    "<@example.org:b@example.net>",
    '<"b@example.net"@example.com>',
    "<example.net!b@example.com>",
    "<b@[192.0.2.1]>",
]


def test_relaying_for_strangers(tmp_path: Path) -> None:
    """From outside relay.networks nothing for elsewhere is taken, however it is written: 550 5.7.1 and a line
    of the log; tricks with a domain of ours are nobody's address here; 127.0.0.1 may."""
    with RunningCmail(tmp_path, settings=ONE, more=STRICT) as cmail:
        with talk(cmail) as client:
            client.say(b"EHLO evil.example.com\r\n")
            client.say(b"MAIL FROM:<anna@example.org>\r\n")
            for to in RELAYS:
                assert client.say(f"RCPT TO:{to}\r\n".encode()).startswith("550 5.7.1"), to
            for to in (
                "<b%example.net@example.org>",
                '<"b@example.net"@example.org>',
                "<example.net!b@example.org>",
            ):
                assert client.say(f"RCPT TO:{to}\r\n".encode()).startswith("550 5.1.1"), to
        with talk(cmail, "127.0.0.1") as client:
            client.say(b"EHLO office.example.org\r\n")
            client.say(b"MAIL FROM:<anna@example.org>\r\n")
            assert client.say(b"RCPT TO:<b@example.net>\r\n").startswith("250")
        log = cmail.wait_for_log("550 5.7.1", len(RELAYS))
        assert f"reject: RCPT from unknown[{STRANGER}]" in log or f"[{STRANGER}]: 550 5.7.1" in log
        assert cmail.queue() == []


def test_guessed_passwords(tmp_path: Path) -> None:
    """Somebody who guesses is answered a second late, and after some guesses not at all (454); anna logs in
    from her own place meanwhile, at once."""
    with RunningCmail(tmp_path, settings=ONE, more="[limits]\nsessions_per_address = 40\n") as cmail:
        port = cmail.port("submission")

        def log_in() -> float:
            started = time.monotonic()
            with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
                client.starttls()
                client.login("anna@example.org", "secret")
            return time.monotonic() - started

        usual_s = log_in()
        guess = b64encode(b"\0anna@example.org\0guess").decode()
        codes: list[str] = []
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(30):
                clients.append(Talk(port))
                stack.callback(clients[-1].close)
                clients[-1].say(b"EHLO evil.example.com\r\n")
                clients[-1]._socket.sendall(f"AUTH PLAIN {guess}\r\n".encode())
            assert min(log_in() for _ in range(3)) < usual_s + 1.0
            codes = [client.reply()[:3] for client in clients]
        assert time.monotonic() - started > 1.0
        assert set(codes) == {"535", "454"} and codes.count("535") <= 25, codes
        assert min(log_in() for _ in range(3)) < usual_s + 1.0
        log = cmail.wait_for_log("SASL PLAIN authentication failed", codes.count("535"))
        assert log.count("SASL PLAIN authentication failed") == codes.count("535")


def test_a_known_place_is_known_to_every_worker(tmp_path: Path) -> None:
    """While others guess anna's password until her account is braked, she logs in from the place where she did
    before, at any of the workers, and with the right password only."""
    brakes = "[limits]\nlogin_failures_per_account = 3\nlogin_failures_per_address = 3\n"
    settings = SETTINGS.replace("workers = 2", "workers = 4")
    with RunningCmail(tmp_path, settings=settings, more=brakes) as cmail:
        port = cmail.port("submission")
        right, wrong = (b64encode(f"\0anna@example.org\0{word}".encode()) for word in ("secret", "guess"))

        def log_in(password: bytes, source: str) -> str:
            client = Talk(port, source)
            try:
                client.say(b"EHLO a.example.com\r\n")
                return client.say(b"AUTH PLAIN " + password + b"\r\n")[:3]
            finally:
                client.close()

        assert log_in(right, "127.0.0.1") == "235"
        with ThreadPoolExecutor(16) as pool:
            guesses = list(pool.map(lambda n: log_in(wrong, f"127.0.7.{n}"), range(1, 60)))
        assert guesses.count("454") > 20
        assert [log_in(right, "127.0.0.1") for _ in range(12)] == ["235"] * 12
        assert log_in(wrong, "127.0.0.1") == "535"


SHORT = '[relay]\nnetworks = ["127.0.0.1/32"]\n[limits]\ncommand_timeout = "3s"\nlogin_timeout = "3s"\n'
SHORT += 'data_timeout = "3s"\ndata_rate = 100\n'


def test_who_is_slow_is_ended(tmp_path: Path) -> None:
    """An octet a second in a command or in content, silence, a submission that never logs in: 421 when the time
    of the settings is over; who sends an octet more a second than the least rate is served."""
    with RunningCmail(tmp_path, settings=ONE, more=SHORT) as cmail, contextlib.ExitStack() as stack:
        clients = {
            name: stack.enter_context(talk(cmail)) for name in ("silent", "command", "content", "good")
        }
        submitter = Talk(cmail.port("submission"))
        stack.callback(submitter.close)
        for name in ("content", "good"):
            for line in (b"EHLO a", b"MAIL FROM:<a@example.com>", b"RCPT TO:<anna@example.org>", b"DATA"):
                clients[name].say(line + b"\r\n")
        clients["good"].send(b"From: <a@example.com>\r\n\r\n")
        ended = ""
        for _ in range(30):
            with contextlib.suppress(OSError):
                clients["command"].send(b"N")
                clients["content"].send(b"x")
            clients["good"].send((b"y" * 70 + b"\r\n") * 4)
            with contextlib.suppress(OSError):
                submitter.send(b"NOOP\r\n")
            time.sleep(0.3)
        for name in ("silent", "command", "content"):
            ended = clients[name].reply()
            assert ended.startswith("421 4.4.2"), f"{name}: {ended}"
        assert "421 4.7.0 You did not log in" in "".join(submitter.reply() for _ in range(40))
        assert clients["good"].say(b".\r\n").startswith("250")


def test_office_behind_one_address(tmp_path: Path) -> None:
    """60 people behind one address, all at work at once, with the settings as they come: nobody is refused,
    also when they come back over and over."""
    with RunningCmail(tmp_path, more='[relay]\nnetworks = ["127.0.0.1/32"]\n') as cmail:
        port = cmail.port("submission")
        all_in = Barrier(60)

        def work(person: int) -> None:
            with smtplib.SMTP("127.0.0.1", port, timeout=60, source_address=(STRANGER, 0)) as client:
                client.ehlo()
                all_in.wait(60)
                client.login("anna@example.org", "secret")
                client.sendmail(
                    "anna@example.org", ["anna@example.org"], b"From: <a@example.net>\r\nSubject: x\r\n\r\n"
                )
            for _ in range(5):
                with smtplib.SMTP("127.0.0.1", port, timeout=60, source_address=(STRANGER, 0)) as client:
                    client.login("anna@example.org", "secret")

        with smtplib.SMTP("127.0.0.1", port, timeout=60, source_address=(STRANGER, 0)) as first:
            first.login("anna@example.org", "secret")
        with ThreadPoolExecutor(60) as pool:
            list(pool.map(work, range(60)))
        cmail.wait_for_mail("anna@example.org", 60)
        assert "421 " not in cmail.log() and "454 " not in cmail.log()


def test_client_that_only_errs(tmp_path: Path) -> None:
    """After limits.errors mistakes the session ends with 421; nobody else notices."""
    with RunningCmail(tmp_path, settings=ONE, more=STRICT) as cmail, talk(cmail) as client:
        replies = [client.say(b"RUBBISH\r\n") for _ in range(20)]
        assert all(reply.startswith("500") for reply in replies[:19])
        assert "421" in replies[19] + client.reply()
        assert client.reply() == ""
        assert min(good_client_takes(cmail) for _ in range(3)) < 5.0


@pytest.mark.needs("root")
def test_nothing_listens_as_root(tmp_path: Path) -> None:
    """Started by root on ports below 1024 (25 and 587 of another loopback address): every process that holds a
    listening socket is the settings' user."""
    settings = ONE.replace("127.0.0.1:0", "127.0.0.67:25", 1).replace("127.0.0.1:0", "127.0.0.67:587", 1)
    with RunningCmail(tmp_path, settings=settings) as cmail:
        with smtplib.SMTP("127.0.0.67", 25, timeout=60) as client:
            client.sendmail(
                "b@example.net", ["anna@example.org"], b"From: <a@example.net>\r\nSubject: x\r\n\r\n"
            )
        cmail.wait_for_mail("anna@example.org")
        status = cmail.status()
        for pid in [status["pid"], *(child["pid"] for child in status["children"])]:
            text = Path(f"/proc/{pid}/status").read_text()
            assert "Uid:\t0" not in text and "\t0\n" not in text.split("Uid:")[1].split("\n")[0]
