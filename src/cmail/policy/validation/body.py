"""Looks at the body of a multipart without building it: boundaries, depth, counts. Any pieces end the same.

Only where lines begin with two hyphens it stops; nothing inside a message that is forwarded is judged."""

from typing import Final

from cmail.mail.headers import find_field
from cmail.policy.validation import rules
from cmail.policy.validation.content_type import BOUNDARY_MAX, read_content_type
from cmail.policy.validation.rules import Defect, Rule

_PART_HEADER_MAX: Final = 16 * 1024  # octets; what stands behind them is not looked at
_BOUNDARY_LINE_MAX: Final = 2000  # octets that are waited for; a longer line is no boundary
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_WHITE: Final = b" \t\r\n"


class Base64:
    """Counts what stands in a part that says it is base64 (RFC 2045 §6.8)."""

    __slots__ = ("_count", "_is_other")

    def __init__(self) -> None:
        self._count = 0
        self._is_other = False

    def feed(self, octets: bytes) -> None:
        """Some of it."""
        kept = octets.translate(None, _WHITE)
        self._count += len(kept)
        self._is_other = self._is_other or bool(kept.translate(None, _BASE64))

    @property
    def is_broken(self) -> bool:
        """Other octets in it, or not in fours."""
        return self._is_other or bool(self._count % 4)


class LineLengths:
    """Whether there is a line over 998 octets: one look for a line end in each 1000 octets, not more."""

    __slots__ = ("_since", "has_long")

    def __init__(self) -> None:
        self._since = 0  # octets of the line that is under way
        self.has_long = False

    def feed(self, piece: bytes) -> None:
        """Some content."""
        if self.has_long:
            return
        at, size = -self._since, len(piece)
        while at + _LINE_END <= size:
            end = piece.rfind(b"\n", at if at > 0 else 0, at + _LINE_END)
            if end < 0:
                self.has_long = True
                return
            at = end + 1
        last = piece.rfind(b"\n", max(at, 0))
        self._since = size - (last + 1 if last >= 0 else at)


_LINE_END: Final = rules.TEXT_LINE_MAX + 2


class _Level:
    """A multipart that is open."""

    __slots__ = ("delimiter", "is_seen")

    def __init__(self, boundary: bytes) -> None:
        self.delimiter = b"--" + boundary
        self.is_seen = False


