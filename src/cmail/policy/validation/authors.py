"""Reads a From field as mail programs do: strictly where it must be clear who it is, leniently elsewhere."""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

_BLANKS: Final = b" \t\r\n"
_ENDS_WORD: Final = frozenset(b' \t\r\n"(,:;<')
_NOT_IN_LOCAL_PART: Final = frozenset(b' \t\r\n"(),:;<>@[]\\')
_NOT_IN_DOMAIN: Final = frozenset(b' \t\r\n"(),:;<>@[]\\')
_CACHED_MAX: Final = 512  # octets of a field that is worth remembering
_READ_MAX: Final = 8192  # octets; a longer one is not looked at closely
_COMMENTS_MAX: Final = 100  # in each other

# Nearly every From there is: a name without anything special, or in quotes, and one address.
_USUAL: Final = re.compile(
    rb'(?:"[^"\\\x00-\x1f\x7f]*" ?|[0-9A-Za-z .\'=?_-]*)<[0-9A-Za-z.!#$%&\'*+/=?^_`{|}~-]+@[0-9A-Za-z.-]+>\Z'
)


class UnreadableError(ValueError):
    """Nobody can tell which addresses it names."""


@dataclass(frozen=True, slots=True)
class Authors:
    """How many addresses a field has, and whether it is written as it should be."""

    count: int
    is_odd: bool = False


_ONE: Final = Authors(1)


def read_authors(value: bytes) -> Authors:
    """What a From field says (RFC 5322 §3.4, §4.4; groups: RFC 6854). UnreadableError: it cannot be read."""
    if _USUAL.match(value):
        return _ONE
    if len(value) > _READ_MAX:
        return Authors(int(b"@" in value), is_odd=True)
    return _remembered(value) if len(value) <= _CACHED_MAX else _read(value)


def without_iso_2022(text: bytes) -> bytes:
    """The text without letters of ISO-2022-JP and its kin, whose octets look like quotes and brackets."""
    first, *others = text.split(b"\x1b")
    if not others:
        return text
    return first + b"".join(each[2:] if each[:2] in (b"(B", b"(J") else b"x" for each in others)


def _read(value: bytes) -> Authors:
    return _Reader(without_iso_2022(value)).read()


_remembered: Final = lru_cache(maxsize=1024)(_read)


