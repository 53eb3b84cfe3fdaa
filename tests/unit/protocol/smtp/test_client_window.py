"""How much may be out before it is acknowledged; and what is certain of a message that never left."""

import pytest

from cmail.mail.address import parse_address
from cmail.mail.content import from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import TemporaryFailure
from cmail.protocol.smtp.client import SmtpClient
from cmail.protocol.smtp.client_delivery import Delivery
from cmail.protocol.smtp.client_offers import Offers
from cmail.protocol.smtp.client_window import MESSAGES_MAX, MESSAGES_MIN, OCTETS_MAX, OCTETS_MIN, window_for

CHUNKING = Offers(has_pipelining=True, has_chunking=True)
REPLIES = b"250 ok\r\n" * 3  # MAIL, RCPT, BDAT


def delivery(number: int, octets: int = 1000) -> Delivery:
    recipients = (Recipient(parse_address(b"bob@example.net")),)
    content = from_plain(b"Subject: hello\n\n" + b"x" * 70 * (octets // 71 + 1) + b"\n")
    return Delivery(number, Envelope(parse_address(b"ann@example.org"), recipients), recipients, content)


@pytest.mark.parametrize(
    ("rate", "round_trip_s", "messages", "octets"),
    [
        (0, 0.0, MESSAGES_MIN, OCTETS_MAX),
        (0, 0.0001, MESSAGES_MIN, OCTETS_MAX),
        (0, 0.04, 20, OCTETS_MAX),
        (0, 3.0, MESSAGES_MAX, OCTETS_MAX),
        (256, 0.7, MESSAGES_MAX, 89_600),
        (2048, 0.05, MESSAGES_MAX, 51_200),
        (9, 0.5, MESSAGES_MAX, OCTETS_MIN),
        (2048, 60.0, MESSAGES_MAX, OCTETS_MAX),
    ],
)
def test_window_follows_rate_and_round_trip(
    rate: int, round_trip_s: float, messages: int, octets: int
) -> None:
    """A thin link is filled and no more; a long way gets more messages at once; both are bounded."""
    window = window_for(rate, round_trip_s)
    assert (window.messages, window.octets) == (messages, octets)


def test_machine_obeys_its_window() -> None:
    """Its octets are the bound, for small messages beyond the count that is made for fast lines."""
    machine = SmtpClient(CHUNKING, "mx")
    machine.window = window_for(256, 0.7)
    began = 0
    while machine.can_take:
        machine.begin(delivery(began, 5000))
        began += 1
    assert MESSAGES_MIN < began == 18, "the eighteenth goes beyond 89,600 octets"
    assert machine.receive(REPLIES)
    assert machine.can_take


@pytest.mark.parametrize(
    ("unsent", "doubted"),
    [
        pytest.param(0, [0, 1, 2], id="all has left"),
        pytest.param(1, [0, 1], id="the last octet has not"),
        pytest.param(900, [0, 1], id="the end of the last one has not"),
        pytest.param(1700, [0], id="the end of the one before has not"),
        pytest.param(10_000, [], id="nothing has left"),
    ],
)
def test_message_that_never_left_whole_is_not_doubted(unsent: int, doubted: list[int]) -> None:
    """It cannot have arrived: it goes to another connection and no attempt is counted. The others may have."""
    machine = SmtpClient(CHUNKING, "mx")
    deliveries = [delivery(number) for number in range(3)]
    for each in deliveries:
        assert machine.begin(each)
    assert machine.lost("the link is down", unsent) == deliveries[::-1]
    assert [d.token for d in deliveries if not d.is_put_back] == doubted
    for each in deliveries:
        if not each.is_put_back:
            assert all(type(outcome) is TemporaryFailure for outcome in each.outcomes)