class Parts:
    """The parts of a multipart whose top boundary is known. feed() it the CRLF of the empty line and what
    follows, then finish()."""

    __slots__ = ("_base64", "_delimiters", "_is_over", "_is_starting", "_kept", "_levels", "count", "defects")

    def __init__(self, boundary: bytes) -> None:
        self.defects: dict[Rule, Defect] = {}
        self.count = 0
        self._levels: list[_Level] = []
        self._delimiters: dict[bytes, tuple[int, bool]] = {}  # line -> depth, whether it closes
        self._kept = b""
        self._is_over = False  # all are closed, or it cannot be told any more
        self._is_starting = False  # the header of a part comes
        self._base64: Base64 | None = None
        self._open(boundary)

    def feed(self, piece: bytes) -> None:
        """Some more of the body."""
        if not self._is_over:
            text = self._kept + piece if self._kept else piece
            done = self._read(text, is_last=False)
            self._kept = text[done:] if not self._is_over else b""

    def finish(self) -> None:
        """That was all."""
        if not self._is_over:
            self._read(self._kept, is_last=True)
            self._close_to(0)

    def _read(self, text: bytes, *, is_last: bool) -> int:
        """How much of it is done with; the rest is needed again, with what follows."""
        at, size = 0, len(text)
        while not self._is_over:
            if self._is_starting:
                end = self._read_part_header(text, at, is_last=is_last)
                if end < 0:
                    return at
                at = end
            found = text.find(b"\r\n--", at)
            if found < 0:
                end = size if is_last else max(at, size - 3)
                self._take(text, at, end)
                return end
            end = text.find(b"\r\n", found + 4, found + _BOUNDARY_LINE_MAX)
            if end < 0:
                if not is_last and size - found < _BOUNDARY_LINE_MAX:
                    self._take(text, at, found)
                    return found
                end = size if size - found < _BOUNDARY_LINE_MAX else found + 4
            line = text[found + 2 : end].rstrip(b" \t")
            match = self._delimiters.get(line)
            if match is not None:
                self._take(text, at, found)
                self._meet(*match)
            else:
                self._take(text, at, end)
                self._look_again(line)
            at = end
        return size

    def _take(self, text: bytes, start: int, end: int) -> None:
        if self._base64 is not None:
            self._base64.feed(text[start:end])

    def _look_again(self, line: bytes) -> None:
        """A line that begins like a boundary not seen yet: it is there, though with more behind it."""
        for level in self._levels:
            if not level.is_seen and line.startswith(level.delimiter):
                level.is_seen = True
                self._say(rules.BOUNDARY_ODD)

    def _meet(self, depth: int, is_close: bool) -> None:
        """A boundary line: the part before it is over, and the multiparts in it."""
        self._end_part()
        self._close_to(depth + 1)
        level = self._levels[depth]
        level.is_seen = True
        if is_close:
            self._levels.pop()
            self._name_delimiters()
            self._is_over = not self._levels
            return
        self.count += 1
        self._is_starting = True
        if self.count > rules.PARTS_MAX:
            self._give_up(rules.TOO_MANY_PARTS)

    def _end_part(self) -> None:
        if self._base64 is not None and self._base64.is_broken:
            self._say(rules.BASE64_BROKEN)
        self._base64 = None

    def _close_to(self, depth: int) -> None:
        """Multiparts that end without their last boundary."""
        self._end_part()
        if len(self._levels) <= depth:
            return
        for level in self._levels[depth:]:
            self._say(rules.BOUNDARY_NOT_CLOSED if level.is_seen else rules.BOUNDARY_NOT_FOUND)
        del self._levels[depth:]
        self._name_delimiters()

    def _read_part_header(self, text: bytes, at: int, *, is_last: bool) -> int:
        """Where the body of the part begins, with the CRLF before it; -1: more of it has to come."""
        size = min(len(text), at + _PART_HEADER_MAX)
        end = text.find(b"\r\n\r\n", at, size)
        stop = text.find(b"\r\n--", at, end if end >= 0 else size)
        while stop >= 0:  # a boundary at once: a part without a body
            line_end = text.find(b"\r\n", stop + 2, size)
            line = text[stop + 2 : line_end if line_end >= 0 else size].rstrip(b" \t")
            if line in self._delimiters:
                break
            stop = text.find(b"\r\n--", stop + 4, end if end >= 0 else size)
        if end < 0 and not is_last and len(text) - at < _PART_HEADER_MAX:
            return -1
        if stop >= 0:
            end = stop - 2
        elif end < 0:
            end = size - 2
        self._is_starting = False
        if end >= at + 2:
            self._begin_part(text[at + 2 : end + 2])
        return end + 2

    def _begin_part(self, header: bytes) -> None:
        """What kind of part it is. Only two kinds matter: a multipart, and base64."""
        lower = header.lower()
        if b"multipart/" in lower:
            value = _field(header, lower, b"content-type")
            kind = read_content_type(value) if value else None
            if kind is not None and kind.is_multipart:
                if kind.boundary:
                    return self._open(kind.boundary)
                if not kind.is_unsure:
                    self._say(rules.BOUNDARY_NOT_NAMED)
                return None
        if b"base64" in lower and _field(header, lower, b"content-transfer-encoding").lower() == b"base64":
            self._base64 = Base64()
        return None

    def _open(self, boundary: bytes) -> None:
        if len(self._levels) >= rules.NESTING_MAX:
            return self._give_up(rules.NESTED_TOO_DEEP)
        if len(boundary) > BOUNDARY_MAX:
            self._say(rules.BOUNDARY_ODD)
        self._levels.append(_Level(boundary))
        self._name_delimiters()
        return None

    def _name_delimiters(self) -> None:
        self._delimiters = {}
        for depth, level in enumerate(self._levels):
            self._delimiters[level.delimiter] = depth, False
            self._delimiters[level.delimiter + b"--"] = depth, True

    def _give_up(self, rule: Rule) -> None:
        self._say(rule)
        self._is_over = True

    def _say(self, rule: Rule) -> None:
        self.defects.setdefault(rule, Defect(rule, "Content-Type" if rule in _OF_TYPE else ""))


def _field(header: bytes, lower: bytes, name: bytes) -> bytes:
    """The value of a field, unfolded; b"" without one. The usual spelling is found fast."""
    at = 0 if lower.startswith(name) else lower.find(b"\r\n" + name) + 2
    at += len(name)
    if lower[at : at + 1] == b":" and (at == len(name) or at > len(name) + 2):
        end = lower.find(b"\r\n", at)
        if lower[end + 2 : end + 3] not in (b" ", b"\t"):
            return header[at + 1 : end].strip(b" \t")
    return find_field(header, name) or b""


_OF_TYPE: Final = frozenset((rules.BOUNDARY_NOT_NAMED, rules.BOUNDARY_NOT_FOUND, rules.BOUNDARY_ODD))
