"""kill -9 under load: everything that was acknowledged arrives; what arrives twice is counted."""

import os
import re
import signal
import smtplib
import threading
import time
from collections import Counter
from pathlib import Path

from tests.support.house import RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import HANG, SinkMx

SENDERS = 4
MESSAGES = 60  # each
MESSAGE = "Subject: %s\r\n\r\n" + "Hello, this is a line of the body.\r\n" * 40


class Load:
    """Senders that try each message until it is acknowledged; every second one goes to the
    Internet, the others to a mailbox here."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: list[str] = []
        self._threads = [threading.Thread(target=self._send_all, args=(n,)) for n in range(SENDERS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def wait_for(self, count: int) -> None:
        """Until so many are acknowledged."""
        wait_for(lambda: len(self.acknowledged) >= count, f"{count} acknowledged", 30)

    def _send_all(self, number: int) -> None:
        client: smtplib.SMTP | None = None
        for name in [f"m{number}x{n}" for n in range(MESSAGES)]:
            to = "b@example.net" if name[-1] in "02468" else "anna@example.org"
            for attempt in range(1000):
                tried = f"{name}t{attempt}"  # a try without an answer may arrive too: it is another message
                try:
                    client = client or smtplib.SMTP("127.0.0.1", self.port, timeout=10)
                    client.sendmail("a@example.com", [to], (MESSAGE % tried).encode())
                except (OSError, smtplib.SMTPException):
                    client = None
                    time.sleep(0.02)
                else:
                    self.acknowledged.append(tried)
                    break


def arrived(cmail: RunningCmail, sink: SinkMx) -> Counter[str]:
    """How often each message is at its end."""
    contents = [taken.content for taken in sink.taken] + cmail.mailbox("anna@example.org")
    return Counter(re.findall(rb"Subject: (\S+)", content)[0].decode() for content in contents)


def check(cmail: RunningCmail, sink: SinkMx, load: Load, kills: int) -> None:
    """Nothing that was acknowledged is missing; twice only what was under way when somebody was killed."""
    until = time.monotonic() + 30
    while (waiting := cmail.queue()) and time.monotonic() < until:
        time.sleep(0.05)
    assert waiting == []
    counts = arrived(cmail, sink)
    assert sorted(set(load.acknowledged) - counts.keys()) == [], "lost"
    twice = {name: count for name, count in counts.items() if count > 1}
    assert all(count <= 1 + kills for count in twice.values()), twice
    assert len(twice) <= kills * 64, twice  # what is under way to a next hop or into mailboxes is bounded


def test_killed_workers_lose_nothing(tmp_path: Path) -> None:
    """Workers are killed one after the other while mail comes in and goes out."""
    with Peers() as peers:
        sink = peers.start(SinkMx())
        with RunningCmail(tmp_path, more=f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n') as cmail:
            with Load(cmail.port("smtp")) as load:
                for count, name in ((30, "worker-0"), (80, "worker-1"), (130, "worker-0")):
                    load.wait_for(count)
                    victim = cmail.pid(name)
                    os.kill(victim, signal.SIGKILL)
                    wait_for(lambda: cmail.pid(name) not in (0, victim), f"a new {name}")  # noqa: B023
            assert len(load.acknowledged) == SENDERS * MESSAGES
            wait_for(lambda: all(c["state"] == "running" for c in cmail.status()["children"]), "all")
            check(cmail, sink, load, 3)
            assert cmail.log().count("ended with signal SIGKILL; it is started again") == 3


def test_killed_server_loses_nothing(tmp_path: Path) -> None:
    """All of its processes are killed at once, under load, and it is started again, five times. The upstream
    server hangs until then: what goes there is in the spool, or lost."""
    with Peers() as peers:
        sink = peers.start(SinkMx({"connect": HANG}))
        with RunningCmail(tmp_path, more=f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n') as cmail:
            with Load(cmail.port("smtp")) as load:
                for count in (40, 80, 120, 160, 200):
                    load.wait_for(count)
                    cmail.kill()
                    cmail.start()
                    load.port = cmail.port("smtp")
            assert len(load.acknowledged) == SENDERS * MESSAGES
            cmail.kill()
            peers.heal(sink)
            cmail.start()
            check(cmail, sink, load, 6)
