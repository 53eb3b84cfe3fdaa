"""The whole house sends: by MX with a DNS and a server of the test's own, with and without the link."""

import asyncio
import smtplib
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.fake_dns import SERVFAIL, FakeDnsServer
from tests.support.house import RunningCmail, wait_for
from tests.support.sink_mx import SinkMx

MESSAGE = b"From: anna@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"
RECORDS: dict[tuple[str, str], list[str] | str] = {
    ("example.net", "MX"): ["10 mx.example.net."],
    ("mx.example.net", "A"): ["127.0.0.1"],
    ("later.example", "MX"): SERVFAIL,
}


def with_the_world(folder: Path, body: Callable[[RunningCmail, SinkMx], None]) -> None:
    """Run `body` beside a DNS server, a sink for mail and a server that sends by MX."""

    async def main() -> None:
        async with FakeDnsServer(dict(RECORDS)) as dns, SinkMx() as sink:
            settings = (
                f'[dns]\nservers = ["{dns.address}"]\n[smtp]\ndelivery = "mx"\n'
                f"[smtp.advanced]\noutbound_port = {sink.port}\n"
            )

            def run() -> None:
                with RunningCmail(folder, more=settings) as cmail:
                    body(cmail, sink)

            await asyncio.to_thread(run)

    asyncio.run(main())


def send(cmail: RunningCmail, to: str) -> None:
    """One message from anna to somebody elsewhere."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.sendmail("anna@example.org", [to], MESSAGE)


def test_mail_goes_out_by_mx(tmp_path: Path) -> None:
    """The MX of the domain gets it, octet for octet below the Received field."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        send(cmail, "b@example.net")
        wait_for(lambda: sink.taken, "the message at the MX")
        assert sink.taken[0].content.endswith(MESSAGE)
        assert sink.taken[0].content.startswith(b"Received: from ")
        cmail.wait_for_log("status=sent (250")
        wait_for(lambda: not cmail.queue(), "an empty queue")

    with_the_world(tmp_path, body)


def test_domain_that_does_not_exist_bounces(tmp_path: Path) -> None:
    """NXDOMAIN from a server that answers: the sender hears of it at once."""

    def body(cmail: RunningCmail, _sink: SinkMx) -> None:
        send(cmail, "b@nowhere.example")
        report = cmail.wait_for_mail("anna@example.org")[0]
        assert b"Content-Type: multipart/report; report-type=delivery-status" in report
        assert b"Final-Recipient: rfc822; b@nowhere.example" in report
        assert report.startswith(b"Return-Path: <>\n")

    with_the_world(tmp_path, body)


def test_dns_that_fails_is_no_bounce(tmp_path: Path) -> None:
    """SERVFAIL defers: it waits with a reason, and nobody is told."""

    def body(cmail: RunningCmail, _sink: SinkMx) -> None:
        send(cmail, "b@later.example")
        row = wait_for(lambda: [r for r in cmail.queue() if r["reason"]], "a reason")[0]
        assert row["to"] == "b@later.example"
        assert cmail.mailbox("anna@example.org") == []

    with_the_world(tmp_path, body)


def test_mail_waits_for_the_link(tmp_path: Path) -> None:
    """Link down: mail for here is delivered, mail for elsewhere waits without an attempt. Link up: it
    goes within moments."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        cmail.ask("link", "link.down")
        for _ in range(4):
            send(cmail, "b@example.net")
        send(cmail, "anna@example.org")
        cmail.wait_for_mail("anna@example.org")
        assert sink.taken == []
        wait_for(lambda: len(cmail.queue()) == 4, "the record of what is in the mailbox")
        assert [row["attempts"] for row in cmail.queue()] == [0] * 4
        started = time.monotonic()
        cmail.ask("link", "link.up")
        wait_for(lambda: len(sink.taken) == 4, "the mail at the MX")
        assert time.monotonic() - started < 15, "moments, on a machine that has nothing else to do"

    with_the_world(tmp_path, body)
