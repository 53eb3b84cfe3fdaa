"""The parsers of what POP3 and IMAP servers say, and of the headers that collected mail is sorted by."""

from typing import Final

from cmail.link.collect.preview import compose_preview
from cmail.link.collect.sorting import circle_of, is_report, recipients_of, reverse_path_of
from cmail.mail.address import parse_address
from cmail.protocol import imap_client_login, pop3_client
from cmail.protocol.imap_client import Continue, ImapClient, Tagged
from cmail.protocol.imap_client_data import ImapError, argument, fetched, folder_name, parse_values, uid_set
from cmail.protocol.pop3_client import (
    Challenge,
    ContentEnd,
    Kind,
    LogInError,
    Piece,
    Pop3Client,
    Pop3Error,
    Status,
    parse_capabilities,
    parse_numbers,
    parse_status,
    parse_uids,
)
from cmail.protocol.sasl_client import Credentials
from tests.fuzz.parser import Parser, cuts, text

_PACKET: Final = 65536
_WHO: Final = Credentials("anna", "s3cret")
_KINDS: Final = (Kind.LISTING, Kind.CONTENT, Kind.STATUS, Kind.CONTENT, Kind.LOG_IN)


def _joined(events: list[object]) -> list[object]:
    """Pieces that follow each other are one: how they were cut says nothing."""
    found: list[object] = []
    for event in events:
        if isinstance(event, Piece) and found and isinstance(found[-1], Piece):
            found[-1] = Piece(found[-1].octets + event.octets)
        else:
            found.append(event)
    return found


def pop3(octets: bytes) -> None:
    """A session in any packets: the same events."""
    found: list[list[object]] = []
    for packets in ([octets], cuts(octets)):
        machine = Pop3Client()
        events: list[object] = []
        for kind in _KINDS:
            assert machine.command(b"RETR 1", kind).endswith(b"\r\n")
        try:
            for packet in packets:
                events += machine.feed(packet)
        except Pop3Error:
            events.append("refused")
        found.append(_joined(events))
        for event in events:
            if isinstance(event, Status):
                assert str(event).isprintable()
    whole, cut = found
    if "refused" not in whole:
        assert whole == cut
    assert whole.count(ContentEnd()) <= 2


def pop3_lists(octets: bytes) -> None:
    """Capabilities, sizes and names."""
    lines = octets.split(b"\r\n")
    assert all(each.isprintable() for each in parse_capabilities(lines).mechanisms)
    parse_numbers(lines)
    assert all(uid.isprintable() and " " not in uid for uid in parse_uids(lines).values())


def pop3_status(octets: bytes) -> None:
    """One line."""
    assert str(parse_status(octets)).isprintable()


def pop3_log_in(octets: bytes) -> None:
    """Any answers; lines are what the server says."""
    for mechanisms in (("PLAIN",), ("LOGIN",), ("SCRAM-SHA-256",), ()):
        conversation = pop3_client.log_in(_WHO, pop3_client.Capabilities(mechanisms), True)
        try:
            line, _ = next(conversation)
            for said in octets.split(b"\n", 6):
                assert b"\r" not in line and b"\n" not in line
                is_challenge = said[:2] == b"+ "
                answer = Challenge(said[2:].replace(b"i=", b"i=0000")) if is_challenge else parse_status(said)
                line, _ = conversation.send(answer)
        except (StopIteration, LogInError):
            continue


def imap(octets: bytes) -> None:
    """A session in any packets: the same events."""
    found: list[list[object]] = []
    for packets in ([octets], cuts(octets)):
        machine = ImapClient()
        events: list[object] = []
        for _ in range(3):
            machine.command(b"NOOP")
        try:
            for packet in packets:
                events += machine.feed(packet)
        except ImapError:
            events.append("refused")
        found.append(_joined(events))
    whole, cut = found
    if "refused" not in whole:
        assert whole == cut
    for event in whole:
        if isinstance(event, Tagged):
            assert str(event).isprintable()


def imap_drip(octets: bytes) -> None:
    """A session of small packets, as thin links bring them."""
    machine = ImapClient()
    machine.command(b"NOOP")
    for at in range(0, len(octets), 256):
        machine.feed(octets[at : at + 256])


def pop3_drip(octets: bytes) -> None:
    """The same."""
    machine = Pop3Client()
    for kind in _KINDS:
        machine.command(b"RETR 1", kind)
    for at in range(0, len(octets), 256):
        machine.feed(octets[at : at + 256])


def imap_values(octets: bytes) -> None:
    """A line's values, and those of a FETCH."""
    values = parse_values(octets, [b"literal"])
    assert all(name == name.upper() for name in fetched(values))


def imap_arguments(octets: bytes) -> None:
    """What we write is read as the same."""
    said = text(octets).encode("utf-8", "replace").decode()
    quoted = argument(said)
    if quoted is not None:
        assert parse_values(quoted, []) == [said.encode()]
    name = folder_name(said.replace("\0", ""))
    assert name.isascii() and not set(name) & set("\r\n")
    uids = sorted(set(octets))
    assert uid_set(uids).count(b",") <= len(uids)


def imap_log_in(octets: bytes) -> None:
    """Any answers; lines are what the server says."""
    for capabilities in (("AUTH=PLAIN", "SASL-IR"), ("AUTH=LOGIN",), ("AUTH=SCRAM-SHA-256",), ()):
        for who in (_WHO, Credentials("ännä", 'p"\\\r')):
            conversation = imap_client_login.log_in(who, capabilities, True)
            try:
                send = next(conversation)
                for said in octets.split(b"\n", 6):
                    assert not send.is_command or not set(send.octets) & set(b"\r\n")
                    answer = (
                        Continue(said[2:].replace(b"i=", b"i=0000"))
                        if said[:2] == b"+ "
                        else Tagged("C1", "OK" if said[:2] == b"OK" else "NO", "no")
                    )
                    send = conversation.send(answer)
            except (StopIteration, LogInError):
                continue


