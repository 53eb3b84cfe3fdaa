"""The server machine: order of replies, holds, STARTTLS, log-in, limits; the tables it is made of."""

import pytest

from cmail.mail import limits
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.server_states import (
    CHUNKS_GIVEN,
    GREETED,
    MAIL_GIVEN,
    RCPT_GIVEN,
    READY,
    REFUSALS,
    TRANSITIONS,
    Hold,
    Rules,
)
from tests.support.fake_house import FakeHouse

HELLO = b"EHLO x\r\n"
BEGIN = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<anna@example.org>\r\n"
MESSAGE = BEGIN + b"DATA\r\nSubject: x\r\n\r\n.\r\n"
OPENINGS = {
    GREETED: b"",
    READY: HELLO,
    MAIL_GIVEN: HELLO + b"MAIL FROM:<>\r\n",
    RCPT_GIVEN: HELLO + BEGIN,
    CHUNKS_GIVEN: HELLO + BEGIN + b"BDAT 1\r\nx",
}
COMMANDS = {
    "MAIL": b"MAIL FROM:<>\r\n",
    "RCPT": b"RCPT TO:<anna>\r\n",
    "DATA": b"DATA\r\n",
    "BDAT": b"BDAT 0\r\n",
    "AUTH": b"AUTH PLAIN\r\n",
    "ETRN": b"ETRN example.org\r\n",
    "ATRN": b"ATRN\r\n",
}


def codes(written: bytes) -> list[str]:
    """The code of each reply line."""
    return [line[:3].decode() for line in written.split(b"\r\n")[:-1]]


@pytest.mark.parametrize("state", OPENINGS)
@pytest.mark.parametrize("verb", TRANSITIONS)
def test_the_table_of_transitions_is_obeyed(state: int, verb: str) -> None:
    """Each command in each state: obeyed where the table says so, else refused with its reply."""
    house = FakeHouse()
    house.hears(OPENINGS[state])
    written = house.hears(COMMANDS[verb])
    refusal = REFUSALS[verb][state]
    if state in TRANSITIONS[verb]:
        assert refusal == b"" and written[:1] in (b"2", b"3")
    else:
        assert written == refusal and refusal.startswith(b"503 5.5.1")


@pytest.mark.parametrize("name", [name for name in vars(replies) if name.isupper()])
def test_replies_are_well_formed(name: str) -> None:
    """A code, where RFC 2034 wants it an enhanced status of the same class, one line."""
    reply = getattr(replies, name)
    assert reply.endswith(b"\r\n") and reply.count(b"\r\n") == 1 and reply.isascii()
    if reply[:1] in (b"2", b"4", b"5") and reply[:3] != b"354":
        assert reply[4:6] == reply[:1] + b"."


def test_replies_behind_a_message_wait_for_the_disk_in_order() -> None:
    """Input goes on while two messages wait; all is said in order when the disk has them."""
    house = FakeHouse(is_slow=True)
    assert codes(house.hears(HELLO + MESSAGE + MESSAGE + b"NOOP\r\nQUIT\r\n")) == ["250", "250", "250", "354"]
    assert len(house.taken) == 2 and not house.machine.is_over
    first = house._slots.pop(0)
    assert house.hears() == b""
    assert codes(house.answer_all(b"250 2.0.0 second\r\n")) == []  # the first still waits
    house.machine.answer(first, b"451 4.3.0 first\r\n")
    assert codes(house.machine.take_outgoing()) == ["451", "250", "250", "354", "250", "250", "221"]
    assert house.machine.is_over


def test_a_session_waits_when_too_much_of_it_waits_for_the_disk() -> None:
    """At the cap input is held, and goes on when there is room."""
    house = FakeHouse(is_slow=True)
    count = limits.OUTSTANDING_MESSAGES_MAX
    house.hears(HELLO + MESSAGE * (count + 5))
    assert len(house.taken) == count and house.machine.holding == Hold.REPLIES
    house.answer_all()
    assert len(house.taken) == count + 5 and not house.machine.holding


def test_pipelined_commands_behind_a_message_are_bounded() -> None:
    """So many replies may wait, not more."""
    house = FakeHouse(Rules(idle_commands_max=10_000, default_domain="example.org"), is_slow=True)
    house.hears(HELLO + MESSAGE + b"NOOP\r\n" * 3000)
    assert house.machine.holding == Hold.REPLIES
    assert len(codes(house.answer_all())) == 1 + 3000


def test_starttls_is_answered_only_when_nothing_is_behind_it() -> None:
    """A byte in the same packet ends the session; alone it is obeyed, and all before is forgotten."""
    rules = Rules(has_tls=True)
    house = FakeHouse(rules)
    assert house.hears(HELLO + b"STARTTLS\r\nQ").endswith(replies.EARLY_OCTETS)
    assert house.machine.is_over and "starttls" not in house.events
    house = FakeHouse(rules)
    assert house.hears(HELLO + b"MAIL FROM:<>\r\n", b"STARTTLS\r\n").endswith(replies.READY_FOR_TLS)
    assert house.machine.holding and house.events == ["reset", "starttls"]
    house.machine.restart_under_tls()
    assert house.hears(b"MAIL FROM:<>\r\n", b"STARTTLS\r\n") == replies.HELO_FIRST + replies.TLS_ALREADY


