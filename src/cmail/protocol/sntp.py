"""SNTP as a client: a question to a time server, and how wrong our clock is by its answer (RFC 5905 §14)."""

import struct
from dataclasses import dataclass
from typing import Final

PACKET_OCTETS: Final = 48
_SECONDS_1900_TO_1970: Final = 2_208_988_800
_ERA_S: Final = 1 << 32  # the counter begins anew in February 2036 (RFC 5905 §6)
_CLIENT: Final = 0b00_100_011  # no leap warning, version 4, mode 3
_FORMAT: Final = struct.Struct("!BBbbII4s8s8s8s8s")
_MODE_SERVER: Final = 4
_STRATUM_MAX: Final = 15
_NOT_SYNCHRONIZED: Final = 3


class SntpError(ValueError):
    """An answer that cannot be used; says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says. `offset_s`: theirs minus ours; positive: our clock is slow."""

    offset_s: float
    delay_s: float  # the way there and back


def question(nonce: bytes) -> bytes:
    """The packet. The nonce (8 octets of chance) stands where our time would: nobody learns how wrong our
    clock is, and an answer that does not repeat it is not the server's."""
    assert len(nonce) == 8
    return _FORMAT.pack(_CLIENT, 0, 0, 0, 0, 0, b"", b"", b"", b"", nonce)


def read_answer(octets: bytes, nonce: bytes, sent_s: float, received_s: float) -> Reading:
    """Our times are seconds since 1970 by the clock that is judged."""
    if len(octets) < PACKET_OCTETS:
        raise SntpError("the answer is too short")
    first, stratum, _, _, _, _, code, _, origin, received, transmitted = _FORMAT.unpack(
        octets[:PACKET_OCTETS]
    )
    if first & 7 != _MODE_SERVER or origin != nonce:
        raise SntpError("that is no answer to our question")
    if stratum == 0:  # a kiss of death (RFC 5905 §7.4)
        raise SntpError(
            f"the server does not want to be asked ({code.rstrip(bytes(1)).decode('ascii', 'replace')})"
        )
    if stratum > _STRATUM_MAX or first >> 6 == _NOT_SYNCHRONIZED or transmitted == bytes(8):
        raise SntpError("the server does not know the time itself")
    theirs_in, theirs_out = _seconds(received), _seconds(transmitted)
    delay_s = max((received_s - sent_s) - (theirs_out - theirs_in), 0.0)
    return Reading(((theirs_in - sent_s) + (theirs_out - received_s)) / 2, delay_s)


def _seconds(stamp: bytes) -> float:
    """A time stamp as seconds since 1970, of the era after 1968 (RFC 5905 §6): a clock of ours that shows
    1970 must not choose another."""
    whole, fraction = struct.unpack("!II", stamp)
    seconds: float = whole - _SECONDS_1900_TO_1970 + fraction / _ERA_S
    return seconds if whole & 0x8000_0000 else seconds + _ERA_S
