"""The parsers of what peers say: SMTP as server and as client, content, log-ins."""

import base64
from dataclasses import replace
from typing import Final

from cmail.mail import limits
from cmail.mail.address import parse_address
from cmail.mail.content import Content, Unstuffer, from_plain, normalize, stuff, unstuff
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.reply import ReplySyntaxError, parse_reply
from cmail.protocol import lines, sasl, sasl_client, saslprep
from cmail.protocol.smtp import content as framing
from cmail.protocol.smtp.client import SmtpClient
from cmail.protocol.smtp.client_commands import mail_command, rcpt_command, xtext
from cmail.protocol.smtp.client_delivery import Delivery
from cmail.protocol.smtp.client_handshake import HandshakeError, Manners, Say, handshake
from cmail.protocol.smtp.client_offers import Offers, parse_offers
from cmail.protocol.smtp.client_replies import Replies, read_reply
from cmail.protocol.smtp.commands import (
    CommandError,
    check_octets,
    decode_base64,
    parse_auth,
    parse_bdat,
    parse_mail,
    parse_rcpt,
)
from cmail.protocol.smtp.extensions import Kind
from cmail.protocol.smtp.grammar import GrammarError, decode_xtext, parse_helo_name
from cmail.protocol.smtp.scheduling import KEYWORDS, SECONDS_MAX, Schedule
from cmail.protocol.smtp.server_states import Rules
from cmail.protocol.smtp.site_commands import DOMAINS_MAX, parse_atrn, parse_etrn
from tests.fuzz.parser import Parser, Read, cuts, text
from tests.support.fake_house import FakeHouse

_ALL: Final = Offers(True, True, True, True, True, True, 0, True, ("PLAIN",), True, True, 0, True)
_LINE: Final = limits.COMMAND_LINE_OCTETS_MAX


def mail(octets: bytes) -> None:
    """MAIL; what was read is written by the client machine and read again as the same."""
    found = parse_mail(octets, "example.org")
    wishes = found.schedule or Schedule(())
    priority = wishes.priority or 0
    envelope = Envelope(
        found.reverse_path, (), found.ret, found.envid, priority=priority, by_mode=wishes.by_mode
    )
    content = Content(b"", b"", found.size_bytes, has_8bit=found.is_8bit)
    line = mail_command(envelope, content, _ALL, found.is_smtputf8, wishes.by_s).removesuffix(b"\r\n")
    check_octets(line)
    if found.is_smtputf8 or line.isascii():
        again = parse_mail(line, "example.org")
        assert replace(again, schedule=None) == replace(found, schedule=None)
        passed_on = again.schedule or Schedule(())
        assert (passed_on.by_s, passed_on.by_mode) == (wishes.by_s, wishes.by_mode)
        assert (passed_on.priority or 0) == priority


def wishes(octets: bytes) -> None:
    """What MAIL says of when a message goes: within its bounds, and of what was said alone."""
    found = parse_mail(b"MAIL FROM:<> " + octets, "example.org").schedule
    if found is not None:
        assert set(found.said) <= KEYWORDS
        assert 0 <= found.hold_for_s <= SECONDS_MAX and not (found.hold_for_s and found.hold_until_ms)
        assert 0 <= found.hold_until_ms < 253_402_300_800_000 + 86_400_000
        assert found.by_s is None or abs(found.by_s) <= SECONDS_MAX
        assert found.by_mode in ("", "N", "R", "NT", "RT") and (found.by_s is None) == (not found.by_mode)
        assert found.by_mode[:1] != "R" or (found.by_s or 0) > 0
        assert found.priority is None or abs(found.priority) <= 9


def rcpt(octets: bytes) -> None:
    """RCPT, likewise."""
    found = parse_rcpt(octets, "example.org")
    line = rcpt_command(found.recipient, _ALL, True).removesuffix(b"\r\n")
    check_octets(line)
    assert parse_rcpt(line, "example.org") == found


def bdat(octets: bytes) -> None:
    """BDAT."""
    found = parse_bdat(octets)
    last = b" LAST" if found.is_last else b""
    assert found.size_bytes >= 0 and parse_bdat(b"BDAT %d%b" % (found.size_bytes, last)) == found


