"""What `sendmail` reads on standard input -> header section and body, in pieces; memory stays small."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cmail.cli.exits import Exit, Refusal
from cmail.mail.limits import HEADER_OCTETS_MAX

Read = Callable[[], bytes]  # the next piece; b"" at the end
_PIECE: Final = 64 * 1024
_NEVER_SENT: Final = frozenset((b"bcc", b"resent-bcc", b"return-path"))  # for us alone


def read_from(fd: int) -> Read:
    """Pieces of a file descriptor as they come."""
    return lambda: os.read(fd, _PIECE)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the header section, as it came (folded, with its line end)."""

    name: bytes  # lower case
    octets: bytes

    @property
    def value(self) -> str:
        """What stands behind the colon, unfolded (RFC 5322 §2.2.3)."""
        text = self.octets.partition(b":")[2].decode("utf-8", "surrogateescape")
        return text.replace("\r", "").replace("\n", "").strip()


@dataclass(frozen=True, slots=True)
class Submission:
    """A message on its way in: the fields are known, the body is still being read."""

    fields: tuple[Field, ...]
    body: Iterator[bytes]  # begins with the empty line

    def has(self, name: bytes) -> bool:
        """Whether there is such a field."""
        return any(f.name == name for f in self.fields)

    def pieces(self, added: bytes) -> Iterator[bytes]:
        """The message as it is sent: what we add on top, the fields but Bcc, the body."""
        yield added
        yield b"".join(f.octets for f in self.fields if f.name not in _NEVER_SENT)
        yield from self.body


def read_submission(read: Read, *, ends_at_dot: bool) -> Submission:
    """Read up to the end of the header section. A message without one is all body. A line with a
    single dot ends it where `ends_at_dot` (sendmail without -i)."""
    pieces = _until_dot(read) if ends_at_dot else iter(read, b"")
    head, rest = _head(pieces)
    fields, below = _fields(head)
    return Submission(fields, _body(below, rest, pieces))


def _body(below: bytes, rest: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The empty line, which a header section without body may lack, and all that follows."""
    first = below + rest
    has_empty_line = first.startswith((b"\n", b"\r\n"))
    yield first if has_empty_line else b"\n" + first
    yield from pieces


def _head(pieces: Iterator[bytes]) -> tuple[bytes, bytes]:
    """The octets up to the first empty line, and what was read behind it (with that line)."""
    head = b""
    for piece in pieces:
        head += piece
        end = _empty_line(head)
        if end >= 0:
            return head[:end], head[end:]
        if len(head) > HEADER_OCTETS_MAX:
            _, below = _fields(head)
            if below:  # a body without header section, or with a short one: no need to read on
                return head[: len(head) - len(below)], below
            raise Refusal(f"the header section is longer than {HEADER_OCTETS_MAX} octets", Exit.DATA)
    return head, b""


def _empty_line(octets: bytes) -> int:
    """Where the first empty line starts; -1 when there is none."""
    if octets.startswith((b"\n", b"\r\n")):
        return 0
    ends = [at + 1 for at in (octets.find(b"\n\n"), octets.find(b"\n\r\n")) if at >= 0]
    return min(ends, default=-1)


def _fields(head: bytes) -> tuple[tuple[Field, ...], bytes]:
    """The fields, and what stands below the last of them when a line is none (it belongs to the body)."""
    *whole, last = head.split(b"\n")  # a bare CR is no line end here
    lines = [line + b"\n" for line in whole] + [last] * bool(last)
    starts: list[list[bytes]] = []
    if lines and lines[0].startswith((b"From ", b">From ")):
        lines = lines[1:]  # the envelope line of an mbox is no field
    for number, line in enumerate(lines):
        if line[:1] in (b" ", b"\t") and starts:
            starts[-1].append(line)
        elif _is_field(line):
            starts.append([line])
        else:
            return _finish(starts), b"".join(lines[number:])
    return _finish(starts), b""


def _finish(starts: list[list[bytes]]) -> tuple[Field, ...]:
    found = []
    for lines in starts:
        octets = b"".join(lines)
        name = octets.partition(b":")[0].rstrip(b" \t").lower()
        found.append(Field(name, octets if octets.endswith(b"\n") else octets + b"\n"))
    return tuple(found)


def _is_field(line: bytes) -> bool:
    """A name of printable ASCII, perhaps blanks (obsolete, RFC 5322 §4.5), a colon."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    return bool(colon and name) and all(33 <= octet <= 126 for octet in name)


def _until_dot(read: Read) -> Iterator[bytes]:
    """Pieces up to a line that has a single dot, or to the end."""
    held, is_line_start = b"", True
    for piece in iter(read, b""):
        held += piece
        if is_line_start and held.startswith((b".\n", b".\r\n")):
            return
        ends = [at + 1 for at in (held.find(b"\n.\n"), held.find(b"\n.\r\n")) if at >= 0]
        if ends:
            yield held[: min(ends)]
            return
        start = held.rfind(b"\n") + 1
        is_line_start = bool(start or is_line_start) and held[start:] in (b"", b".", b".\r")
        cut = start if is_line_start else len(held)  # what may yet become that line is kept
        yield held[:cut]
        held = held[cut:]
