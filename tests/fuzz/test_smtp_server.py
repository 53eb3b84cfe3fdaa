"""The server machine from octets: whatever comes, in whatever packets, it behaves the same and never raises."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cmail.protocol.smtp.content import (
    AFTER_DOT_CR,
    LINE_START,
    scan,
    scan_in_python,
    scan_plain,
    scan_plain_in_python,
)
from cmail.protocol.smtp.server_states import Rules
from tests.support.fake_house import FakeHouse

LINES = st.sampled_from(
    [
        b"EHLO x", b"HELO x", b"LHLO x", b"MAIL FROM:<a@example.net>", b"MAIL FROM:<> SIZE=99999999",
        b"RCPT TO:<anna@example.org>", b"RCPT TO:<bert>", b"RCPT TO:<nobody@example.org>", b"DATA", b"RSET", b"NOOP x",
        b"BDAT 5", b"BDAT 0 LAST", b"BDAT 12 LAST", b"BDAT x", b"AUTH PLAIN", b"*", b"AAAA", b"STARTTLS", b"QUIT",
        b".", b"..", b".x", b"text", b"", b"x" * 2100, b"nul\0", b"bare\rcr", b"caf\xc3\xa9",
    ]
)  # fmt: skip
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"", b"\r\r\n"])
HELLO = b"EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<anna@example.org>\r\nRCPT TO:<bert@example.org>\r\n"
CONVERSATIONS = st.builds(
    lambda begin, lines: begin + b"".join(line + end for line, end in lines),
    st.sampled_from([b"", b"EHLO x\r\n", HELLO, HELLO + b"DATA\r\n"]),
    st.lists(st.tuples(LINES, ENDS), max_size=25),
)
PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\0", b"\xff", b"\r\n.", b"\r\n.\r\n"]),
    max_size=12,
).map(b"".join)


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    """The octets in packets."""
    at = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[a:b] for a, b in pairwise(at)]


@given(
    CONVERSATIONS,
    st.lists(st.integers(0, 4000), max_size=40),
    st.sampled_from(["smtp", "lmtp"]),
    st.booleans(),
)
def test_any_packets_give_the_same_replies_and_mail(
    octets: bytes, places: list[int], kind: str, tls: bool
) -> None:
    """One packet, some packets, or one an octet: replies, mail and the end are the same."""
    rules = Rules(kind, "example.org", 200, 3, has_tls=tls)  # type: ignore[arg-type]
    ends = []
    for packets in ([octets], cut(octets, places), cut(octets, list(range(len(octets))))):
        house = FakeHouse(rules)
        written = b""
        for packet in packets:
            if house.machine.holding:
                break  # the connection would not read on
            written += house.hears(packet)
        if b"STARTTLS" in octets and tls:
            written = written.partition(b"220 2.0.0")[0].partition(b"421 4.7.0 Octets")[0]
        ends.append((written, house.taken, house.machine.is_over))
    if not (b"STARTTLS" in octets and tls):  # there, what is in the same packet decides
        assert ends[0] == ends[1] == ends[2]
    for _, recipients, content, size_bytes in ends[0][1]:
        assert recipients and (not content or content.endswith(b"\r\n"))
        assert b"\r\n.\r\n" not in b"\r\n" + content
        plain = (b"\r\n" + content).replace(b"\r\n..", b"\r\n.")[2:]
        assert len(plain) == size_bytes
        assert content.replace(b"\r\n", b"").translate(None, b"\r\n\0") == content.replace(b"\r\n", b"")


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_octets_without_sense_never_raise(octets: bytes, places: list[int]) -> None:
    """Nothing that a peer sends can raise, and each reply is whole lines."""
    house = FakeHouse()
    written = house.hears(b"EHLO x\r\n", *cut(octets, places))
    assert written.endswith(b"\r\n")


@given(st.lists(st.sampled_from([b"a", b"\r\n", b".", b"..", b"\r\n.", b"\xe9"]), max_size=15).map(b"".join))
def test_content_comes_out_as_it_went_in(plain: bytes) -> None:
    """By DATA and by BDAT the same plain content is kept in the same wire form."""
    whole = plain if not plain or plain.endswith(b"\r\n") else plain + b"\r\n"
    wire = (b"\r\n" + whole).replace(b"\r\n.", b"\r\n..")[2:]
    by_data, by_bdat = FakeHouse(), FakeHouse()
    by_data.hears(HELLO + b"DATA\r\n" + wire + b".\r\n")
    by_bdat.hears(HELLO + b"BDAT %d LAST\r\n" % len(plain) + plain)
    assert by_data.taken == by_bdat.taken
    assert by_data.taken[0][2:] == (wire, len(whole))


@given(PIECES, st.integers(0, 5), st.integers(0, AFTER_DOT_CR))
def test_the_compiled_scan_and_its_twin_agree_on_data(data: bytes, start: int, state: int) -> None:
    """The same answer from the same octets in every state."""
    start = min(start, len(data))
    assert scan(data, start, state) == scan_in_python(data, start, state)


@given(PIECES, st.integers(0, LINE_START))
def test_the_compiled_scan_and_its_twin_agree_on_chunks(data: bytes, state: int) -> None:
    """The same for BDAT."""
    assert scan_plain(data, state) == scan_plain_in_python(data, state)
