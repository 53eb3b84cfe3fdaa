"""The client machine: what goes out together, and how each recipient ends whatever the peer says."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.mail.address import parse_address
from cmail.mail.content import Content, from_plain
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.mail.outcome import Delivered, PermanentFailure, TemporaryFailure
from cmail.protocol.smtp.client import SmtpClient
from cmail.protocol.smtp.client_delivery import Delivery, Stage
from cmail.protocol.smtp.client_offers import Offers, parse_offers
from cmail.protocol.smtp.client_replies import read_reply

RELAY = "mx.example.net[192.0.2.1]:25"
PIPELINING = Offers(has_pipelining=True)
CHUNKING = Offers(has_pipelining=True, has_chunking=True)
LOCK_STEP = Offers()
BODY = from_plain(b"Subject: x\n\n.dot\n")
WIRE = b"Subject: x\r\n\r\n..dot\r\n"


def delivery(
    *to: str,
    content: Content = BODY,
    sender: str = "ann@example.org",
    token: object = None,
    **options: object,
) -> Delivery:
    recipients = tuple(Recipient(parse_address(address.encode())) for address in to or ("bob@example.net",))
    reverse_path = parse_address(sender.encode()) if sender else None
    envelope = Envelope(reverse_path, recipients, **options)  # type: ignore[arg-type]
    return Delivery(token, envelope, recipients, content)


def client(offers: Offers = PIPELINING, **options: bool) -> SmtpClient:
    return SmtpClient(offers, RELAY, **options)


def out(machine: SmtpClient) -> bytes:
    return b"".join(machine.take_outgoing())


def kinds(d: Delivery) -> str:
    """One letter a recipient: delivered, temporary, permanent; - when put back."""
    if d.is_put_back:
        return "-"
    letters = {Delivered: "d", TemporaryFailure: "t", PermanentFailure: "p"}
    return "".join(letters[type(outcome)] for outcome in d.outcomes)  # type: ignore[index]


def test_pipelined_message_takes_two_writes() -> None:
    """MAIL, RCPT, DATA go out at once; the content after 354; 250 delivers with what the peer said."""
    machine = client()
    d = delivery()
    assert machine.begin(d)
    assert out(machine) == b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
    assert machine.receive(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n") == []
    assert out(machine) == WIRE + b".\r\n"
    assert machine.receive(b"250 2.6.0 queued as 4711\r\n") == [d]
    [outcome] = d.outcomes
    assert isinstance(outcome, Delivered)
    assert (outcome.relay, outcome.reply, str(outcome.status)) == (RELAY, "250 2.6.0 queued as 4711", "2.6.0")


def test_next_message_travels_with_the_final_dot() -> None:
    """RFC 2920: after 354 another delivery may begin, and its commands stand behind the dot."""
    machine = client()
    first, second = delivery(), delivery("eve@example.net")
    machine.begin(first)
    assert not machine.can_take
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert machine.can_take
    machine.begin(second)
    assert out(machine).endswith(
        WIRE + b".\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\n"
    )
    assert not machine.can_take, "content of the second is not out: a third MAIL would be read as content"
    assert machine.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n") == [first]
    assert out(machine) == WIRE + b".\r\n"


def test_without_pipelining_each_command_waits() -> None:
    """Lock step: one command a reply, RSET before the next message when all recipients were refused."""
    machine = client(LOCK_STEP)
    d = delivery("a@example.net", "b@example.net")
    machine.begin(d)
    steps = [
        (b"", b"MAIL FROM:<ann@example.org>\r\n"),
        (b"250 ok\r\n", b"RCPT TO:<a@example.net>\r\n"),
        (b"250 ok\r\n", b"RCPT TO:<b@example.net>\r\n"),
        (b"550 no\r\n", b"DATA\r\n"),
        (b"354 go\r\n", WIRE + b".\r\n"),
        (b"250 ok\r\n", b""),
    ]
    for reply, command in steps:
        machine.receive(reply)
        assert out(machine) == command
    assert kinds(d) == "dp"
    refused = delivery()
    machine.begin(refused)
    assert out(machine) == b"MAIL FROM:<ann@example.org>\r\n"
    machine.receive(b"250 ok\r\n")
    assert machine.receive(b"550 5.1.1 who?\r\n") == [refused]
    machine.begin(delivery())
    assert out(machine).endswith(b"RSET\r\n")
    machine.receive(b"250 ok\r\n")
    assert out(machine) == b"MAIL FROM:<ann@example.org>\r\n"


def test_chunked_messages_go_out_without_waiting() -> None:
    """BDAT carries unstuffed octets; a bounded number of messages is unacknowledged; RSET parts them."""
    machine = client(CHUNKING)
    deliveries = []
    while machine.can_take:
        deliveries.append(delivery())
        machine.begin(deliveries[-1])
    assert len(deliveries) == 8
    sent = out(machine)
    one = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nBDAT 20 LAST\r\n"
    one += b"Subject: x\r\n\r\n.dot\r\n"
    one = one.replace(b"BDAT 20", b"BDAT %d" % BODY.size_bytes)
    assert sent == b"RSET\r\n".join([one] * 8)
    ended = machine.receive(b"250 ok\r\n" * 3 + (b"250 reset\r\n" + b"250 ok\r\n" * 3) * 7)
    assert ended == deliveries
    assert {kinds(d) for d in deliveries} == {"d"}
    machine.begin(delivery())
    assert out(machine) == one, "nothing is left open that needs RSET"


@pytest.mark.parametrize(
    ("offers", "replies", "expected", "is_done"),
    [
        pytest.param(PIPELINING, ["250 a", "250 b", "550 c", "354 d", "250 e"], "dp", False, id="mixed"),
        pytest.param(PIPELINING, ["250 a", "450 b", "550 c", "554 d"], "tp", False, id="all refused"),
        pytest.param(PIPELINING, ["250 a", "450 b", "550 c", "354 d", "554 e"], "tp", False, id="lone dot"),
        pytest.param(PIPELINING, ["250 a", "450 b", "550 c", "354 d", "250 e"], "tp", False, id="dot taken"),
        pytest.param(PIPELINING, ["451 a", "503 b", "503 c", "503 d"], "tt", False, id="MAIL 4xx"),
        pytest.param(PIPELINING, ["550 a", "503 b", "503 c", "503 d"], "pp", False, id="MAIL 5xx"),
        pytest.param(PIPELINING, ["550 a", "250 b", "250 c", "354 d", "503 e"], "pp", False, id="MAIL 5xx, odd"),
        pytest.param(PIPELINING, ["250 a", "250 b", "250 c", "452 d"], "tt", False, id="DATA 4xx"),
        pytest.param(PIPELINING, ["250 a", "250 b", "250 c", "554 d"], "pp", False, id="DATA 5xx"),
        pytest.param(PIPELINING, ["250 a", "250 b", "250 c", "250 d"], "-", True, id="DATA 250"),
        pytest.param(PIPELINING, ["250 a", "250 b", "250 c", "354 d", "451 e"], "tt", False, id="dot 4xx"),
        pytest.param(PIPELINING, ["250 a", "250 b", "250 c", "354 d", "554 e"], "pp", False, id="dot 5xx"),
        pytest.param(PIPELINING, ["250 a", "250 b", "250 c", "354 d", "354 e"], "tt", True, id="dot 3xx"),
        pytest.param(PIPELINING, ["250 a", "250 b", "550 c", "354 d", "521 e"], "pp", False, id="dot 521"),
        pytest.param(PIPELINING, ["421 a"], "-", True, id="MAIL 421"),
        pytest.param(PIPELINING, ["250 a", "421 b"], "tt", True, id="RCPT 421"),
        pytest.param(PIPELINING, ["250 a", "550 b", "421 c"], "pt", True, id="second RCPT 421"),
        pytest.param(PIPELINING, ["250 a", "250 b", "250 c", "421 d"], "tt", True, id="DATA 421"),
        pytest.param(PIPELINING, ["250 a", "250 b", "250 c", "354 d", "421 e"], "tt", True, id="dot 421"),
        pytest.param(PIPELINING, ["hello"], "-", True, id="garbage"),
        pytest.param(PIPELINING, ["250 a", "550 b", "hello"], "pt", True, id="garbage later"),
        pytest.param(PIPELINING, ["354 a"], "-", True, id="MAIL 354"),
        pytest.param(PIPELINING, ["250 a", "530 b"], "-", True, id="log-in trouble"),
        pytest.param(PIPELINING, ["250 a", "550 b", "535 c"], "pt", True, id="log-in trouble later"),
        pytest.param(LOCK_STEP, ["451 a"], "tt", False, id="step MAIL 4xx"),
        pytest.param(LOCK_STEP, ["250 a", "550 b", "450 c"], "pt", False, id="step all refused"),
        pytest.param(LOCK_STEP, ["250 a", "250 b", "550 c", "354 d", "250 e"], "dp", False, id="step mixed"),
        pytest.param(LOCK_STEP, ["250 a", "251 b", "250 c", "354 d", "552 e"], "pp", False, id="step dot"),
        pytest.param(CHUNKING, ["250 a", "250 b", "550 c", "250 d"], "dp", False, id="chunk mixed"),
        pytest.param(CHUNKING, ["250 a", "550 b", "550 c", "503 d"], "pp", False, id="chunk all refused"),
        pytest.param(CHUNKING, ["550 a", "503 b", "503 c", "503 d"], "pp", False, id="chunk MAIL 5xx"),
        pytest.param(CHUNKING, ["250 a", "250 b", "250 c", "451 d"], "tt", False, id="chunk 4xx"),
        pytest.param(CHUNKING, ["250 a", "250 b", "250 c", "554 d"], "pp", False, id="chunk 5xx"),
    ],
)  # fmt: skip
def test_two_recipients_end_as_the_replies_say(
    offers: Offers, replies: list[str], expected: str, is_done: bool
) -> None:
    """Each recipient ends exactly once, by its own reply or by that of the whole."""
    machine = client(offers)
    d = delivery("a@example.net", "b@example.net")
    machine.begin(d)
    ended: list[Delivery] = []
    for reply in replies:
        assert not ended
        ended += machine.receive(reply.encode() + b"\r\n")
    assert ended == [d]
    assert (kinds(d), machine.is_done) == (expected, is_done)
    if not is_done:
        assert machine.is_idle and machine.can_take


@pytest.mark.parametrize("offers", [PIPELINING, CHUNKING, LOCK_STEP], ids=["pipelining", "chunking", "step"])
def test_refused_transaction_is_reset_before_the_next(offers: Offers) -> None:
    """A MAIL that was accepted and came to nothing must not swallow the next message's recipients."""
    machine = client(offers)
    machine.begin(delivery())
    out(machine)
    for reply in (b"250 ok\r\n", b"550 no\r\n", b"503 none\r\n")[: 2 if offers is LOCK_STEP else 3]:
        machine.receive(reply)
    out(machine)
    machine.begin(delivery())
    assert out(machine).startswith(b"RSET\r\n")