def auth(octets: bytes) -> None:
    """AUTH, and a line of its exchange."""
    check_octets(octets)
    found = parse_auth(octets)
    if found.initial:
        assert decode_base64(base64.b64encode(found.initial)) == found.initial


def etrn(octets: bytes) -> None:
    """ETRN: what was read can be said again and means the same."""
    found = parse_etrn(octets)
    assert str(found).isascii() and str(found).isprintable() and " " not in str(found)
    assert parse_etrn(f"ETRN {found}".encode()) == found


def atrn(octets: bytes) -> None:
    """ATRN, likewise."""
    found = parse_atrn(octets)
    assert len(set(found)) == len(found) <= DOMAINS_MAX
    assert parse_atrn(b"ATRN " + ",".join(found).encode()) == found


def helo_name(octets: bytes) -> None:
    """The argument of EHLO."""
    assert parse_helo_name(octets).encode() == octets


def read_xtext(octets: bytes) -> None:
    """xtext and back."""
    plain = decode_xtext(octets)
    assert decode_xtext(xtext(plain).encode()) == plain
    assert not set(plain) & set("\r\n\0")


def session(kind: Kind, is_slow: bool = False) -> Read:
    """A session of the server machine on any octets, cut anywhere."""

    def run(octets: bytes) -> None:
        house = FakeHouse(Rules(kind, "example.org", 60_000, 50, has_tls=True), is_slow)
        written = house.hears(*cuts(octets))
        for _ in range(3):
            written += house.answer_all()
        house.machine.part()
        assert not written or written.endswith(b"\r\n")
        assert written.isascii()
        for _, recipients, wire, size_bytes in house.taken:
            assert recipients and len(unstuff(wire)) == size_bytes
            assert b"\r\n.\r\n" not in b"\r\n" + wire and b"\0" not in wire

    return run


def replies(octets: bytes) -> None:
    """Replies in any packets: the same ones, and each is a value that prints as one line."""
    whole, cut = Replies(), Replies()
    found = whole.feed(octets)
    again = [reply for piece in cuts(octets) for reply in cut.feed(piece)]
    assert found == again and bool(whole.error) == bool(cut.error)
    for raw in found:
        assert str(read_reply(raw)).isprintable()


def reply(octets: bytes) -> None:
    """A reply printed is read as the same."""
    found = parse_reply(octets.split(b"\n"))
    again = parse_reply(bytes(found).removesuffix(b"\r\n").split(b"\r\n"))
    assert again == found and str(found).isprintable()


def offers(octets: bytes) -> None:
    """EHLO keywords of a peer."""
    found = parse_offers(read_reply(octets))
    assert 0 <= found.size_max < 10**20 and 0 <= found.by_min_s < 10**9


def client_handshake(octets: bytes) -> None:
    """From the greeting to the log-in with a server that says anything."""
    said = Replies().feed(octets)
    manners = Manners("mail.example.org", "opportunistic", sasl_client.Credentials("anna", "s3cret"))
    steps = handshake(manners)
    try:
        step = next(steps)
        for raw in said:
            step = steps.send(raw)
            if isinstance(step, Say):
                assert b"\r\n" not in step.octets[:-2] and "s3cret" not in step.name
    except StopIteration:
        return


def client(is_lmtp: bool, offered: Offers) -> Read:
    """Two messages to a server that answers anything: each recipient ends exactly once."""
    recipients = [Recipient(parse_address(name)) for name in (b"anna@example.org", b"bert@example.org")]
    envelope = Envelope(None, tuple(recipients))

    def run(octets: bytes) -> None:
        machine = SmtpClient(offered, "peer", is_lmtp=is_lmtp)
        ended: list[Delivery] = []
        began = 0
        for packet in [b"", *cuts(octets)]:
            while machine.can_take and began < 2:
                began += machine.begin(Delivery(began, envelope, recipients, from_plain(b".x\n")))
            machine.take_outgoing()
            ended += machine.receive(packet)
        ended += machine.lost("the end")
        assert sorted(int(str(d.token)) for d in ended) == list(range(began))
        assert all(d.is_put_back or None not in d.outcomes for d in ended)

    return run


