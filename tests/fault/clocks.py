"""Clocks, for `make torture`: a running server whose clock is set by hours and by years while mail waits.

Nothing is bounced, told of or stuck; sessions and log-ins go on; ids and names never repeat."""

import shutil
import smtplib
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Self

from tests.support.house import RunningCmail, wait_for
from tests.support.ledger import Senders, balance_of, message, queue_ids, tags_of
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx
from tests.support.torture import Say, Summary
from tests.support.wrong_clock import WrongClock

HOUR_S: Final = 3600
DAY_S: Final = 86_400
YEAR_S: Final = 365 * DAY_S
IN_1970_S: Final = -int(time.time()) + 200 * DAY_S  # some day of it
IN_2080_S: Final = 3_471_292_800 - int(time.time())
LONG_WAY: Final = (
    6 * HOUR_S,
    -6 * HOUR_S,
    2 * DAY_S,  # a laptop that slept
    0,
    2 * YEAR_S,
    IN_2080_S,
    IN_1970_S,
    0,
)
STARTS: Final = (IN_1970_S, IN_2080_S, -10 * DAY_S, 0)
HERE, THERE, LATER = "anna@example.org", "b@example.net", "later@example.net"
SEEN_S: Final = 120.0  # what waits is tried by then after a step; usually it is 5
SETTINGS: Final = '[smtp]\nhost = "{host}"\nport = {port}\n[queue]\nretry = ["1h"]\n'


