"""Parser: one row of the table of all parsers: what reads octets, how it refuses, what it must read.

The function of a row gets octets of any kind and checks what it promises (a round trip, say) by itself:
an exception that is not one of `refusals` is a fault, and so is an assertion that does not hold."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

Read = Callable[[bytes], object]

# What hurts parsers, in no special order; each is tried alone and many times over.
FRAGMENTS: Final = (
    b"<", b">", b"(", b")", b'"', b"\\", b",", b":", b";", b"@", b" ", b"\t", b".", b"[", b"]", b"{", b"}",
    b"\r\n", b"\n", b"\r", b"\0", b"=", b"a=", b"a", b"0", b"9", b"-", b"+", b"+2B", b"%", b"&", b"'", b"#", b"/",
    b"a@b.c,", b"a.", b'"a" <', b"()", b'\\"', b"\r\n ", b"\r\n.", b"a:b\r\n", b"\xff", b"\xc3\xa9",
    b"\xcc\x81", b"\xe2\x80\xa8", b"\xc2\xad", b"\xed\xa0\x80", b'{"a":', b'"a":1,',
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parser:
    """`octets_max`: the longest input that the product ever hands it. `frames`: what stands before and
    behind what is repeated, when time is counted. `seeds` are read without a refusal."""

    read: Read
    refusals: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]
    octets_max: int
    frames: tuple[tuple[bytes, bytes], ...] = ((b"", b""),)
    fragments: tuple[bytes, ...] = ()  # besides those that all have

    def feed(self, octets: bytes) -> bool:
        """Whether it was read; False when it was refused as documented."""
        try:
            self.read(octets)
        except self.refusals:
            return False
        return True


def cuts(octets: bytes) -> list[bytes]:
    """The octets in up to four packets; where they are cut hangs on the octets themselves."""
    size = len(octets)
    places = sorted({0, size, sum(octets[:8]) % (size + 1), sum(octets[-8:]) * 7 % (size + 1)})
    return [octets[a:b] for a, b in pairwise(places)] or [octets]


def text(octets: bytes) -> str:
    """What a command line or JSON would make of octets: surrogates included."""
    return octets.decode("utf-8", "surrogateescape")