@pytest.mark.parametrize("code", [b"452 4.5.3", b"552", b"452", b"552 5.5.3"])
def test_one_recipient_too_many_goes_in_a_new_transaction(code: bytes) -> None:
    """RFC 5321 §4.5.3.1.10: at once, on the same connection, and 552 means the same as 452."""
    machine = client()
    d = delivery("a@example.net", "b@example.net", "c@example.net")
    machine.begin(d)
    assert machine.receive(b"250 ok\r\n250 ok\r\n" + (code + b" too many\r\n") * 2 + b"354 go\r\n") == []
    out(machine)
    assert machine.receive(b"250 first\r\n") == []
    assert out(machine) == (
        b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n"
    )
    machine.receive(b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n")
    assert machine.receive(b"250 second\r\n") == [d]
    assert kinds(d) == "ddp"
    assert [getattr(outcome, "reply", None) for outcome in d.outcomes[:2]] == ["250 first", "250 second"]


def test_rest_of_the_recipients_waits_for_the_message_behind() -> None:
    """With another message's DATA out, a MAIL now would be read as its content: it goes after the dot."""
    machine = client()
    first, second = delivery("a@example.net", "b@example.net"), delivery("c@example.net")
    machine.begin(first)
    machine.receive(b"250 ok\r\n250 ok\r\n452 too many\r\n354 go\r\n")
    machine.begin(second)
    out(machine)
    assert machine.receive(b"250 first\r\n") == []
    assert out(machine) == b""
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert out(machine) == (WIRE + b".\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
    assert not machine.is_idle


@pytest.mark.parametrize(
    ("replies", "expected", "letters"),
    [
        pytest.param(b"452 4.2.2 full\r\n", "452 of a full mailbox", "td", id="mailbox full"),
        pytest.param(b"552 5.2.2 full\r\n", "552 of a full mailbox", "pd", id="over quota"),
    ],
)
def test_full_mailbox_is_not_one_recipient_too_many(replies: bytes, expected: str, letters: str) -> None:
    """A status that speaks of the mailbox is that recipient's own end."""
    machine = client()
    d = delivery("a@example.net", "b@example.net")
    machine.begin(d)
    machine.receive(b"250 ok\r\n250 ok\r\n" + replies + b"354 go\r\n")
    assert machine.receive(b"250 ok\r\n") == [d]
    assert kinds(d) == letters[::-1], expected


def test_lmtp_replies_once_for_each_accepted_recipient() -> None:
    """RFC 2033 §4.2: the ends of the recipients differ, in the order of the RCPTs that were accepted."""
    machine = client(PIPELINING, is_lmtp=True)
    d = delivery("a@example.net", "b@example.net", "c@example.net", "d@example.net")
    machine.begin(d)
    machine.receive(b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert machine.receive(b"250 a\r\n451 c\r\n") == []
    assert machine.receive(b"550 d\r\n") == [d]
    assert kinds(d) == "dptp"


def test_lmtp_with_nobody_accepted_ends_the_connection_after_354() -> None:
    """No reply is defined for the content of nobody, so nobody waits for it."""
    machine = client(PIPELINING, is_lmtp=True)
    d = delivery()
    machine.begin(d)
    assert machine.receive(b"250 ok\r\n550 no\r\n354 go\r\n") == [d]
    assert (kinds(d), machine.is_done) == ("p", True)


@pytest.mark.parametrize(
    ("offers", "replies", "expected", "is_blamed"),
    [
        pytest.param(PIPELINING, b"", "-", True, id="before MAIL is answered"),
        pytest.param(PIPELINING, b"250 ok\r\n250 ok\r\n", "-", True, id="before 354"),
        pytest.param(PIPELINING, b"250 ok\r\n550 no\r\n", "pt", False, id="after a refusal"),
        pytest.param(
            PIPELINING, b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "tt", False, id="after the dot"
        ),
        pytest.param(CHUNKING, b"", "tt", False, id="after BDAT"),
    ],
)
def test_lost_connection_puts_back_what_cannot_have_arrived(
    offers: Offers, replies: bytes, expected: str, is_blamed: bool
) -> None:
    """Before all of the content is out nothing has happened; after it, it may have, and says so."""
    machine = client(offers)
    d = delivery("a@example.net", "b@example.net")
    machine.begin(d)
    machine.receive(replies)
    assert machine.lost("the connection was lost") == [d]
    assert (kinds(d), d.is_blamed) == (expected, is_blamed)
    if expected == "tt":
        [outcome, _] = d.outcomes
        assert isinstance(outcome, TemporaryFailure) and "may have arrived" in outcome.reason


def test_message_behind_a_lost_one_is_not_blamed() -> None:
    """Only the message at which the connection ended may have ended it."""
    machine = client()
    first, second = delivery(), delivery()
    machine.begin(first)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    machine.begin(second)
    machine.lost("gone")
    assert (kinds(first), kinds(second), second.is_blamed) == ("t", "-", False)


def test_halted_machine_sends_no_more_content() -> None:
    """Link down: what has its dot out is awaited, what has not is put back."""
    machine = client()
    first, second = delivery(), delivery()
    machine.begin(first)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    machine.begin(second)
    out(machine)
    assert machine.halt() == [second]
    assert second.is_put_back and not second.is_blamed
    assert not machine.is_idle and not machine.can_take
    assert machine.receive(b"250 ok\r\n") == [first]
    assert machine.is_idle and kinds(first) == "d"


def test_content_in_a_file_is_asked_for_and_ends_with_a_dot() -> None:
    """The machine says when the file is to be sent; a refusal meanwhile ends the message and the line."""
    filed = Content(b"Received: x\r\n", b"", 1000, "/spool/1", 987)
    machine = client(CHUNKING)
    d = delivery(content=filed)
    machine.begin(d)
    assert out(machine).endswith(b"DATA\r\n")
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert machine.streaming is d and machine.stage is Stage.CONTENT and out(machine) == b""
    assert not machine.can_take
    machine.streamed()
    assert out(machine) == b".\r\n" and machine.can_take
    assert machine.receive(b"250 ok\r\n") == [d]
    again = delivery(content=filed)
    machine.begin(again)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert machine.receive(b"552 5.3.4 too big\r\n") == [again]
    assert kinds(again) == "p" and machine.is_done and machine.streaming is None


def test_unreadable_file_sends_no_dot() -> None:
    """Half a message must not be accepted as a whole one."""
    machine = client()
    d = delivery(content=Content(b"", b"", 1000, "/spool/1", 1000))
    machine.begin(d)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    out(machine)
    assert machine.stream_failed("no such file") == [d]
    assert kinds(d) == "t" and machine.is_done and out(machine) == b""


@pytest.mark.parametrize(
    ("name", "offers", "options", "expected"),
    [
        ("size told", Offers(has_pipelining=True, has_size=True), {}, b" SIZE=%d\r\n" % BODY.size_bytes),
        ("8 bit", Offers(has_8bitmime=True), {"content": from_plain(b"x: \xc3\xa4\n")}, b" BODY=8BITMIME\r\n"),
        ("8 bit not offered", Offers(), {"content": from_plain(b"x: \xc3\xa4\n")}, b"org>\r\n"),
        ("7 bit", Offers(has_8bitmime=True), {}, b"org>\r\n"),
        ("null reverse-path", Offers(), {"sender": ""}, b"MAIL FROM:<>\r\n"),
        ("DSN", Offers(has_dsn=True), {"ret": "HDRS", "envid": "a+b=c d"}, b" RET=HDRS ENVID=a+2Bb+3Dc+20d\r\n"),
        ("DSN not offered", Offers(), {"ret": "HDRS", "envid": "x"}, b"org>\r\n"),
        ("SMTPUTF8", Offers(has_smtputf8=True), {"sender": "ä@example.org"}, b" SMTPUTF8\r\n"),
        ("SMTPUTF8 asked, not needed", Offers(), {"is_smtputf8": True}, b"org>\r\n"),
        (
            "SMTPUTF8 for the header",
            Offers(has_smtputf8=True),
            {"is_smtputf8": True, "content": from_plain(b"Subject: \xc3\xa4\n\n")},
            b" SMTPUTF8\r\n",
        ),
        (
            "8 bit in the body alone",
            Offers(),
            {"is_smtputf8": True, "content": from_plain(b"Subject: x\n\n\xc3\xa4\n")},
            b"org>\r\n",
        ),
    ],
)  # fmt: skip
def test_mail_has_the_parameters_that_are_offered(
    name: str, offers: Offers, options: dict[str, object], expected: bytes
) -> None:
    """Nothing that the peer did not offer is sent; what it offered and the message has is."""
    machine = client(offers)
    machine.begin(delivery(**options))  # type: ignore[arg-type]
    first = out(machine).split(b"\r\n")[0] + b"\r\n"
    assert first.endswith(expected), name


def test_rcpt_carries_what_its_sender_asked_to_be_told() -> None:
    """NOTIFY and ORCPT go to a peer with DSN, in xtext, and to no other."""
    recipient = Recipient(
        parse_address(b"b@example.net"), "rfc822;a+b@example.org", Notify.SUCCESS | Notify.FAILURE
    )
    d = Delivery(None, Envelope(None, (recipient,)), (recipient,), BODY)
    machine = client(Offers(has_pipelining=True, has_dsn=True))
    machine.begin(d)
    expected = b"RCPT TO:<b@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@example.org\r\n"
    assert expected in out(machine)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n")
    assert isinstance(d.outcomes[0], Delivered) and d.outcomes[0].is_dsn_passed_on


@pytest.mark.parametrize(
    ("offers", "options", "status"),
    [
        (Offers(has_size=True, size_max=10), {}, "5.3.4"),
        (Offers(), {"sender": "ä@example.org"}, "5.6.7"),
        (Offers(), {"is_smtputf8": True, "content": from_plain(b"Subject: \xc3\xa4\n\n")}, "5.6.7"),
    ],
)
def test_what_the_peer_cannot_take_ends_without_a_word_to_it(
    offers: Offers, options: dict[str, object], status: str
) -> None:
    """SIZE and SMTPUTF8 are known from EHLO: nothing is sent, the sender learns why."""
    machine = client(offers)
    d = delivery(**options)  # type: ignore[arg-type]
    assert not machine.begin(d)
    assert out(machine) == b""
    [outcome] = d.outcomes
    assert isinstance(outcome, PermanentFailure) and str(outcome.status) == status


def test_530_of_a_stranger_is_the_message_s_end() -> None:
    """Only at our upstream server is it our own trouble."""
    machine = client(is_upstream=False)
    d = delivery()
    machine.begin(d)
    machine.receive(b"530 5.7.0 log in\r\n503 no\r\n503 no\r\n")
    assert kinds(d) == "p" and machine.trouble is None


# What the server can say before it hears from us again.
CONVERSATION = (
    b"250-2.1.0 one\r\n250 2.1.0 two\r\n250 2.1.5 ok\r\n452 4.5.3 too many\r\n354 go\r\n",
    b"250 2.0.0 x\r\n",
    b"250 ok\r\n250 ok\r\n354 go\r\n",
    b"451 4.3.0 later\r\n",
)


@given(st.lists(st.integers(1, 80), max_size=20))
def test_any_split_into_packets_ends_the_same(cuts: list[int]) -> None:
    """Where the octets are cut makes no difference to what is sent and how it ends."""
    machine = client()
    d = delivery("a@example.net", "b@example.net")
    machine.begin(d)
    sent, ended = out(machine), []
    for octets in CONVERSATION:
        edges = [0, *sorted(set(cuts)), len(octets)]
        for start, end in pairwise(edges):
            ended += machine.receive(octets[start:end])
            sent += out(machine)
    assert ended == [d] and kinds(d) == "dt"
    assert sent.count(b"MAIL FROM") == 2 and sent.count(WIRE + b".\r\n") == 2


@given(st.binary(max_size=200), st.sampled_from([PIPELINING, CHUNKING, LOCK_STEP]), st.booleans())
def test_no_octets_break_the_machine(octets: bytes, offers: Offers, is_lmtp: bool) -> None:
    """Whatever comes, nothing raises, and every delivery ends exactly once."""
    machine = client(offers, is_lmtp=is_lmtp)
    begun: list[Delivery] = []
    ended: list[Delivery] = []
    for piece in (octets[:50], b"250 ok\r\n", octets[50:]):
        while machine.can_take and len(begun) < 20:
            begun.append(delivery("a@example.net", "b@example.net"))
            machine.begin(begun[-1])
        ended += machine.receive(piece)
        out(machine)
    ended += machine.lost("gone")
    assert sorted(map(id, ended)) == sorted(map(id, begun))
    assert all(d.is_put_back or None not in d.outcomes for d in ended)


@given(st.lists(st.sampled_from([b"250 ok\r\n", b"354 go\r\n", b"452 too many\r\n", b"550 no\r\n", b"451 x\r\n",
    b"421 bye\r\n", b"250-a\r\n250 b\r\n"]), max_size=40), st.sampled_from([PIPELINING, CHUNKING, LOCK_STEP]),
    st.booleans())  # fmt: skip
def test_any_replies_end_every_delivery_once(replies: list[bytes], offers: Offers, is_lmtp: bool) -> None:
    """Replies that make sense one by one, in an order that makes none."""
    machine = client(offers, is_lmtp=is_lmtp)
    begun: list[Delivery] = []
    ended: list[Delivery] = []
    for reply in [b"", *replies]:
        ended += machine.receive(reply)
        while machine.can_take and len(begun) < 20:
            begun.append(delivery("a@example.net", "b@example.net", "c@example.net"))
            machine.begin(begun[-1])
        out(machine)
    ended += machine.halt() + machine.lost("gone")
    assert sorted(map(id, ended)) == sorted(map(id, begun))
    assert all(d.is_put_back or None not in d.outcomes for d in ended)


def test_offers_are_read_from_ehlo() -> None:
    """Keywords in any case, SIZE with and without a number, the old AUTH= beside AUTH."""
    text = (
        b"250-mx greets\n250-pipelining\n250-SIZE 1000\n250-AUTH PLAIN LOGIN\n250-AUTH=LOGIN XOAUTH2\n250 DSN"
    )
    offers = parse_offers(read_reply(text))
    assert (offers.has_pipelining, offers.size_max, offers.has_dsn) == (True, 1000, True)
    assert offers.mechanisms == ("PLAIN", "LOGIN", "XOAUTH2")
    assert parse_offers(read_reply(b"250-PIPELINING\n250 SIZE")) == Offers(has_size=True)
    assert parse_offers(read_reply(b"250-x\n250 SIZE 99999999999999999999999")).size_max == 0


@pytest.mark.parametrize("reply", [b"mumble\r\n", b"250 ok\n", b"354 go\r\n", b"699 what\r\n"])
def test_reply_to_the_content_that_is_none_says_that_it_may_have_arrived(reply: bytes) -> None:
    """Whatever the peer meant, it has the whole message: a second copy must not surprise anybody."""
    machine = client()
    d = delivery()
    machine.begin(d)
    machine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert machine.receive(reply) == [d]
    [outcome] = d.outcomes
    assert isinstance(outcome, TemporaryFailure) and "it may have arrived" in outcome.reason


@pytest.mark.parametrize(("behind", "expected"), [(b"550 5.1.1 who?", "-"), (b"421 4.3.2 bye", "t")])
def test_reply_that_nobody_asked_for_is_not_the_answer_to_the_next_command(
    behind: bytes, expected: str
) -> None:
    """Where commands go one at a time, two replies at once are one too many: nothing bounces by it."""
    machine = client(LOCK_STEP)
    d = delivery()
    machine.begin(d)
    ended = machine.receive(b"250 ok\r\n" + behind + b"\r\n")
    assert ended == [d] and kinds(d) == expected and machine.is_done