def line_ends(octets: bytes) -> None:
    """Lines as one would read them by hand."""
    end = lines.find_line_end(octets, 0, 40)
    head, lf, _ = octets.partition(b"\n")
    if len(head) - head.endswith(b"\r") > 40:
        assert end == lines.TOO_LONG
    elif not lf:
        assert end == lines.NEED_MORE
    else:
        assert end == (len(head) - 1 if head.endswith(b"\r") else lines.BARE_LF)
    start = lines.skip_line(octets, 0)
    assert start == lines.NEED_MORE or octets[start - 2 : start] == b"\r\n"


def scans(octets: bytes) -> None:
    """The compiled scan and its twin: the same on all of it, and the same on its pieces."""
    for state in range(framing.AFTER_DOT_CR + 1):
        assert framing.scan(octets, 0, state) == framing.scan_in_python(octets, 0, state)
        if state <= framing.LINE_START:
            assert framing.scan_plain(octets, state) == framing.scan_plain_in_python(octets, state)
    whole = framing.scan(octets, 0, framing.LINE_START)
    for scan in (framing.scan, framing.scan_in_python):
        state, seen, dots, done, end = framing.LINE_START, 0, 0, 0, -1
        for piece in cuts(octets):
            end, state, some_seen, some = scan(piece, 0, state)
            seen, dots = seen | some_seen, dots + some
            if end >= 0:
                end += done
                break
            done += len(piece)
        assert (end, state, seen, dots) == whole


def message_content(octets: bytes) -> None:
    """Plain octets are stuffed and come back, in pieces too."""
    plain = normalize(octets)
    kept = from_plain(octets)
    assert kept.plain() == plain and kept.size_bytes == len(plain) and unstuff(stuff(plain)) == plain
    unstuffer = Unstuffer()
    assert b"".join([*map(unstuffer.feed, cuts(kept.octets)), unstuffer.finish()]) == plain
    assert b"\r\n.\r\n" not in b"\r\n" + kept.octets


class _Keys:
    """Everybody has the same keys."""

    def scram_keys(self, username: str) -> sasl.ScramKeys:
        return sasl.ScramKeys(username, b"salt", 4096, b"k" * 32, b"s" * 32)


def log_in(octets: bytes) -> None:
    """Each mechanism; lines are the client's responses."""
    for name in sasl.MECHANISMS:
        machine = sasl.start(name, _Keys(), lambda: "nonce")
        assert machine is not None
        for response in [None, *octets.split(b"\n", 5)]:
            step = machine.next(response)
            if isinstance(step, sasl.CheckPassword):
                assert step.username and "\0" not in step.username + step.password


def log_in_at_a_server(octets: bytes) -> None:
    """Each mechanism as a client; lines are the server's challenges. Rounds are kept few: they are many
    on purpose, and bounded."""
    for name in ("PLAIN", "LOGIN", sasl_client.SCRAM):
        exchange = sasl_client.exchange(name, sasl_client.Credentials("anna", "s3cret"))
        nonce = (next(exchange) or b"").partition(b"r=")[2]
        try:
            for challenge in octets.split(b"\n", 4):
                few = challenge if challenge.endswith(b",i=4") else challenge.replace(b"i=", b"i=0000")
                exchange.send(few.replace(b"NONCE", nonce))
        except (StopIteration, sasl_client.SaslError):
            continue


def prepared_name(octets: bytes) -> None:
    """SASLprep: nothing that no line may have is left."""
    prepared = saslprep.decode(octets, saslprep.PASSWORD_OCTETS_MAX)
    if prepared is not None:
        assert prepared and not set(prepared) & set("\r\n\0")
    saslprep.prepare(text(octets))


