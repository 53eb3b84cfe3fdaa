"""Inputs for parsers: seeds cut, repeated, joined with what hurts, and octets without sense."""

import re
from typing import Final

from hypothesis import strategies as st

from tests.fuzz.parser import FRAGMENTS, Parser

# A word, number, string or list of JSON, TOML or a protocol, and what nobody expects in its place.
_WORD: Final = re.compile(rb'"[^"]*"|\[[^]\[]*\]|[^\s",:;\[\]{}<>=]+')
HOSTILE: Final = (
    b"null", b"true", b"-1", b"0", b"0.5", b"1e999", b"-1e999", b"nan", b"-inf", b"9" * 30, b"9" * 5000, b"1979-05-27",
    b"07:32:00", b"[]", b"{}", b"[[]]", b"[1]", b"[1979-05-27]", b'["a", 1]', b'{"a": 1}', b'""', b'"a"', b'"\\ud800"',
    b'"\\u0000"', b'"\\r\\n"', b'"\xc2\xb2"', b'"\xc2\xb2d"', b'"\xc2\xb2MiB"', b'"' + b"9" * 400 + b'd"',
    b'"' + b"9" * 400 + b'MiB"', b'"' + b"9" * 5000 + b'"', b"\xc2\xb2", b"\xd9\xa1", b"\xff", b"a" * 300, b"[" * 2000, b"{" * 2000,
)  # fmt: skip


def inputs(parser: Parser) -> st.SearchStrategy[bytes]:
    """Near what is valid, in the frames of the parser, and anything."""
    pieces = st.sampled_from([*FRAGMENTS, *parser.fragments, *parser.seeds, *_parts(parser)])
    joined = st.lists(pieces | st.binary(max_size=4), max_size=8).map(b"".join)
    frames = st.sampled_from([(b"", b""), *parser.frames])
    framed = st.tuples(frames, joined).map(lambda made: made[0][0] + made[1] + made[0][1])
    seeds = st.sampled_from(parser.seeds or (b"",))
    changed = st.builds(_change, seeds, st.integers(0, 4000), pieces, st.integers(0, 9))
    swapped = st.builds(_swap, seeds, st.integers(0, 400), st.sampled_from([*HOSTILE, *parser.fragments]))
    return framed | changed | swapped | st.binary(max_size=60)


def _parts(parser: Parser) -> list[bytes]:
    """Words of the seeds."""
    return sorted({word for seed in parser.seeds for word in seed.split()} - {b""})[:40]


def _change(seed: bytes, place: int, piece: bytes, size: int) -> bytes:
    """A seed with a piece of it put in another's place."""
    at = place % (len(seed) + 1)
    return seed[:at] + piece + seed[at + size :]


def _swap(seed: bytes, number: int, hostile: bytes) -> bytes:
    """A seed with one of its words replaced."""
    words = list(_WORD.finditer(seed))
    if not words:
        return hostile
    start, end = words[number % len(words)].span()
    return seed[:start] + hostile + seed[end:]
