"""Parsers with a mistake each, which the counters must see."""

import re
from typing import Final

from tests.fuzz.parser import Parser

_ADJACENT: Final = re.compile(rb"[^;]*[^;]*;")


def looks_again(octets: bytes) -> None:
    """Quadratic in Python: each comma is looked for from the start."""
    for at, octet in enumerate(octets):
        if octet == 0x2C:
            sum(1 for before in octets[:at] if before == 0x2C)


def cuts_off(octets: bytes) -> None:
    """Quadratic in C: all that is left is copied in small letters for each word."""
    while octets:
        octets = octets.lower()[max(octets.find(b" "), 0) + 1 :]


def goes_back(octets: bytes) -> None:
    """Quadratic in a regular expression."""
    _ADJACENT.search(octets)


def reads(octets: bytes) -> None:
    """Linear, for comparison."""
    octets.split(b" ")
    for octet in octets:
        _ = octet


def trips(octets: bytes) -> None:
    """Raises what it does not say that it raises."""
    if octets[:1] == b"<" and octets[1:2] == b"@":
        raise IndexError("planted")


PLANTED: Final = {
    "looks again": Parser(looks_again, (), (), 4096),
    "cuts off": Parser(cuts_off, (), (), 8192),
    "goes back": Parser(goes_back, (), (), 128),
    "reads": Parser(reads, (), (), 65536),
    "trips": Parser(trips, (ValueError,), (), 65536),
}