def sorted_by(octets: bytes) -> None:
    """Whom a header says that a message was for."""
    for each in recipients_of(octets, "example.org"):
        assert parse_address(each.encode()).domain == "example.org"
    path = reverse_path_of(octets)
    assert not path or parse_address(path.encode()).text == path
    assert not (is_report(octets) and path)
    assert circle_of(octets, (b"by x ",)).isprintable()


def preview(octets: bytes) -> None:
    """Of any beginning: a message whose lines are lines."""
    made = compose_preview(
        name="isp",
        number=7,
        size=len(octets),
        beginning=octets,
        recipients=(parse_address(b"anna@example.org"),),
        hostname="mail.example.org",
        now_ms=0,
    )
    assert made.count(b"\n") == made.count(b"\r\n") == made.count(b"\r") and b"\0" not in made
    assert b"cmail collect fetch isp 7" in made


COLLECT: Final[dict[str, Parser]] = {
    "POP3 session": Parser(
        pop3,
        (),
        (b"+OK hi\r\n+OK\r\n1 a\r\n.\r\n+OK\r\n..a\r\n.\r\n+OK\r\n+OK\r\nx\r\n.\r\n+ AAAA\r\n+OK\r\n",),
        _PACKET,
        (
            (b"+OK\r\n+OK\r\n", b"\r\n.\r\n"),
            (b"+OK\r\n+OK\r\n.\r\n+OK\r\n", b"\r\n.\r\n"),
            (b"+OK ", b"\r\n"),
        ),
        (b"+OK\r\n", b"-ERR [IN-USE] x\r\n", b"\r\n."),
    ),
    "POP3 lists": Parser(pop3_lists, (Pop3Error,), (), _PACKET, fragments=(b"1 2\r\n",)),
    "POP3 status": Parser(
        pop3_status, (Pop3Error,), (b"-ERR [SYS/TEMP] no", b"+OK"), 8192, ((b"+OK ", b""),)
    ),
    "POP3 log-in": Parser(pop3_log_in, (Pop3Error,), (b"+OK", b"+ \n+ \n+OK"), 8192, ((b"+ ", b""),)),
    "IMAP session": Parser(
        imap,
        (),
        (
            b"* OK hi\r\n* SEARCH 1 2\r\n* 1 FETCH (UID 1 BODY[] {3}\r\nabc FLAGS (\\Seen))\r\nC1 OK [UIDNEXT 3] x\r\n",
            b"* LIST () {3}\r\nabc\r\n+ go\r\nC1 NO x\r\n* 2 EXISTS\r\n* BYE x\r\n",
        ),
        _PACKET,
        (
            (b"", b"\r\n"),
            (b"* 1 FETCH (BODY[] {60000}\r\n", b""),
            (b"* SEARCH ", b"\r\n"),
            (b"* 1 FETCH (", b")\r\n"),
        ),
        (b"* 1 EXISTS\r\n", b"{1}\r\na", b"C1 OK\r\n", b"* 1 FETCH (BODY[] {1}\r\na)\r\n"),
    ),
    "IMAP session, small packets": Parser(
        imap_drip,
        (ImapError,),
        (b"* SEARCH 1 2\r\nC1 OK\r\n",),
        1 << 20,
        (
            (b"* SEARCH ", b"\r\n"),
            (b"* X ", b"\r\n"),
            (b"* 1 FETCH (", b""),
            (b"* 1 FETCH (BODY[] {1048576}\r\n", b""),
        ),
        (b"{1}\r\na", b"BODY[ {0}\r\n", b"BODY[] {1}\r\na", b"BODY["),
    ),
    "POP3 session, small packets": Parser(
        pop3_drip,
        (Pop3Error,),
        (b"+OK hi\r\n+OK\r\n1 a\r\n.\r\n",),
        1 << 20,
        ((b"+OK\r\n+OK\r\n", b"\r\n.\r\n"), (b"+OK\r\n+OK\r\n.\r\n+OK\r\n", b"")),
        (b"+ \r\n", b"\r\n.."),
    ),
    "IMAP values": Parser(
        imap_values,
        (ImapError,),
        (b'(UID 1 BODY[HEADER.FIELDS (DATE)] {0} X "a\\"b" Y NIL Z (1 2))',),
        _PACKET,
        ((b"(A ", b")"), (b'(A "', b'")'), (b"(A (", b"))")),
        (b"() ", b'"" ', b"{0} ", b"NIL "),
    ),
    "IMAP arguments": Parser(imap_arguments, (), (b"INBOX", "Entwürfe & mehr".encode()), 8192),
    "IMAP log-in": Parser(imap_log_in, (), (b"OK", b"+ \n+ \nOK"), 8192, ((b"+ ", b""),)),
    "collected header": Parser(
        sorted_by,
        (),
        (
            b"Return-Path: <a@b.c>\r\nDelivered-To: anna@example.org\r\nReceived: x\r\n\tfor <bert@example.org>; d\r\n",
            b"X-Original-To: <anna@example.org>, bert@example.org\r\n",
        ),
        _PACKET,
        (
            (b"Received: ", b"\r\n"),
            (b"Delivered-To: ", b"\r\n"),
            (b"Delivered-To: a@example.org\r\n", b"\r\n"),
        ),
        (b"Received: for <a@example.org>;\r\n", b" for ", b"Delivered-To: b@example.org\r\n"),
    ),
    "preview": Parser(
        preview, (), (b"Subject: x\r\nFrom: a\r\n\r\nhello\r\n",), 16384, ((b"Subject: ", b"\r\n\r\n"),)
    ),
}
