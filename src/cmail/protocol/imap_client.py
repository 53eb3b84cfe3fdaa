"""ImapClient: an IMAP client (RFC 3501, RFC 9051) as a machine: commands out, octets in, events back.

All of it is bounded. A literal that is the content of a message is handed on in pieces; every other one is
kept, and small."""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cmail.protocol.imap_client_data import ImapError, Value, parse_values
from cmail.protocol.pop3_client import ContentEnd, Piece, shown

LINE_OCTETS_MAX: Final = 16 * 2**20  # a SEARCH that finds a million messages
LITERAL_OCTETS_MAX: Final = 256 * 1024  # of one that is kept, and of all of a response
LITERALS_MAX: Final = 1000
FOUND_MAX: Final = 1_000_000  # numbers of a SEARCH; boxes are collected 200,000 at a time
PARSED_OCTETS_MAX: Final = 64 * 1024  # of a line that is read value by value; ours have some hundred
CONTENT_OCTETS_END: Final = 1 << 40
_LITERAL: Final = re.compile(rb"(~?)\{(\d{1,20})\}\Z")
_FETCH: Final = re.compile(rb"\* \d{1,10} FETCH \(", re.I)
_BODY: Final = re.compile(rb"[ (]BODY\[[^\]\"]*\](?:<\d{1,20}>)? ?\Z", re.I)
_HEAD_MAX: Final = 4096  # of a line, up to the content of a message
_ALL: Final = re.compile(rb" ALL (\S+)", re.I)
_CODE: Final = re.compile(rb"\[([^\[\]]{1,2000})\] ?")


@dataclass(frozen=True, slots=True)
class Tagged:
    """The last word on a command."""

    tag: str
    word: str  # OK, NO, BAD
    text: str
    code: str = ""  # UIDVALIDITY 3, AUTHENTICATIONFAILED, ...

    @property
    def is_ok(self) -> bool:
        """Whether it was done."""
        return self.word == "OK"

    def __str__(self) -> str:
        """As the server said it."""
        code = f"[{self.code}] " if self.code else ""
        return f"{self.word} {code}{self.text}".rstrip()


@dataclass(frozen=True, slots=True)
class Untagged:
    """`* ...`: its first word (or the second, behind a number) in upper case, and what stands behind."""

    word: str
    number: int = -1
    values: tuple[Value, ...] = ()
    text: str = ""  # of OK, NO, BAD, BYE, PREAUTH
    code: str = ""


@dataclass(frozen=True, slots=True)
class Continue:
    """`+ ...`: go on."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class ContentBegin:
    """The content of message `number` (a sequence number) follows: so many octets."""

    number: int
    size: int


Event = Tagged | Untagged | Continue | ContentBegin | Piece | ContentEnd
_STATUS_WORDS: Final = frozenset(("OK", "NO", "BAD", "BYE", "PREAUTH"))


class ImapClient:
    """One connection."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0  # where in it we are, while it is read
        self._searched = 0  # how much of what is held has no line end in it
        self._parts: list[bytes] = []  # the response so far, each literal in it as {n} and its number
        self._line_octets = 0  # of them
        self._literals: list[bytes] = []
        self._literals_octets = 0
        self._literal_left = 0
        self._literal: list[bytes] | None = None
        self._content_left = -1
        self._tags = 0
        self._open: deque[str] = deque()

    @property
    def is_clean(self) -> bool:
        """Nothing was said beyond what was asked: TLS may begin (RFC 3501 §6.2.1)."""
        return not (self._held or self._parts or self._open or self._literal is not None)

    def command(self, octets: bytes) -> tuple[str, bytes]:
        """Its tag, and the octets to send: a command, or its first part when a literal follows."""
        self._tags += 1
        tag = f"C{self._tags}"
        self._open.append(tag)
        return tag, tag.encode() + b" " + octets + b"\r\n"

    def feed(self, data: bytes) -> list[Event]:
        """What came with these octets. ImapError: nothing more is read from this connection."""
        events: list[Event] = []
        self._held += data
        self._at = 0
        while self._at < len(self._held):
            if self._content_left >= 0:
                self._take_content(events)
            elif self._literal is not None:
                self._take_literal()
            elif not self._take_line(events):
                break
        del self._held[: self._at]
        return events

    def _take(self, octets_max: int) -> bytes:
        piece = bytes(memoryview(self._held)[self._at : self._at + octets_max])
        self._at += len(piece)
        return piece

    def _take_content(self, events: list[Event]) -> None:
        piece = self._take(self._content_left)
        self._content_left -= len(piece)
        events.append(Piece(piece))
        if not self._content_left:
            self._content_left = -1
            events.append(ContentEnd())

    def _take_literal(self) -> None:
        assert self._literal is not None
        piece = self._take(self._literal_left)
        self._literal.append(piece)
        self._literal_left -= len(piece)
        if not self._literal_left:
            self._literals.append(b"".join(self._literal))
            self._literal = None

    def _take_line(self, events: list[Event]) -> bool:
        """A line, or a part of one up to a literal; False: more is needed."""
        held, at = self._held, self._at
        end = held.find(b"\r\n", max(at, self._searched - 1))
        if self._line_octets + (end if end >= 0 else len(held)) - at > LINE_OCTETS_MAX:
            raise ImapError("the server sent a line without an end")
        if end < 0:
            self._searched = len(held) - at
            return False
        line, self._at, self._searched = bytes(memoryview(held)[at:end]), end + 2, 0
        found = _LITERAL.search(line[-24:])
        if found is None:
            self._keep(line)
            whole, literals = b"".join(self._parts), self._literals
            self._parts, self._line_octets, self._literals, self._literals_octets = [], 0, [], 0
            events.append(self._response(whole, literals))
            return True
        size = int(found[2])
        self._keep(line[: -len(found[0])])
        number = self._content_number()
        self._keep(b"{%d}" % len(self._literals))
        if number >= 0:
            if size >= CONTENT_OCTETS_END:
                raise ImapError(f"the server says that a message has {size} octets")
            self._literals.append(b"")
            events.append(ContentBegin(number, size))
            self._content_left = size
            if not size:
                self._content_left = -1
                events.append(ContentEnd())
        else:
            self._literals_octets += size
            if self._literals_octets > LITERAL_OCTETS_MAX or len(self._literals) >= LITERALS_MAX:
                raise ImapError(f"the server sent {self._literals_octets} octets where a few are enough")
            if size:
                self._literal, self._literal_left = [], size
            else:
                self._literals.append(b"")
        return True

    def _keep(self, part: bytes) -> None:
        """A part of the line."""
        self._parts.append(part)
        self._line_octets += len(part)

    def _content_number(self) -> int:
        """The number of the message whose content follows; -1: what follows is no content. A line that goes
        on for long before it comes to that is none that we asked for."""
        if self._line_octets >= _HEAD_MAX:
            return -1
        head = b"".join(self._parts)
        begin = head.upper().rfind(b"BODY[") - 1
        if begin < 0 or not _FETCH.match(head) or not _BODY.match(head, begin):
            return -1
        return int(head[2:14].split(b" ", 1)[0])

    def _response(self, line: bytes, literals: Sequence[bytes]) -> Event:
        if line[:2] == b"+ " or line == b"+":
            return Continue(line[2:])
        tag, _, rest = line.partition(b" ")
        if tag == b"*":
            return _untagged(rest, literals)
        if not self._open or tag != self._open[0].encode():
            raise ImapError(f"this is no answer of IMAP: {shown(line)!r}")
        self._open.popleft()
        word, _, text = rest.partition(b" ")
        name = shown(word).upper()
        if name not in ("OK", "NO", "BAD"):
            raise ImapError(f"this is no answer of IMAP: {shown(line)!r}")
        code, words = _code(text)
        return Tagged(tag.decode("ascii"), name, words, code)


