"""Somebody sets the clock of a running server: forward, back, and while it is stopped."""

import smtplib
from pathlib import Path

import pytest

from tests.support.house import RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx
from tests.support.wrong_clock import WrongClock

HOUR_S, DAY_S = 3600, 86_400
SLOW_LOOK_S = 75.0
MESSAGE = b"From: anna@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"


def send(cmail: RunningCmail, to: str = "b@example.net") -> str:
    """One message; its queue id."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.ehlo()
        client.mail("anna@example.org")
        client.rcpt(to)
        code, words = client.data(MESSAGE)
        assert code == 250, words
        return words.decode().rpartition(" ")[2]


def attempts(cmail: RunningCmail) -> dict[str, int]:
    """How often each message in the queue was tried."""
    return {row["id"]: row["attempts"] for row in cmail.queue()}


def wait_for_attempts(cmail: RunningCmail, when: str) -> None:
    """Until each message in the queue was tried again: at once, or at the slow look at all routes (when the
    clock was set between the end of an attempt and what it meant for the next)."""
    before = attempts(cmail)
    wait_for(lambda: all(n > before[i] for i, n in attempts(cmail).items()), f"attempts {when}", SLOW_LOOK_S)


@pytest.mark.needs("faketime")
@pytest.mark.limit(300)
def test_clock_that_jumps(tmp_path: Path) -> None:
    """Hours forward and back, with mail waiting: nobody gets a bounce, queue ids never repeat or go back,
    mail is tried again soon after each jump, new mail is delivered at once, and at last all arrives, once."""
    with Peers() as peers:
        sink = peers.start(SinkMx({"MAIL": b"451 4.3.0 later\r\n"}))
        more = (
            f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n[queue]\nretry = ["1s"]\ndelay_notice = "0s"\n'
        )
        cmail = RunningCmail(tmp_path, more=more)
        clock = WrongClock(cmail.folder)
        cmail._environ = clock.environ
        cmail.config.write_text(cmail.config.read_text().replace("workers = 2", "workers = 1"))
        with cmail:
            ids = [send(cmail)]
            local = 0
            for offset in (0, 6 * HOUR_S, -6 * HOUR_S, 30 * HOUR_S, -3 * DAY_S, 0):
                clock.set(offset)
                ids.append(send(cmail))
                local += 1
                send(cmail, "anna@example.org")
                cmail.wait_for_mail("anna@example.org", local)
                wait_for_attempts(cmail, f"after {offset} s")
            assert ids == sorted(set(ids))
            arrived = [row["arrived_ms"] for row in cmail.queue()]
            assert max(arrived) - min(arrived) > 100 * 3600 * 1000, "the clock did jump"
            cmail.stop()
            clock.set(-10 * DAY_S)
            cmail.start()
            ids.append(send(cmail))
            assert ids == sorted(set(ids))
            wait_for_attempts(cmail, "after the restart")
            assert len(cmail.queue()) == len(ids)
            assert len(cmail.mailbox("anna@example.org")) == local, "nobody was sent a report"
            peers.heal(sink)
            wait_for(lambda: not cmail.queue(), "all the mail to go")
            assert len(sink.taken) == len(ids)
            assert "Traceback" not in cmail.log() and "is started again" not in cmail.log()
