"""The client machine where the peer closes between two messages: what it has not looked at costs nothing."""

import pytest

from cmail.mail.address import parse_address
from cmail.mail.content import from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import Delivered, TemporaryFailure
from cmail.protocol.smtp.client import SmtpClient
from cmail.protocol.smtp.client_delivery import Delivery
from cmail.protocol.smtp.client_offers import Offers

CHUNKING = Offers(has_pipelining=True, has_chunking=True)
PIPELINING = Offers(has_pipelining=True)
TAKEN = b"250 ok\r\n250 ok\r\n250 queued\r\n"  # MAIL, RCPT, BDAT
AGAIN = b"250 reset\r\n" + TAKEN


def streamed(count: int = 4) -> tuple[SmtpClient, list[Delivery]]:
    """So many messages are out by BDAT."""
    machine = SmtpClient(CHUNKING, "mx")
    recipients = (Recipient(parse_address(b"bob@example.net")),)
    envelope = Envelope(parse_address(b"ann@example.org"), recipients)
    content = from_plain(b"Subject: hello\n\nHello.\n")
    deliveries = [Delivery(number, envelope, recipients, content) for number in range(count)]
    for each in deliveries:
        assert machine.can_take and machine.begin(each)
    return machine, deliveries


def kinds(deliveries: list[Delivery]) -> str:
    letters = {Delivered: "d", TemporaryFailure: "t"}
    return "".join("-" if d.is_put_back else letters[type(d.outcomes[0])] for d in deliveries)  # type: ignore[index]


@pytest.mark.parametrize(
    ("replies", "expected", "closed_after"),
    [
        pytest.param(b"", "tttt", 0, id="it answered none: who knows what it read"),
        pytest.param(b"250 ok\r\n", "tttt", 0, id="it began with the first one"),
        pytest.param(TAKEN, "d---", 1, id="after the first"),
        pytest.param(TAKEN + b"250 reset\r\n", "d---", 1, id="RSET is no word about the next"),
        pytest.param(TAKEN + b"250 res", "dttt", 0, id="in the middle of a reply"),
        pytest.param(TAKEN + b"250 reset\r\n250 ok\r\n", "dt--", 0, id="it had looked at the second"),
        pytest.param(TAKEN + AGAIN + AGAIN, "ddd-", 3, id="after the third"),
        pytest.param(b"451 no\r\n503 no\r\n503 no\r\n", "t---", 1, id="after a refusal"),
    ],
)
def test_what_the_peer_had_not_looked_at_is_put_back(
    replies: bytes, expected: str, closed_after: int
) -> None:
    """It has answered some, closes, and gave no reply to MAIL of the others: they go to another connection, none
    of them is blamed, and it is known how many the peer takes. What it began to answer may have arrived."""
    machine, deliveries = streamed()
    machine.receive(replies)
    machine.lost("the server closed the connection", is_by_peer=True)
    assert (kinds(deliveries), machine.closed_after) == (expected, closed_after)
    assert not any(d.is_blamed for d in deliveries)


def test_what_was_lost_on_the_way_is_in_doubt() -> None:
    """Nobody closed, nobody answers any more: what is out may have arrived."""
    machine, deliveries = streamed()
    machine.receive(TAKEN)
    machine.lost("no reply in time")
    assert (kinds(deliveries), machine.closed_after) == ("dttt", 0)


def test_what_is_put_back_stands_as_it_stood() -> None:
    """Each goes before all that waits: the last of them comes first, so that the first is first again."""
    machine, deliveries = streamed()
    machine.receive(TAKEN)
    assert machine.lost("closed", is_by_peer=True) == deliveries[:0:-1]


def test_commands_behind_a_final_dot_are_not_blamed() -> None:
    """Without BDAT the same: the peer closes behind the reply to the content."""
    machine, [first, second] = SmtpClient(PIPELINING, "mx"), streamed(2)[1]
    first.is_bdat = first.is_content_out = second.is_bdat = second.is_content_out = False
    machine.begin(first)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    machine.begin(second)
    machine.receive(b"250 queued\r\n")
    machine.lost("closed", is_by_peer=True)
    assert (kinds([first, second]), second.is_blamed, machine.closed_after) == ("d-", False, 1)


@pytest.mark.parametrize(
    ("replies", "expected", "is_blamed", "closed_after"),
    [
        pytest.param(b"421 busy\r\n", "----", True, 0, id="at once"),
        pytest.param(TAKEN + b"421 enough\r\n", "d---", False, 1, id="after the first"),
        pytest.param(TAKEN + b"250 reset\r\n250 ok\r\n421 no\r\n", "dt--", False, 0, id="in the second"),
    ],
)
def test_421_between_messages_is_the_same_with_a_word(
    replies: bytes, expected: str, is_blamed: bool, closed_after: int
) -> None:
    """A server that limits messages a connection: no attempt, no blame, and its number is known."""
    machine, deliveries = streamed()
    machine.receive(replies)
    assert (kinds(deliveries), machine.closed_after) == (expected, closed_after)
    assert [d.is_blamed for d in deliveries[:2]] == [is_blamed, False]
