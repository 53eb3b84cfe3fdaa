"""The whole house and time: held until its time, released, returned when late; what is passed on, and to whom."""

import asyncio
import re
import smtplib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.house import RunningCmail, wait_for
from tests.support.sink_mx import SinkMx

MESSAGE = b"From: anna@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"
USUAL = ("PIPELINING", "8BITMIME", "SIZE 0")
KNOWING = (*USUAL, "DELIVERBY 5", "MT-PRIORITY")


def beside_a_sink(
    folder: Path,
    body: Callable[[RunningCmail, SinkMx], None],
    extensions: Sequence[str] = USUAL,
    script: dict[str, bytes] | None = None,
) -> None:
    """Run `body` with a server whose upstream server is a sink."""

    async def main() -> None:
        async with SinkMx(extensions=extensions, script=script or {}) as sink:
            settings = (
                f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n'
                '[limits]\ndeliver_by = "1s"\n[queue]\nretry = ["1s"]\n'
            )

            def run() -> None:
                with RunningCmail(folder, more=settings) as cmail:
                    body(cmail, sink)

            await asyncio.to_thread(run)

    asyncio.run(main())


def send(cmail: RunningCmail, to: str, *said: str, content: bytes = MESSAGE) -> None:
    """One message from anna, with these parameters of MAIL."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.sendmail("anna@example.org", [to], content, mail_options=said)


def test_mail_for_later_waits_and_goes_at_its_time(tmp_path: Path) -> None:
    """HOLDFOR 10 s: in the queue with its reason meanwhile, also over a flush; then here and elsewhere."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        began = time.monotonic()
        send(cmail, "b@example.net", "HOLDFOR=10")
        send(cmail, "anna@example.org", "HOLDFOR=10")
        rows = wait_for(lambda: len(cmail.queue()) == 2 and cmail.queue(), "both in the queue")
        assert all(row["reason"].startswith("its sender wants it sent on ") for row in rows)
        assert [row["attempts"] for row in rows] == [0, 0]
        cmail.ask("worker-0", "queue.change", filter={}, change="flush")
        wait_for(lambda: sink.taken, "the message at the sink")
        cmail.wait_for_mail("anna@example.org")
        assert time.monotonic() - began > 9.9
        wait_for(lambda: not cmail.queue(), "an empty queue")

    beside_a_sink(tmp_path, body)


def test_what_its_sender_holds_is_released_or_deleted(tmp_path: Path) -> None:
    """`queue release ID` sends it now, `queue delete` never; after a restart it waits as before."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        send(cmail, "b@example.net", "HOLDFOR=86400")
        send(cmail, "c@example.net", "HOLDFOR=86400")
        assert cmail.stop() == 0
        cmail.start()
        assert len(wait_for(lambda: cmail.queue(), "the queue")) == 2
        time.sleep(0.5)
        assert sink.taken == []
        names = [child["name"] for child in cmail.status()["children"] if child["name"].startswith("worker-")]
        for name in names:
            cmail.ask(name, "queue.change", filter={"to": "c@"}, change="delete")
            assert cmail.ask(name, "queue.change", filter={}, change="release") == {"recipients": 0}
        (row,) = cmail.queue()
        for name in names:
            cmail.ask(name, "queue.change", filter={"ids": [row["id"]]}, change="release")
        wait_for(lambda: sink.taken, "the message at the sink")
        wait_for(lambda: not cmail.queue(), "an empty queue")
        assert [taken.recipients for taken in sink.taken] == [["RCPT TO:<b@example.net>"]]

    beside_a_sink(tmp_path, body)


def test_late_mail_comes_back(tmp_path: Path) -> None:
    """BY=12;R with an upstream server that puts it off: 5.4.7, within moments of the deadline."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        send(cmail, "b@example.net", "BY=12;R")
        report = cmail.wait_for_mail("anna@example.org")[0]
        assert b"Status: 5.4.7" in report and b"Action: failed" in report
        assert b"Deliver-By-Date: " in report
        assert sink.lines("MAIL") and all(
            re.search(r" BY=(1[012]|[5-9]);R$", line) for line in sink.lines("MAIL")
        )
        wait_for(lambda: not cmail.queue(), "an empty queue")

    beside_a_sink(tmp_path, body, KNOWING, {"RCPT": b"450 4.7.1 not now\r\n"})


def test_what_a_server_knows_is_passed_on(tmp_path: Path) -> None:
    """The remaining time and the priority go with MAIL, and no field is added; a trace is told of. Received
    says the priority that MAIL said (RFC 6710)."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        send(cmail, "b@example.net", "BY=600;NT", "MT-PRIORITY=-3")
        send(cmail, "b@example.net", content=b"X-Priority: 1\r\n" + MESSAGE)
        wait_for(lambda: len(sink.taken) == 2, "both at the sink")
        by_priority = sorted(line.partition("MT-PRIORITY=")[2] for line in sink.lines("MAIL"))
        assert re.fullmatch(r"-3 BY=(600|59\d);NT", by_priority[0]) and by_priority[1] == "4"
        assert not any(b"MT-Priority" in taken.content for taken in sink.taken)
        traces = [taken.content.partition(b"\r\nFrom:")[0] for taken in sink.taken]
        assert [b"\r\n\tPRIORITY -3;\r\n" in trace for trace in traces].count(True) == 1
        assert [b"PRIORITY" in trace for trace in traces].count(True) == 1, "of what MAIL said alone"
        wait_for(lambda: not cmail.queue(), "an empty queue")
        assert b"Action: relayed" in cmail.wait_for_mail("anna@example.org")[0]  # it asked for a trace

    beside_a_sink(tmp_path, body, KNOWING)


def test_what_a_server_does_not_know_is_not_said(tmp_path: Path) -> None:
    """The priority goes as a field, a trace is told of, and what wants to be returned late is, at once."""

    def body(cmail: RunningCmail, sink: SinkMx) -> None:
        send(cmail, "b@example.net", "BY=600;NT", "MT-PRIORITY=3")
        wait_for(lambda: sink.taken, "the message at the sink")
        assert sink.taken[0].content.startswith(b"MT-Priority: 3\r\nReceived: ")
        assert "BY=" not in sink.heard[1] and "MT-PRIORITY" not in "".join(sink.heard)
        assert b"Action: relayed" in cmail.wait_for_mail("anna@example.org")[0]
        send(cmail, "c@example.net", "BY=600;R")
        report = cmail.wait_for_mail("anna@example.org", 2)[1]
        assert b"Status: 5.3.3" in report and len(sink.taken) == 1

    beside_a_sink(tmp_path, body)


def test_a_stranger_cannot_ask(tmp_path: Path) -> None:
    """Who is not of relay.networks is offered nothing and refused; the first says so at submission."""
    settings = "[relay]\nnetworks = []\n"
    with RunningCmail(tmp_path, more=settings) as cmail:
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            client.ehlo()
            assert not {"futurerelease", "deliverby", "mt-priority"} & client.esmtp_features.keys()
            with pytest.raises(smtplib.SMTPSenderRefused) as refusal:
                client.sendmail("a@example.net", ["anna@example.org"], MESSAGE, mail_options=("HOLDFOR=5",))
            assert refusal.value.smtp_code == 555
            client.sendmail("a@example.net", ["anna@example.org"], MESSAGE, mail_options=("MT-PRIORITY=9",))
        assert b"\n\tPRIORITY 0;\n" in cmail.wait_for_mail("anna@example.org")[0]
