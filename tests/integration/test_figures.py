"""The figures of the admin address: what happened to a message can be counted there."""

import re
import smtplib
import urllib.request
from pathlib import Path

from tests.support.house import SETTINGS, RunningCmail, wait_for


def test_a_delivered_message_is_counted_from_spool_to_mailbox(tmp_path: Path) -> None:
    """After one message into a mailbox here: accepted, committed, delivered, nothing failed."""
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with RunningCmail(tmp_path, settings=settings) as cmail:
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp")) as client:
            client.sendmail(
                "x@example.com",
                ["anna@example.org"],
                b"From: <a@example.net>\r\nSubject: counted\r\n\r\nhello\r\n",
            )

        def figures() -> dict[str, float]:
            url = f"http://127.0.0.1:{cmail.port('admin')}/metrics"
            with urllib.request.urlopen(url, timeout=60) as page:
                text = page.read().decode()
            return {m[1]: float(m[2]) for m in re.finditer(r"(?m)^([a-z_]+(?:\{.*?\})?) (\S+)$", text)}

        delivered = 'cmail_recipients_delivered_total{via="local"}'
        counted = wait_for(lambda: (found := figures()).get(delivered) == 1 and found, "the delivery")
        assert counted["cmail_messages_accepted_total"] == 1
        assert counted["cmail_spool_commits_total"] >= 1
        assert counted["cmail_spool_changes_total"] >= counted["cmail_spool_commits_total"]
        assert counted["cmail_spool_sync_microseconds_total"] > 0
        assert counted["cmail_spool_failures_total"] == 0
