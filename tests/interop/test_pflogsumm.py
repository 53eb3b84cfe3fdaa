"""pflogsumm, which reads Postfix's logs, reads ours: every message is counted as what became of it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cmail.mail.address import parse_address
from cmail.mail.outcome import Delivered, Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.queue_id import QueueIds
from cmail.mail.reply import parse_reply
from cmail.observe import log_file, maillog
from cmail.observe.settings import LogSettings

CLIENT = "mail.example.net[192.0.2.9]"
BOB = parse_address(b"bob@example.com")
OUTCOMES: list[Outcome] = [
    Delivered("mx.example.com[192.0.2.1]:25", "250 2.0.0 ok"),
    Delivered("local", "delivered", is_local=True),
    TemporaryFailure("connection refused"),
    PermanentFailure("mx.example.com[192.0.2.1] said: 550 5.1.1 no such user"),
]


@pytest.mark.needs("pflogsumm")
def test_its_grand_totals_are_ours(tmp_path: Path) -> None:
    """Received, delivered, deferred, bounced, rejected and octets are what we logged."""
    path = tmp_path / "mail.log"
    log_file.open(LogSettings("postfix", str(path)), "mx")
    ids = QueueIds(0, lambda: 1_800_000_000_000)
    try:
        for outcome in OUTCOMES:
            queue_id = ids.new()
            maillog.accepted(
                queue_id,
                client=CLIENT,
                helo="mail.example.net",
                protocol="ESMTP",
                message_id="<1@example.net>",
                reverse_path="a@example.net",
                size_bytes=1000,
                recipients_count=1,
            )
            maillog.attempted(queue_id, BOB, outcome=outcome, delay_s=1.5, delays=(1, 0, 0.2, 0.3))
            maillog.removed(queue_id)
        maillog.refused("smtpd", CLIENT, stage="RCPT", reply=parse_reply([b"550 5.1.1 no such user"]))
    finally:
        log_file.open(LogSettings())
    program = shutil.which("pflogsumm", path="/usr/sbin:/usr/bin:/bin")
    assert program is not None
    done = subprocess.run(
        [program, "--syslog-name", "cmail", str(path)], capture_output=True, text=True, check=True
    )
    totals = {
        words: int(count)
        for count, words in re.findall(r"^ +(\d+) +([a-z ]+?)(?:  ?\(|$)", done.stdout, re.M)
    }
    expected = {"received": 4, "delivered": 2, "deferred": 1, "bounced": 1, "rejected": 1}
    assert {words: totals.get(words) for words in expected} == expected
    assert (totals["bytes received"], totals["bytes delivered"]) == (4000, 2000)
