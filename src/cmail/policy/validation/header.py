"""Looks at a header section once, line by line, and says what is wrong with it."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from cmail.mail.headers import is_all_utf8
from cmail.policy.validation import rules
from cmail.policy.validation.authors import UnreadableError, read_authors
from cmail.policy.validation.rules import Defect, Rule

_ABOUT_MAX: Final = 60  # octets of a line that a reply repeats
_BLANKS: Final = b" \t"
_BLANK: Final = frozenset(_BLANKS)
_CONTROLS: Final = bytes([*range(1, 9), 11, 12, *range(14, 32), 127])
_NAMES_MAX: Final = 4096  # names of fields remembered as they were spelled
_ENCODINGS: Final = frozenset((b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable"))

# Fields that may stand once, as they are written: RFC 5322 §3.6 has the table, RFC 2045 the last two.
_ONCE: Final = (
    "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "In-Reply-To",
    "References", "Content-Type", "Content-Transfer-Encoding",
)  # fmt: skip
_ONCE_BETTER: Final = ("MIME-Version", "Content-ID", "Content-Description", "Content-Disposition")
_FIELDS: Final = (*_ONCE, *_ONCE_BETTER)
ONCE: Final[Mapping[bytes, str]] = {name.lower().encode(): name for name in _FIELDS}  # may stand once
_KNOWN: Final[Mapping[bytes, int]] = {name.lower().encode(): at for at, name in enumerate(_FIELDS, 1)}
_FROM, _SENDER, _DATE = _KNOWN[b"from"], _KNOWN[b"sender"], _KNOWN[b"date"]
_MESSAGE_ID, _TYPE = _KNOWN[b"message-id"], _KNOWN[b"content-type"]
_ENCODING: Final = _KNOWN[b"content-transfer-encoding"]
_UNKNOWN: Final = 0

_DATE_FORM: Final = re.compile(
    rb"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), {0,2})?(?:[12]?\d|0[1-9]|3[01])"
    rb" (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (?:19|2\d)\d\d"
    rb" (?:[01]\d|2[0-3]):[0-5]\d(?::[0-6]\d)?"
    rb" [+-]\d{4}(?: \([^()\\\x00-\x1f]*\))?\Z"
)
_OLD_DATE: Final = re.compile(
    rb"(?:[a-z]{3,9} ?, ?)?\d{1,2}[ -](?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ -]\d{2,4}"
    rb" \d{1,2} ?: ?\d{2}(?: ?: ?\d{2})?(?: (?:[a-z]{1,5}|(?:[a-z]{3})?[+-]\d{3,4}))?\Z"
)


class Header:
    """What is known of a header section: its defects, and the two fields that say how the body is made."""

    __slots__ = ("content_type", "defects", "encoding")

    def __init__(self) -> None:
        self.defects: list[Defect] = []
        self.content_type = b""
        self.encoding = b""


def read_header(header: bytes, *, is_report: bool = False, is_utf8: bool = False) -> Header:
    """Look at a header section as mail.headers.header_of() finds it. `is_report`: the reverse-path is <>;
    `is_utf8`: it came by SMTPUTF8 (RFC 6532)."""
    found = Header()
    if not header:
        found.defects.append(Defect(rules.NO_HEADER))
        return found
    lines = header.split(b"\r\n")
    if not lines[-1]:
        lines.pop()
    if lines[0].startswith((b"From ", b">From ")) and not lines[0][5:].lstrip(_BLANKS).startswith(b":"):
        _say(found, rules.MBOX_LINE)
        del lines[0]
    places: dict[int, int] = {}
    _look_at_names(lines, places, found)
    _look_at_from(lines, places, found, is_report=is_report)
    _look_at_date(lines, places, found)
    _look_at_message_id(lines, places, found)
    if _TYPE in places:
        found.content_type = _value(lines, places[_TYPE])
    if _ENCODING in places:
        found.encoding = _encoding(_value(lines, places[_ENCODING]))
        if found.encoding not in _ENCODINGS and not found.encoding.startswith(b"x-"):
            _say(found, rules.ENCODING_UNKNOWN, "Content-Transfer-Encoding")
    _look_at_octets(header, lines, found, is_utf8=is_utf8)
    return found


def _look_at_names(lines: list[bytes], places: dict[int, int], found: Header) -> None:
    """Where the known fields stand; what is no field, and what stands twice."""
    kind_of = _KINDS.get
    for index, line in enumerate(lines):
        if line[0] in _BLANK and index:  # it belongs to the field before it
            continue
        colon = line.find(b":")
        kind = kind_of(line[:colon]) if colon > 0 else None
        if kind is None:
            kind = _kind(line, colon, found)
        if not kind:
            continue
        if kind not in places:
            places[kind] = index
        else:
            rule = rules.TWICE if kind <= len(_ONCE) else rules.TWICE_HARMLESS
            if Defect(rule, _FIELDS[kind - 1]) not in found.defects:
                _say(found, rule, _FIELDS[kind - 1])
    if len(lines) > rules.FIELDS_MAX and sum(line[0] not in _BLANK for line in lines) > rules.FIELDS_MAX:
        _say(found, rules.TOO_MANY_FIELDS)


def _kind(line: bytes, colon: int, found: Header) -> int:
    """The kind of a field whose name was not met in this spelling; what is wrong with it is said."""
    name = line[: max(colon, 0)]
    bare = name.rstrip(_BLANKS)
    rule = _wrong_with(line, bare)
    if rule is not None:
        _say_first(found, rule, _quoted(line))
        return _UNKNOWN
    if len(bare) != len(name):
        _say_first(found, rules.BLANK_BEFORE_COLON, _quoted(bare))
    kind = _KNOWN.get(bare.lower(), _UNKNOWN)
    if len(bare) == len(name) < _ABOUT_MAX:
        if len(_KINDS) >= _NAMES_MAX:
            _KINDS.clear()
            _KINDS.update(_USUAL)
        _KINDS[name] = kind
    return kind


def _wrong_with(line: bytes, name: bytes) -> Rule | None:
    """Why a line is no field, or a strange one. `name`: what stands before its colon."""
    if not name or line[0] in _BLANK:
        return rules.NOT_A_FIELD
    if b" " in name or b"\t" in name:
        return rules.BLANK_IN_NAME
    if name.translate(None, _CONTROLS) != name:
        return rules.CONTROL_IN_NAME
    return None if name.isascii() else rules.EIGHT_BIT_IN_NAME


_USUAL: Final = {name.encode(): at for at, name in enumerate(_FIELDS, 1)}
_KINDS: Final[dict[bytes, int]] = dict(_USUAL)


def _look_at_from(lines: list[bytes], places: dict[int, int], found: Header, *, is_report: bool) -> None:
    rule: Rule | None = None
    if _FROM not in places:
        rule = rules.FROM_MISSING
    else:
        try:
            authors = read_authors(_value(lines, places[_FROM]))
        except UnreadableError:
            rule = rules.FROM_UNREADABLE
        else:
            if not authors.count:
                rule = rules.FROM_EMPTY
            elif authors.is_odd:
                _say(found, rules.FROM_ODD, "From")
            if authors.count > 1 and _SENDER not in places:
                _say(found, rules.SENDER_MISSING, "Sender")
    if rule is not None:
        _say(found, rules.FROM_OF_REPORT if is_report else rule, "From")


def _look_at_date(lines: list[bytes], places: dict[int, int], found: Header) -> None:
    if _DATE not in places:
        return _say(found, rules.DATE_MISSING, "Date")
    value = _value(lines, places[_DATE])
    if not _DATE_FORM.match(value):
        _say(found, _old_date(value), "Date")
    return None


@lru_cache(maxsize=256)
def _old_date(value: bytes) -> Rule:
    text = b" ".join(value.partition(b"(")[0][:100].lower().split())
    return rules.DATE_OBSOLETE if _OLD_DATE.match(text) else rules.DATE_UNREADABLE


def _look_at_message_id(lines: list[bytes], places: dict[int, int], found: Header) -> None:
    if _MESSAGE_ID not in places:
        return _say(found, rules.MESSAGE_ID_MISSING, "Message-ID")
    value = _value(lines, places[_MESSAGE_ID])
    if value[:1] != b"<" or value[-1:] != b">" or len(value) < 3:
        _say(found, rules.MESSAGE_ID_ODD, "Message-ID")
    return None


def _look_at_octets(header: bytes, lines: list[bytes], found: Header, *, is_utf8: bool) -> None:
    if not header.isascii() and not (is_utf8 and is_all_utf8(header)):
        _say(found, rules.EIGHT_BIT)
    if len(header.translate(None, _CONTROLS)) != len(header):
        _say(found, rules.CONTROL)
    if len(header) > rules.HEADER_LINE_MAX and max(map(len, lines)) > rules.HEADER_LINE_MAX:
        _say(found, rules.HEADER_LINE_TOO_LONG)


def _value(lines: list[bytes], index: int) -> bytes:
    """What stands behind the colon, the lines that belong to it too."""
    line = lines[index]
    value = line[line.index(b":") + 1 :]
    behind = index + 1
    if behind < len(lines) and lines[behind][0] in _BLANK:
        pieces = [value]
        while behind < len(lines) and lines[behind][0] in _BLANK:
            pieces.append(lines[behind])
            behind += 1
        value = b"".join(pieces)
    return value.strip(_BLANKS)


def _encoding(value: bytes) -> bytes:
    return value.partition(b";")[0].partition(b"(")[0].strip(_BLANKS).lower()


def _quoted(line: bytes) -> str:
    """The beginning of a line, so that it can stand in another line (rule 17)."""
    shown = line[:_ABOUT_MAX].decode("ascii", "replace")
    clean = "".join(c if " " <= c <= "~" and c not in '"' else "?" for c in shown).strip()
    return f'"{clean}"' + "..." * (len(line) > _ABOUT_MAX)


def _say(found: Header, rule: Rule, about: str = "") -> None:
    found.defects.append(Defect(rule, about))


def _say_first(found: Header, rule: Rule, about: str) -> None:
    """A rule that many lines may break is told with the first one."""
    if not any(each.rule is rule for each in found.defects):
        _say(found, rule, about)
