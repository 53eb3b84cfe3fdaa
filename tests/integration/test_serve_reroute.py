"""Mail that waits follows the settings: another upstream server, or another way out, at a reload."""

import smtplib
from pathlib import Path

from tests.support.house import RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

MESSAGE = b"From: <a@example.net>\r\nSubject: hello\r\n\r\nHello.\r\n"
BUSY = {"connect": b"421 4.3.2 busy\r\n"}


def test_mail_that_waits_goes_to_the_new_upstream_server(tmp_path: Path) -> None:
    """The upstream server has failed, the next try is in an hour; the settings name another one and are
    read anew: all that waits goes there at once. The same settings again change nothing."""
    with Peers() as peers:
        old, new = peers.start(SinkMx(dict(BUSY))), peers.start(SinkMx())
        more = f'[smtp]\nhost = "127.0.0.1"\nport = {old.port}\n[queue]\nretry = ["1h"]\n'
        with RunningCmail(tmp_path, more=more) as cmail:
            with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
                client.sendmail("anna@example.org", ["b@example.net"], MESSAGE)
            wait_for(lambda: [r for r in cmail.queue() if r["attempts"]], "the first attempt")
            cmail.ask("supervisor", "reload")
            assert [row["attempts"] for row in cmail.queue()] == [1]
            text = cmail.config.read_text()
            cmail.config.write_text(text.replace(f"port = {old.port}", f"port = {new.port}"))
            cmail.ask("supervisor", "reload")
            wait_for(lambda: new.taken, "the message at the new server")
            wait_for(lambda: not cmail.queue(), "an empty queue")