def _untagged(rest: bytes, literals: Sequence[bytes]) -> Untagged:
    first, _, behind = rest.partition(b" ")
    number = -1
    if first.isdigit() and len(first) <= 10:
        number = int(first)
        first, _, behind = behind.partition(b" ")
    word = shown(first).upper()
    if not word or len(word) > 40:
        raise ImapError(f"this is no answer of IMAP: {shown(rest)!r}")
    if word in _STATUS_WORDS and number < 0:
        code, text = _code(behind)
        return Untagged(word, text=text, code=code)
    if word == "SEARCH":  # much longer than all others: no value of each number by itself
        return Untagged(word, number, tuple(parse_search(behind)))
    if word == "ESEARCH":  # what servers of IMAP4rev2 alone say to the same question
        return Untagged("SEARCH", number, tuple(parse_esearch(behind)))
    if word not in ("FETCH", "CAPABILITY"):
        return Untagged(word, number)
    if len(behind) > PARSED_OCTETS_MAX:
        raise ImapError("a line with more in it than anybody asked for")
    return Untagged(word, number, tuple(parse_values(behind, literals)))


def parse_search(octets: bytes) -> list[int]:
    """Numbers of a SEARCH; what is behind them in brackets (MODSEQ) is left out."""
    text = octets.partition(b"(")[0]
    if text.count(b" ") > FOUND_MAX:
        raise ImapError(f"a search found more than {FOUND_MAX} messages")
    words = text.split()
    if not all(word.isdigit() and len(word) <= 10 for word in words):
        raise ImapError(f"a search found {shown(octets)!r}")
    return [int(word) for word in words]


def parse_esearch(octets: bytes) -> list[int]:
    """The same of (TAG "a1") UID ALL 2:4,7; without ALL nothing was found."""
    found = _ALL.search(octets)
    numbers: list[int] = []
    if octets.count(b",") > FOUND_MAX:
        raise ImapError(f"a search found more than {FOUND_MAX} messages")
    for span in found[1].split(b",") if found else ():
        first, colon, last = span.partition(b":")
        ends = [first, last if colon else first]
        if not all(each.isdigit() and len(each) <= 10 for each in ends):
            raise ImapError(f"a search found {shown(octets)!r}")
        low, high = sorted(int(each) for each in ends)
        if len(numbers) + high - low >= FOUND_MAX:
            raise ImapError(f"a search found more than {FOUND_MAX} messages")
        numbers += range(low, high + 1)
    return numbers


def _code(text: bytes) -> tuple[str, str]:
    """[CODE] and the text behind it."""
    found = _CODE.match(text)
    return ("", shown(text)) if found is None else (shown(found[1], 2000), shown(text[found.end() :]))