class _Reader:
    """One field, read once from left to right."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0
        self._words: list[bytes] = []  # of the element under way; what is not parted by blanks is one word
        self._is_apart = True
        self._angle: bytes | None = None
        self._behind = 0  # how many words stood before it
        self._count = 0
        self._names = 0  # elements that are a name alone
        self._is_in_group = False
        self._is_odd = False

    def read(self) -> Authors:
        text, size = self._text, len(self._text)
        while self._at < size:
            octet = text[self._at]
            take = _TAKERS.get(octet)
            if take is None:
                self._take_word()
            else:
                take(self)
        self._end_element()
        is_odd = self._is_odd or self._is_in_group or bool(self._names and self._count)
        return Authors(self._count, is_odd)

    def _take_blank(self) -> None:
        self._at += 1
        self._is_apart = True

    def _take_comment(self) -> None:
        self._at = _end_of_comment(self._text, self._at)
        self._is_apart = True

    def _take_quoted(self) -> None:
        end = _end_of_quoted(self._text, self._at)
        self._add(self._text[self._at : end])
        self._at = end

    def _take_word(self) -> None:
        """A word; what stands in square brackets belongs to it, colons too (an address literal)."""
        text, size, at = self._text, len(self._text), self._at
        while at < size and text[at] not in _ENDS_WORD:
            if text[at] == 0x5B:
                close = text.find(b"]", at)
                at = close if close > 0 else at
            at += 1
        self._add(text[self._at : at])
        self._at = at

    def _add(self, piece: bytes) -> None:
        if self._is_apart or not self._words:
            self._words.append(piece)
        else:
            self._words[-1] += piece
        self._is_apart = False

    def _take_angle(self) -> None:
        if self._angle is not None:
            raise UnreadableError("two addresses without a comma between them")
        end = _end_of_angle(self._text, self._at)
        self._angle = self._text[self._at + 1 : end]
        self._at = end + 1
        self._is_apart = True
        self._behind = len(self._words)

    def _take_comma(self) -> None:
        self._at += 1
        self._end_element()

    def _take_colon(self) -> None:
        """What stood before it was the name of a group, or only a name with a colon in it."""
        self._at += 1
        if self._angle is not None:
            self._end_element()
            self._is_odd = True
        self._words, self._is_apart = [], True
        self._is_in_group = True

    def _take_semicolon(self) -> None:
        self._at += 1
        self._end_element()
        self._is_odd |= not self._is_in_group
        self._is_in_group = False

    def _end_element(self) -> None:
        words, angle = self._words, self._angle
        self._words, self._angle, self._is_apart = [], None, True
        if angle is not None:
            self._is_odd |= len(words) > self._behind
            self._take_address([angle.strip(_BLANKS)])
        elif words:
            self._take_words(words)

    def _take_words(self, words: list[bytes]) -> None:
        """An element without angle brackets: an address, a name alone, or both one after the other."""
        if not any(b"@" in word for word in words if not _is_quoted(word)):
            self._names += 1
            return
        joined = b"".join(words)
        if len(words) == 1 or (joined.count(b"@") == 1 and _is_joinable(words) and _is_address(joined)):
            return self._take_address([joined])
        found = [word for word in words if _is_address(word)]
        self._is_odd = True
        self._take_address(found or [joined])

    def _take_address(self, found: list[bytes]) -> None:
        if len(found) > 1:
            raise UnreadableError("two addresses without a comma between them")
        text = found[0]
        if not text:
            self._names += 1
            return
        if text.startswith(b"@"):  # a source route (RFC 5322 §4.4)
            text = text.partition(b":")[2]
        if text[:7].lower() == b"mailto:":
            text, self._is_odd = text[7:], True
        if not _is_address(text) and b"(" in text:
            text = _without_comments(text)
        if not _is_address(text):
            pieces = text.split()
            text = b"".join(pieces)
            if not _is_joinable(pieces) or not _is_address(text):
                if b"@" not in text and text.replace(b"-", b"").replace(b"_", b"").isalnum():
                    self._names += 1  # <root>: a name, no address
                    return
                raise UnreadableError("not an address")
        self._count += 1


def _is_quoted(word: bytes) -> bool:
    return word.startswith(b'"') and word.endswith(b'"')


def _is_joinable(words: list[bytes]) -> bool:
    """Whether the blanks between them stand beside @ or a dot, as they once might (RFC 5322 §4.4)."""
    return all(left[-1:] in (b"@", b".") or right[:1] in (b"@", b".") for left, right in pairwise(words))


def _is_address(text: bytes) -> bool:
    """local-part@domain. Two dots, a dot at the end: telephones have such addresses."""
    local_part, _, domain = text.rpartition(b"@")
    if not local_part or not domain:
        return False
    if not _NOT_IN_LOCAL_PART.isdisjoint(local_part):
        if not (len(local_part) > 2 and _is_quoted(local_part)):
            return False
    if domain.startswith(b"[") and domain.endswith(b"]"):
        return len(domain) > 2
    return _NOT_IN_DOMAIN.isdisjoint(domain)


def _end_of_quoted(text: bytes, at: int) -> int:
    """Behind the quote that ends it."""
    end = at
    while True:
        end = text.find(b'"', end + 1)
        if end < 0:
            raise UnreadableError("a quote is not closed")
        backslashes = 0
        while text[end - 1 - backslashes] == 0x5C and end - 1 - backslashes > at:
            backslashes += 1
        if backslashes % 2 == 0:
            return end + 1


def _end_of_comment(text: bytes, at: int) -> int:
    """Behind the parenthesis that ends it; they stand in each other."""
    depth, size = 0, len(text)
    while at < size:
        octet = text[at]
        if octet == 0x28:
            depth += 1
            if depth > _COMMENTS_MAX:
                break
        elif octet == 0x29:
            depth -= 1
            if not depth:
                return at + 1
        elif octet == 0x5C:
            at += 1
        at += 1
    raise UnreadableError("a parenthesis is not closed")


def _end_of_angle(text: bytes, at: int) -> int:
    """Where > stands; what is in quotes does not count."""
    at += 1
    while at < len(text):
        octet = text[at]
        if octet == 0x3E:
            return at
        if octet == 0x3C:
            break
        at = _end_of_quoted(text, at) if octet == 0x22 else at + 1
    raise UnreadableError("an angle bracket is not closed")


def _without_comments(text: bytes) -> bytes:
    kept, at = [], 0
    while at < len(text):
        start = at
        if text[at] == 0x28:
            at = _end_of_comment(text, at)
            continue
        at = _end_of_quoted(text, at) if text[at] == 0x22 else at + 1
        kept.append(text[start:at])
    return b"".join(kept).strip(_BLANKS)


_TAKERS: Final = {
    0x20: _Reader._take_blank,
    0x09: _Reader._take_blank,
    0x0D: _Reader._take_blank,
    0x0A: _Reader._take_blank,
    0x28: _Reader._take_comment,
    0x22: _Reader._take_quoted,
    0x3C: _Reader._take_angle,
    0x2C: _Reader._take_comma,
    0x3A: _Reader._take_colon,
    0x3B: _Reader._take_semicolon,
}