def test_octets_that_were_read_in_spite_of_the_hold_end_the_session() -> None:
    """They came before the handshake was done: they must not count behind it."""
    house = FakeHouse(Rules(has_tls=True))
    house.hears(b"STARTTLS\r\n", b"EHLO evil\r\n")
    house.machine.restart_under_tls()
    assert house.machine.take_outgoing() == replies.EARLY_OCTETS and house.machine.is_over


def test_starttls_waits_for_replies_that_are_owed() -> None:
    """The 220 comes behind the reply to a message that the disk still has."""
    house = FakeHouse(Rules(has_tls=True), is_slow=True)
    house.hears(HELLO + BEGIN.replace(b"example.org", b"localhost") + b"DATA\r\n.\r\nSTARTTLS\r\n")
    assert "starttls" not in house.events
    assert codes(house.answer_all()) == ["250", "220"] and house.events[-1] == "starttls"


def test_a_log_in_that_is_being_checked_holds_the_input() -> None:
    """What is pipelined behind it comes after its reply."""
    house = FakeHouse()
    assert codes(house.hears(HELLO + b"AUTH SLOW\r\nNOOP\r\n", b"QUIT\r\n")) == ["250"]
    house.machine.finish_auth(b"235 2.7.0 in\r\n")
    house.machine.release(Hold.HOUSE)
    assert codes(house.hears(b"")) == ["235", "250", "221"]


@pytest.mark.parametrize(
    "line, reply, event",
    [
        (b"AAAA", b"235", "response 3"),
        (b"", b"235", "response 0"),
        (b"*", b"501 5.0.0", ""),
        (b"no base64!", b"501 5.5.2", ""),
        (b"A" * (limits.AUTH_LINE_OCTETS_MAX + 1), b"500 5.5.6", ""),
    ],
    ids=["base64", "empty", "cancelled", "not base64", "too long"],
)
def test_responses_to_a_challenge(line: bytes, reply: bytes, event: str) -> None:
    """Each kind of line in an AUTH exchange, and the next line is a command again."""
    house = FakeHouse()
    assert house.hears(HELLO + b"AUTH PLAIN\r\n").endswith(b"334 \r\n")
    assert house.hears(line + b"\r\n").startswith(reply)
    assert house.events == ([event] if event else [])
    assert codes(house.hears(b"NOOP\r\n")) == ["250"]


SMUGGLED = b"MAIL FROM:<ceo@example.org>\r\nRCPT TO:<bert@example.org>\r\nDATA\r\nfake\r\n"


@pytest.mark.parametrize(
    "ending",
    [
        b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
        b"\r\r\n.\r\n"[:-1], b"\r\n..\r\n\n", b"\r\n.\r\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 2, 3, 1000], ids="by{}".format)
def test_nothing_but_crlf_dot_crlf_ends_the_data(ending: bytes, step: int) -> None:
    """What others take for the end of data smuggles nothing in: one refusal, no second message."""
    house = FakeHouse()
    octets = HELLO + BEGIN + b"DATA\r\nhello" + ending + SMUGGLED + b".\r\nNOOP\r\n"
    written = house.hears(*(octets[n : n + step] for n in range(0, len(octets), step)))
    assert codes(written) == ["250", "250", "250", "354", "550", "250"]
    assert house.taken == []


def test_a_dot_that_is_not_doubled_is_taken_away() -> None:
    """RFC 5321 §4.5.2: the first dot of a line goes, whatever stands behind it; cut anywhere."""
    octets = HELLO + BEGIN + b"DATA\r\n.a\r\n..b\r\nc.\r\n.\t\r\n...d\r\n.\r\n"
    for step in (1, 2, 3, 5, 1000):
        house = FakeHouse()
        house.hears(*(octets[n : n + step] for n in range(0, len(octets), step)))
        [(_, _, content, size)] = house.taken
        assert content == b"a\r\n..b\r\nc.\r\n\t\r\n...d\r\n", step
        assert size == len(b"a\r\n.b\r\nc.\r\n\t\r\n..d\r\n")


def test_recipients_above_the_limit_are_no_errors() -> None:
    """452 to each, and the session lives (RFC 5321 §4.5.3.1.10)."""
    house = FakeHouse(Rules("smtp", "example.org", recipients_max=1, errors_max=2))
    written = house.hears(HELLO + BEGIN + b"RCPT TO:<bert>\r\n" * 10)
    assert written.count(b"452 4.5.3") == 10 and not house.machine.is_over


def test_a_message_sets_the_count_of_commands_back() -> None:
    """100 commands without a message end a session; with messages it goes on for ever."""
    house = FakeHouse(Rules("smtp", "example.org", idle_commands_max=5))
    house.hears(HELLO + (MESSAGE + b"NOOP\r\n" + b"RSET\r\n") * 20)
    assert len(house.taken) == 20 and not house.machine.is_over
    assert house.hears(b"NOOP\r\n" * 10).endswith(replies.TOO_MANY_COMMANDS)


def test_a_message_sets_the_count_of_errors_back() -> None:
    """A relay that goes on for days is not ended for one unknown user now and then; who guesses is."""
    house = FakeHouse(Rules("smtp", "example.org", errors_max=3))
    house.hears(HELLO + (b"EAT\r\n" * 2 + MESSAGE) * 20)
    assert len(house.taken) == 20 and not house.machine.is_over
    assert house.hears(b"EAT\r\n" * 3).endswith(replies.TOO_MANY_ERRORS)