class Trial:
    """A server, an upstream server that puts one recipient off, and a client that sends all the time."""

    def __init__(self, folder: Path, summary: Summary, say: Say, upstream: str) -> None:
        self.summary, self._say, self.upstream = summary, say, upstream
        self.peers = Peers()
        self.sink = SinkMx({f"RCPT:{LATER}": b"451 4.3.0 later\r\n"}, host=upstream)
        self.cmail = RunningCmail(folder)
        self.clock = WrongClock(self.cmail.folder)
        self.senders = Senders(lambda: self.cmail.port("smtp"), [HERE, THERE, LATER], senders=1, rate=10)
        self.local_count = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.peers)
            self.peers.start(self.sink)
            text = self.cmail.config.read_text().replace("workers = 2", "workers = 1")
            self.cmail.config.write_text(text + SETTINGS.format(host=self.upstream, port=self.sink.port))
            self.cmail._environ = self.clock.environ
            stack.callback(self.cmail.stop)
            self.cmail.start()
            stack.enter_context(self.senders)
            stack.callback(self.senders.stop)
            self.senders.wait_for(6)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def step(self, offset_s: int) -> None:
        """Set the clock while a session is open; see what becomes of everything."""
        self._say(f"the clock goes to {offset_s / DAY_S:+.1f} days")
        with smtplib.SMTP("127.0.0.1", self.cmail.port("smtp"), timeout=60) as session:
            session.ehlo()
            before = self._attempts()
            self.clock.set(offset_s)
            self._expect_tried(before, f"after the step to {offset_s / DAY_S:+.1f} days")
            self.summary.expect(session.noop()[0] == 250, "a session was cut by a step")
            self._send_here(session)
        self._log_in()

    def restart(self, offset_s: int) -> None:
        """Stop it, and start it with another clock."""
        self._say(f"starts with a clock that is off by {offset_s / DAY_S:+.1f} days")
        self.cmail.stop()
        self.clock.set(offset_s)
        self.cmail.start()
        with smtplib.SMTP("127.0.0.1", self.cmail.port("smtp"), timeout=60) as session:
            session.ehlo()
            self._send_here(session)
        self._log_in()

    def end(self) -> None:
        """The upstream server takes all: does all arrive?"""
        self._say("all is to arrive")
        self.senders.stop()
        self.summary.expect(self._attempts(), "nothing waited at the end: gone, and where to?")
        self.peers.heal(self.sink)
        self.cmail.ask("worker-0", "queue.flush", filter={})
        wait_for(lambda: not self.cmail.queue(), "the queue to empty", 120)
        self._judge()

    def _judge(self) -> None:
        here = self.cmail.mailbox(HERE)
        arrived = tags_of(here) + tags_of(taken.content for taken in self.sink.taken)
        reports = [each for each in here if b"mailer-daemon" in each[:2000].lower()]
        self.summary.expect(not reports, f"{len(reports)} reports of mail that had all its chances yet")
        acknowledged = self.senders.acknowledged
        self.summary.add(balance_of(acknowledged, arrived, queue_ids(self.cmail.queue()), self.senders.tried))
        ids = [each.queue_id for each in sorted(acknowledged.values(), key=lambda each: each.monotonic)]
        self.summary.expect(ids == sorted(set(ids)), "queue ids went back, or repeat")
        self.summary.expect("Traceback" not in self.cmail.log(), "an error of ours is in the log")
        self.summary.expect("is started again" not in self.cmail.log(), "a process ended")

    def _attempts(self) -> dict[str, int]:
        return {row["id"]: row["attempts"] for row in self.cmail.queue() if row["attempts"]}

    def _expect_tried(self, before: dict[str, int], when: str) -> None:
        """Whatever waited for its hour is tried; nothing of it has gone."""

        def is_tried() -> bool:
            now = self._attempts()
            return all(now.get(queue_id, 0) > count for queue_id, count in before.items())

        try:
            wait_for(is_tried, when, SEEN_S)
        except AssertionError:
            gone = before.keys() - self._attempts().keys()
            self.summary.expect(False, f"{when}: {len(gone)} gone, or not tried: {self._attempts()}")

    def _send_here(self, session: smtplib.SMTP) -> None:
        """A message of an open session arrives, with the time that the server takes for now."""
        self.local_count += 1
        tag = f"here{self.local_count}"
        began = self.clock.now()
        session.sendmail("x@example.com", [HERE], message(tag))
        wait_for(lambda: tags_of(self.cmail.mailbox(HERE)).get(tag) == 1, "mail that was just sent")
        found = next(each for each in self.cmail.mailbox(HERE) if tag.encode() in each)
        stamp = str(message_from_bytes(found)["Received"]).rpartition(";")[2]
        off_s = parsedate_to_datetime(stamp.strip()).timestamp() - began
        self.summary.expect(-2 < off_s < 60, f"Received says {stamp.strip()}, which is off by {off_s:.0f} s")

    def _log_in(self) -> None:
        """One slip, then the right password."""
        with smtplib.SMTP("127.0.0.1", self.cmail.port("submission"), timeout=60) as session:
            session.ehlo()
            try:
                session.login(HERE, "wrong")
            except smtplib.SMTPAuthenticationError:
                pass
            code, words = session.login(HERE, "secret")
            self.summary.expect(code == 235, f"the right password was refused: {words!r}")


def trial(folder: Path, say: Say, steps: Sequence[int], starts: Sequence[int], upstream: str) -> Summary:
    """All of it, from the first message to the last."""
    summary = Summary()
    began = time.monotonic()
    with Trial(folder, summary, say, upstream) as running:
        for offset_s in steps:
            running.step(offset_s)
        for offset_s in starts:
            running.restart(offset_s)
        running.end()
    summary.notes.append(
        f"{len(steps)} steps of the clock and {len(starts)} starts with a wrong one, the upstream server at"
        f" {upstream}: {time.monotonic() - began:.0f} s, mail in the queue all along"
    )
    return summary


def upstreams() -> list[str]:
    """Where the upstream server may be: mail for one on loopback waits by the wall clock, for any other by
    link-up time. A machine without a network has the first alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return ["127.0.0.1"]
        return ["127.0.0.1", str(probe.getsockname()[0])]


def torture(say: Say) -> Summary:
    """The long way, for each kind of upstream server."""
    whole = Summary()
    for upstream, starts in zip(upstreams(), (STARTS[:2], STARTS[2:]), strict=False):
        folder = Path(tempfile.mkdtemp(prefix="cmail-clocks-"))
        try:
            part = trial(folder, say, LONG_WAY, starts, upstream)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        for name in ("accepted", "delivered", "in_queue", "lost", "duplicated", "notes", "broken"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
    return whole
