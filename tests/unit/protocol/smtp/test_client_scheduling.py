"""Deadline and priority at the next hop: said where they are offered, tunnelled or returned where not."""

from dataclasses import replace

import pytest

from cmail.mail.envelope import Notify
from cmail.mail.outcome import Delivered, PermanentFailure
from cmail.protocol.smtp.client_delivery import Delivery
from cmail.protocol.smtp.client_offers import Offers
from tests.unit.protocol.smtp.test_client import client, delivery, out

KNOWS = Offers(has_pipelining=True, has_size=True, has_deliverby=True, by_min_s=30, has_mt_priority=True)
KNOWS_NOT = Offers(has_pipelining=True, has_size=True)
REPORTS = Offers(has_pipelining=True, has_dsn=True)


def due(by_s: int, mode: str, **options: object) -> Delivery:
    """A delivery with a deadline."""
    found = delivery(by_mode=mode, deliver_by_ms=1, **options)  # type: ignore[arg-type]
    found.by_s = by_s
    return found


@pytest.mark.parametrize(
    ("d", "offers", "said"),
    [
        (due(90, "R"), KNOWS, b" BY=90;R\r\n"),
        (due(30, "RT"), KNOWS, b" BY=30;RT\r\n"),
        (due(3, "N"), KNOWS, b" BY=3;N\r\n"),
        (due(-3, "NT"), KNOWS, b" BY=-3;NT\r\n"),
        (due(90, "N"), KNOWS_NOT, b" SIZE=20\r\n"),
        (delivery(priority=-4), KNOWS, b" MT-PRIORITY=-4\r\n"),
        (delivery(priority=9), KNOWS, b" MT-PRIORITY=9\r\n"),
        (delivery(priority=0), KNOWS, b" SIZE=20\r\n"),
        (delivery(priority=0, is_priority_fixed=True), KNOWS, b" MT-PRIORITY=0\r\n"),
        (delivery(priority=0, is_priority_fixed=True), KNOWS_NOT, b" SIZE=20\r\n"),
        (due(90, "N", priority=2), KNOWS, b" MT-PRIORITY=2 BY=90;N\r\n"),
    ],
)
def test_what_mail_says(d: Delivery, offers: Offers, said: bytes) -> None:
    """What is left of the time, and the priority unless it is the usual one."""
    machine = client(offers)
    assert machine.begin(d)
    assert out(machine).split(b"RCPT")[0].endswith(said)


@pytest.mark.parametrize(
    ("by_s", "offers", "status"),
    [(90, KNOWS_NOT, "5.3.3"), (29, KNOWS, "5.4.7"), (0, KNOWS, "5.4.7"), (-1, KNOWS, "5.4.7")],
)
def test_what_is_to_be_returned_is_not_given_to_who_cannot(by_s: int, offers: Offers, status: str) -> None:
    """RFC 2852: a host that knows no deadlines, or none so short, is not given R; nothing is said."""
    machine, d = client(offers), due(by_s, "R")
    assert not machine.begin(d)
    assert out(machine) == b""
    assert isinstance(d.outcomes[0], PermanentFailure) and str(d.outcomes[0].status) == status


def test_lmtp_is_the_end_of_the_way() -> None:
    """What hands over to mailboxes is no relay, whatever it offers."""
    assert client(KNOWS_NOT, is_lmtp=True).begin(due(1, "R"))


@pytest.mark.parametrize(("offers", "is_passed_on"), [(KNOWS, True), (KNOWS_NOT, False)])
def test_whether_a_deadline_was_passed_on_is_known(offers: Offers, is_passed_on: bool) -> None:
    """A trace depends on it."""
    machine, d = client(offers), due(90, "NT")
    machine.begin(d)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert machine.receive(b"250 2.0.0 kept\r\n") == [d]
    (outcome,) = d.outcomes
    assert isinstance(outcome, Delivered) and outcome.is_by_passed_on is is_passed_on


@pytest.mark.parametrize(
    ("offers", "options", "field"),
    [
        (KNOWS_NOT, {}, b"MT-Priority: 3\r\n"),
        (KNOWS, {}, b""),
        (KNOWS_NOT, {"is_upstream": False}, b""),
        (KNOWS_NOT, {"is_lmtp": True}, b""),
    ],
)
def test_a_host_of_ours_without_the_extension_gets_a_field(
    offers: Offers, options: dict[str, bool], field: bytes
) -> None:
    """RFC 6758; strangers would not believe it. SIZE counts it."""
    machine, d = client(offers, **options), delivery(priority=3)
    machine.begin(d)
    assert b" SIZE=%d" % (20 + len(field)) in out(machine)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert out(machine).startswith(field + b"Subject: x\r\n")


@pytest.mark.parametrize(
    ("notify", "offers", "said"),
    [
        (Notify.UNSPECIFIED, REPORTS, b" NOTIFY=FAILURE,DELAY"),
        (Notify.SUCCESS, REPORTS, b" NOTIFY=SUCCESS,DELAY"),
        (Notify.NEVER, REPORTS, b" NOTIFY=NEVER"),
        (Notify.UNSPECIFIED, replace(REPORTS, has_deliverby=True), b""),
        (Notify.UNSPECIFIED, KNOWS_NOT, b""),
    ],
)
def test_who_knows_no_deadline_is_to_report_a_delay(notify: Notify, offers: Offers, said: bytes) -> None:
    """RFC 2852 §4.1.4.2: DELAY is asked for in the place of the deadline, unless nobody wants reports."""
    machine, d = client(offers), due(90, "N")
    d.recipients = [replace(each, notify=notify) for each in d.recipients]
    assert machine.begin(d)
    assert b"RCPT TO:<bob@example.net>" + said + b"\r\n" in out(machine)