_TALK: Final = (
    b"EHLO x\r\nMAIL FROM:<a@example.net> SIZE=10\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n..a\r\n.\r\nQUIT\r\n",
    b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bert>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\n\r\nRSET\r\nNOOP\r\nVRFY a\r\n",
    b"EHLO x\r\nAUTH PLAIN\r\nAGEAYg==\r\nAUTH LOGIN\r\n*\r\nHELP\r\nEXPN a\r\nSTARTTLS\r\n",
)
_FRAMES: Final = (
    (b"", b"\r\n"),
    (b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n", b"\r\n.\r\n"),
    (b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<anna@example.org>\r\nBDAT 50000\r\n", b""),
)
_SPOKEN: Final = b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 kept\r\n250 2.0.0 kept\r\n"
_EHLO: Final = b"220 hi\r\n250-hi\r\n250-SIZE 1000\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"
_REPLY_FRAMES: Final = ((b"", b"\r\n"), (b"250-", b"\r\n"), (b"250 ", b""))
_PACKET: Final = 65536  # what one read of a socket gives at most

SMTP: Final[dict[str, Parser]] = {
    "MAIL": Parser(
        mail,
        (CommandError,),
        (
            b"MAIL FROM:<anna@example.org> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=a+2Bb",
            b'MAIL FROM:<"a b"@[192.0.2.1]> AUTH=<>',
            b"MAIL FROM:<>",
            "MAIL FROM:<bjørn@exämple.org> SMTPUTF8".encode(),
            b"mail from: <@a.example,@[IPv6:::1]:x@b.example>",
            b"MAIL FROM:<> BY=-7;NT MT-PRIORITY=-3 HOLDFOR=60",
        ),
        _LINE,
        (
            (b"MAIL FROM:<", b">"),
            (b'MAIL FROM:<"', b'"@b.c>'),
            (b"MAIL FROM:<a@", b">"),
            (b"MAIL FROM:<a@b> ", b""),
            (b"MAIL FROM:<@", b":a@b.c>"),
            (b"MAIL FROM:<> ENVID=", b""),
        ),
        (b"@a,", b"@[a],", b"A=b ", b"A-", b"\\a"),
    ),
    "MAIL, wishes": Parser(
        wishes,
        (CommandError,),
        (
            b"HOLDFOR=86400 BY=+120;RT MT-PRIORITY=-9",
            b"HOLDUNTIL=2026-11-23T08:00:00.125+01:30 by=-999999999;n",
            b"HOLDUNTIL=2016-12-31T23:59:60Z MT-PRIORITY=0",
        ),
        _LINE - 13,
        ((b"", b""), (b"HOLDFOR=", b""), (b"HOLDUNTIL=2026-11-23T08:00:00.", b"Z"), (b"BY=", b";R")),
        (b"HOLDFOR=1 ", b"T08:00:00Z", b"2026-11-23", b";N", b"BY=", b"MT-PRIORITY="),
    ),
    "RCPT": Parser(
        rcpt,
        (CommandError,),
        (
            b"RCPT TO:<bert@example.org> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;bert+2B@example.org",
            b"RCPT TO:<postmaster>",
            b"RCPT TO:<x@example.org> NOTIFY=NEVER",
        ),
        _LINE,
        ((b"RCPT TO:<", b">"), (b"RCPT TO:<a@b> NOTIFY=", b""), (b"RCPT TO:<a@b> ORCPT=rfc822;", b"")),
        (b"DELAY,",),
    ),
    "BDAT": Parser(
        bdat, (CommandError,), (b"BDAT 10", b"bdat 5 last", b"BDAT 0 LAST"), _LINE, ((b"BDAT ", b""),)
    ),
    "ETRN": Parser(
        etrn,
        (CommandError,),
        (b"ETRN example.org", b"etrn @EXAMPLE.org ", b"ETRN #ship-1"),
        _LINE,
        ((b"ETRN ", b""), (b"ETRN @", b""), (b"ETRN #", b"")),
    ),
    "ATRN": Parser(
        atrn,
        (CommandError,),
        (b"ATRN", b"ATRN example.org", b"atrn a.example, B.example,a.example"),
        _LINE,
        ((b"ATRN ", b""),),
    ),
    "AUTH": Parser(
        auth,
        (CommandError,),
        (b"AUTH PLAIN AGEAYg==", b"AUTH SCRAM-SHA-256", b"AUTH LOGIN ="),
        limits.AUTH_LINE_OCTETS_MAX,
        ((b"AUTH PLAIN ", b""), (b"AUTH ", b"")),
    ),
    "HELO name": Parser(helo_name, (GrammarError,), (b"mail.example.org", b"[192.0.2.1]"), _LINE),
    "xtext": Parser(
        read_xtext, (GrammarError,), (b"a+2Bb+3D", "bjørn".encode()), _LINE, fragments=(b"+C3+A9",)
    ),
    "SMTP session": Parser(
        session("smtp"),
        (),
        _TALK,
        _PACKET,
        _FRAMES,
        (b"RSET\r\n", b"MAIL\r\n", b"BDAT 1\r\na", b"x\r\n.\r\n"),
    ),
    "submission, slow disk": Parser(session("submission", True), (), _TALK, _PACKET, _FRAMES[:2]),
    "LMTP session": Parser(
        session("lmtp"),
        (),
        tuple(talk.replace(b"EHLO", b"LHLO") for talk in _TALK),
        _PACKET,
        tuple((head.replace(b"EHLO", b"LHLO"), tail) for head, tail in _FRAMES[1:]),
    ),
    "replies": Parser(
        replies,
        (),
        (b"250-a\r\n250 b\r\n421 bye\r\n", _SPOKEN),
        _PACKET,
        _REPLY_FRAMES,
        (b"250 a\r\n", b"250-a\r\n"),
    ),
    "reply": Parser(
        reply, (ReplySyntaxError,), (b"550-5.1.1 a\n550 5.1.1 b", b"250 ok"), _PACKET, ((b"250 ", b""),)
    ),
    "EHLO offers": Parser(
        offers,
        (),
        (b"250-hi\n250-SIZE 1000\n250-AUTH=LOGIN PLAIN\n250 PIPELINING",),
        _PACKET,
        ((b"250-hi\n250 AUTH ", b""), (b"250-hi\n250 SIZE ", b"")),
        (b" LOGIN",),
    ),
    "client handshake": Parser(
        client_handshake,
        (HandshakeError,),
        (b"220 hi\r\n250-hi\r\n250 STARTTLS\r\n220 go\r\n", _EHLO),
        _PACKET,
        ((_EHLO + b"454 no\r\n", b"\r\n"), (b"220 hi\r\n250-hi\r\n250-AUTH ", b"\r\n250 x\r\n")),
        (b"334 \r\n", b"334 AAAA\r\n"),
    ),
    "client, one by one": Parser(
        client(False, Offers()), (), (_SPOKEN,), _PACKET, _REPLY_FRAMES, (b"250 a\r\n", b"452 a\r\n")
    ),
    "client, pipelined": Parser(
        client(False, _ALL), (), (_SPOKEN,), _PACKET, _REPLY_FRAMES, (b"250 a\r\n", b"452 a\r\n")
    ),
    "LMTP client": Parser(
        client(True, Offers(has_pipelining=True)), (), (_SPOKEN,), _PACKET, _REPLY_FRAMES, (b"250 a\r\n",)
    ),
    "line ends": Parser(line_ends, (), (b"a\r\nb\r\n",), _PACKET),
    "content scan": Parser(
        scans, (), (b"a\r\n..b\r\n.\r\nQUIT", b".\r\n"), _PACKET, fragments=(b"\r\n..", b".\r")
    ),
    "content": Parser(message_content, (), (b".a\nb\r\n..c\r", b""), _PACKET, fragments=(b"\r\n..", b"..")),
    "log-in": Parser(
        log_in,
        (),
        (
            b"\0anna\0s3cret",
            b"anna\ns3cret",
            b"n,,n=anna,r=abc\nc=biws,r=abcnonce,p=" + base64.b64encode(b"p" * 32),
        ),
        limits.AUTH_LINE_OCTETS_MAX,
        ((b"", b""), (b"n,,n=", b",r=abc"), (b"n,,n=anna,r=", b""), (b"n,,n=a,r=abc\nc=biws,", b",p=AAAA")),
        (b"=2C",),
    ),
    "log-in at a server": Parser(
        log_in_at_a_server,
        (),
        (b"r=NONCEabc,s=c2FsdA==,i=4\nv=AAAA", b"VXNlcm5hbWU6\nUGFzc3dvcmQ6"),
        limits.REPLY_LINE_OCTETS_MAX,
        ((b"", b""), (b"r=NONCE", b",s=c2FsdA==,i=4"), (b"r=NONCEabc,s=", b",i=4")),
        (b"a=b,",),
    ),
    "SASLprep": Parser(prepared_name, (), (b"anna", "bjørn\u00ad".encode()), saslprep.PASSWORD_OCTETS_MAX),
}
