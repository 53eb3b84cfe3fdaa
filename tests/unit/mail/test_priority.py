"""Priority of a message from its header section."""

import pytest

from cmail.mail.priority import header_priority, tunnel_field, without_tunnel

ROWS = {
    b"": 0,
    b"Subject: Priority: urgent\r\n": 0,
    b"Priority: urgent\r\n": 4,
    b"PRIORITY:Urgent\r\n": 4,
    b"Priority : normal\r\n": 0,
    b"priority: non-urgent\r\n": -4,
    b"Priority: 1\r\n": 0,
    b"Importance: high\r\n": 4,
    b"Importance: Low (really)\r\n": -4,
    b"Importance: normal\r\n": 0,
    b"X-Priority: 1 (Highest)\r\n": 4,
    b"X-Priority: 2\r\n": 2,
    b"X-Priority: 3\r\n": 0,
    b"X-Priority:\r\n 4\r\n": -2,
    b"X-Priority: 5 (Lowest)\r\n": -4,
    b"X-Priority: 6\r\n": 0,
    b"X-MSMail-Priority: High\r\n": 0,
    b"MT-Priority: 9\r\n": 9,
    b"MT-Priority: -9 (bulk)\r\n": -9,
    b"MT-Priority: +3\r\n": 0,
    b"MT-Priority: 10\r\n": 0,
    b"MT-Priority: 0\r\nPriority: urgent\r\n": 0,
    b"Importance: low\r\nX-Priority: 1\r\n": 4,
    b"X-Priority: 3 (Normal)\r\nImportance: high\r\n": 0,
    b"X-Priority: what\r\nImportance: high\r\n": 4,
    b"Subject: a\r\n Priority: urgent\r\n": 0,
}


@pytest.mark.parametrize("header", ROWS, ids=repr)
def test_what_a_header_asks_for(header: bytes) -> None:
    """The first field that says something known is believed; what is none, or unknown, asks for nothing."""
    assert header_priority(header) == ROWS[header]
    assert header_priority(b"From: <a@b.c>\r\n" + header + b"To: <b@b.c>\r\n") == ROWS[header]


@pytest.mark.parametrize("priority", range(-9, 10))
def test_a_priority_goes_through_a_tunnel(priority: int) -> None:
    """RFC 6758: what is written for one hop is read at the next, and taken out there."""
    header = b"From: <a@b.c>\r\n" + tunnel_field(priority) + b"Subject: x\r\n"
    assert header_priority(header) == priority
    assert without_tunnel(header) == b"From: <a@b.c>\r\nSubject: x\r\n"


def test_a_header_without_a_tunnel_is_left_alone() -> None:
    """Not even copied."""
    header = b"Subject: mt-priority\r\n"
    assert without_tunnel(header) is header
