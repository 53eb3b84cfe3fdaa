"""SNTP: what is asked, and what is made of the answers."""

import struct
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.protocol.sntp import SntpError, question, read_answer

NONCE: Final = b"8 octets"
SENT_S: Final = 1_800_000_000.0


def stamp(unix_s: float) -> bytes:
    """A time as it stands in the packet."""
    seconds = (int(unix_s) + 2_208_988_800) % 2**32
    return struct.pack("!II", seconds, int((unix_s % 1) * 2**32))


def answer(
    *, first: int = 0x24, stratum: int = 2, code: bytes = b"GPS\0", nonce: bytes = NONCE, at: float = SENT_S
) -> bytes:
    """A server's, that was in its hands for no time."""
    head = struct.pack("!BBbbII4s", first, stratum, 0, 0, 0, 0, code)
    return head + bytes(8) + nonce + stamp(at) + stamp(at)


def test_the_question_says_nothing_of_our_clock() -> None:
    """48 octets, version 4, mode client, the nonce where our time would be."""
    packet = question(NONCE)
    assert len(packet) == 48 and packet[0] == 0x23
    assert packet[1:40] == bytes(39) and packet[40:] == NONCE


@pytest.mark.parametrize("offset_s", [0.0, 12.5, -3600.0, 86400.0 * 400])
def test_the_offset(offset_s: float) -> None:
    """Theirs minus ours, the way taken for equally long in both directions."""
    found = read_answer(answer(at=SENT_S + 0.1 + offset_s), NONCE, SENT_S, SENT_S + 0.2)
    assert found.offset_s == pytest.approx(offset_s, abs=1e-4)
    assert found.delay_s == pytest.approx(0.2, abs=1e-4)


def test_after_2036_and_from_1970() -> None:
    """The counter begins anew in 2036; a clock of ours that woke up in 1970 does not choose the era."""
    late_s = 2_100_000_000.0
    assert read_answer(answer(at=late_s), NONCE, late_s, late_s).offset_s == pytest.approx(0, abs=1e-4)
    assert read_answer(answer(at=SENT_S), NONCE, 60.0, 60.0).offset_s == pytest.approx(SENT_S - 60)


BAD = [
    ("too short", answer()[:47], "too short"),
    ("not ours", answer(nonce=b"another!"), "no answer to our question"),
    ("a client", answer(first=0x23), "no answer"),
    ("a kiss of death", answer(stratum=0, code=b"RATE"), "RATE"),
    ("stratum 16", answer(stratum=16), "does not know the time"),
    ("not synchronized", answer(first=0xE4), "does not know the time"),
    ("no time", answer()[:40] + bytes(8), "does not know the time"),
]


@pytest.mark.parametrize(("octets", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_answers_that_are_none(octets: bytes, words: str) -> None:
    """Forged, refused, from a server that does not know itself."""
    with pytest.raises(SntpError, match=words):
        read_answer(octets, NONCE, SENT_S, SENT_S)


@given(st.binary(max_size=100))
def test_any_octets(octets: bytes) -> None:
    """Nothing that comes raises anything else."""
    try:
        read_answer(octets, octets[24:32], SENT_S, SENT_S)
    except SntpError:
        return
