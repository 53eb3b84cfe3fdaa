"""How content is framed: DATA up to its final dot, BDAT by its length; what is wrong in it is seen at once.

Content is kept in the form it is sent in: CRLF lines, a leading dot doubled (RFC 5321 §4.5.2). scan() reads
DATA and scan_plain() a BDAT chunk; both come from the compiled helper where it was built, else from the twin
here. A state says where in a line the octets so far have ended, so any split into packets ends the same.
"""

from collections.abc import Callable
from typing import Final

WITHIN: Final = 0  # of a line
AFTER_CR: Final = 1
LINE_START: Final = 2  # also before the first octet
AFTER_DOT: Final = 3  # at the start of a line: doubled, or the beginning of the end
AFTER_DOT_CR: Final = 4

BARE: Final = 1  # a CR without LF, a LF without CR, or a NUL: all of the content is refused (rule 6)
EIGHT_BIT: Final = 2
LONE_DOT: Final = 4  # a line begins with one dot: the peer does not stuff; RFC 5321 §4.5.2 takes the dot away

END_OF_DATA: Final = b"\r\n.\r\n"  # and nothing else
_LEADS: Final = (b"", b"\r", b"\r\n", b"\r\n.", b"\r\n.\r")  # what the octets before must have been, by state
HELD: Final = (b"", b"", b"", b".", b".\r")  # what of them is not content before the next octet is known

Scanned = tuple[int, int, int, int]


def scan_in_python(data: bytes, start: int, state: int) -> Scanned:
    """Read DATA content from data[start:]: (end, state, seen, dots).

    `end`: where the octets behind the final dot begin, -1 when it has not come; `dots`: doubled ones."""
    lead = _LEADS[state]
    text = lead + data[start:]
    if len(text) == len(lead):
        return -1, state, 0, 0
    end = text.find(END_OF_DATA)
    if end >= 0:
        text = text[: end + 5]
    after = LINE_START if end >= 0 else _state_of(text)
    seen = _seen(text, after) | (0 if text.isascii() else EIGHT_BIT)
    dots = text.count(b"\r\n..")
    if text.count(b"\r\n.") - dots - (end >= 0 or after >= AFTER_DOT):
        seen |= LONE_DOT
    return (start + len(text) - len(lead) if end >= 0 else -1), after, seen, dots


def scan_plain_in_python(data: bytes, state: int) -> tuple[int, int, int]:
    """Read a piece of a BDAT chunk: (state, seen, dots); `dots` counts lines that begin with a dot."""
    if not data:
        return state, 0, 0
    text = _LEADS[state] + data
    after = AFTER_CR if text.endswith(b"\r") else LINE_START if text.endswith(b"\r\n") else WITHIN
    return after, _seen(text, after) | (0 if text.isascii() else EIGHT_BIT), text.count(b"\r\n.")


def _state_of(text: bytes) -> int:
    for state in (AFTER_DOT_CR, AFTER_DOT, LINE_START, AFTER_CR):
        if text.endswith(_LEADS[state]):
            return state
    return WITHIN


def _seen(text: bytes, after: int) -> int:
    lines = text.count(b"\r\n")
    open_cr = after in (AFTER_CR, AFTER_DOT_CR)
    is_bare = text.count(b"\r") - open_cr != lines or text.count(b"\n") != lines or b"\0" in text
    return BARE if is_bare else 0


def double_dots(piece: bytes, state: int) -> tuple[bytes, int]:
    """Wire octets in which each dot that begins a line is one of two, from DATA with LONE_DOT seen; how many.

    `state` is where the piece begins; the octets held back before it stand in it."""
    lead = _LEADS[min(state, LINE_START)]
    plain = (lead + piece).replace(b"\r\n.", b"\r\n")
    return plain.replace(b"\r\n.", b"\r\n..")[len(lead) :], plain.count(b"\r\n.")


def stuff_piece(piece: bytes, state: int) -> bytes:
    """Wire octets of a piece of plain content that begins at `state`."""
    lead = _LEADS[state]
    return (lead + piece).replace(b"\r\n.", b"\r\n..")[len(lead) :]


scan: Callable[[bytes, int, int], Scanned]
scan_plain: Callable[[bytes, int], tuple[int, int, int]]
try:
    from cmail.protocol.smtp import _scan  # type: ignore[attr-defined, unused-ignore]

    scan, scan_plain = _scan.scan, _scan.scan_plain
    IS_COMPILED = True
except ImportError:  # no compiler when it was installed
    scan, scan_plain = scan_in_python, scan_plain_in_python
    IS_COMPILED = False
