"""The rules of Validation, one table: each refuses a message or notes something about it, in plain words.

What refuses is what a mail program could not show as its sender meant, or what deceives. What is odd but can
be read is noted, and passes octet for octet: a false refusal is worse than a missed defect."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HEADER_LINE_MAX: Final = 64 * 1024  # octets; a line of a header has 998 (RFC 5322 §2.1.1), some have more
FIELDS_MAX: Final = 2000  # 100 Received and all that filters add are a few hundred
NESTING_MAX: Final = 50  # multiparts in multiparts; a mail program makes four
PARTS_MAX: Final = 1000  # a newsletter with all its pictures has 200
TEXT_LINE_MAX: Final = 998  # RFC 5322 §2.1.1


class Does(StrEnum):
    """What follows from a rule."""

    REFUSE = "refuse"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong."""

    name: str
    does: Does
    words: str  # with the field or line that it is about in front: "From: stands more than once"
    source: str  # the paragraph that says so
    code: str = "550 5.6.0"  # of the reply, where it refuses
    is_always: bool = False  # also where Validation is switched off


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with one message: a rule, and what it found. `about` is printable ASCII, and short."""

    rule: Rule
    about: str = ""  # a field ("From"), or the line as it stands

    @property
    def text(self) -> str:
        """In words for people."""
        return f"{self.about}: {self.rule.words}" if self.about else self.rule.words

    @property
    def reply(self) -> bytes:
        """For the peer, whose server tells its user: field, defect, and where that is written."""
        source = self.rule.source.replace("§", "")
        return f"{self.rule.code} Validation: {self.text} ({source})\r\n".encode()


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that was found, in the order in which it was found."""

    defects: tuple[Defect, ...] = ()

    @property
    def refusal(self) -> Defect | None:
        """The first defect that refuses the message."""
        return next((each for each in self.defects if each.rule.does is Does.REFUSE), None)

    @property
    def notes(self) -> tuple[Defect, ...]:
        """What is noted."""
        return tuple(each for each in self.defects if each.rule.does is Does.NOTE)


FINE: Final = Verdict()

RULES: Final[dict[str, Rule]] = {}


def _rule(
    name: str, does: Does, words: str, source: str, code: str = "550 5.6.0", *, is_always: bool = False
) -> Rule:
    rule = RULES[name] = Rule(name, does, words, source, code, is_always)
    return rule


def _refuse(name: str, words: str, source: str) -> Rule:
    return _rule(name, Does.REFUSE, words, source)


def _note(name: str, words: str, source: str) -> Rule:
    return _rule(name, Does.NOTE, words, source)


# The header section

NO_HEADER: Final = _refuse("no-header", "the message has no header field at all", "RFC 5322 §3.6")
NOT_A_FIELD: Final = _refuse(
    "not-a-field", "this line of the header is no field; an empty line before the text may be missing",
    "RFC 5322 §2.2",
)  # fmt: skip
BLANK_IN_NAME: Final = _refuse("blank-in-name", "a blank stands inside the name of a field", "RFC 5322 §2.2")
CONTROL_IN_NAME: Final = _refuse(
    "control-in-name", "a control character stands inside the name of a field", "RFC 5322 §2.2"
)
HEADER_LINE_TOO_LONG: Final = _refuse(
    "header-line-too-long", "a line of the header is longer than 64 KiB", "RFC 5322 §2.1.1"
)
HEADER_TOO_LARGE: Final = _rule(
    "header-too-large", Does.REFUSE, "the header section is larger than 256 KiB", "RFC 5321 §4.5.3.1",
    "552 5.3.4", is_always=True,
)  # fmt: skip
TOO_MANY_FIELDS: Final = _refuse(
    "too-many-fields", f"the header has more than {FIELDS_MAX} fields", "RFC 5322 §3.6"
)
BARE_OCTETS: Final = _rule(
    "bare-octets", Does.REFUSE, "a bare CR, a bare LF or a NUL stands in the message", "RFC 5321 §2.3.8",
    is_always=True,
)  # fmt: skip
FROM_MISSING: Final = _refuse("from-missing", "the field is missing", "RFC 5322 §3.6")
FROM_EMPTY: Final = _refuse("from-empty", "there is no address in it", "RFC 5322 §3.6.2")
FROM_UNREADABLE: Final = _refuse("from-unreadable", "it cannot be read as an address", "RFC 5322 §3.4")
TWICE: Final = _refuse("twice", "stands more than once, and may stand only once", "RFC 5322 §3.6")

# The body

BOUNDARY_NOT_NAMED: Final = _refuse(
    "boundary-not-named", "a multipart names no boundary between its parts", "RFC 2046 §5.1.1"
)
BOUNDARY_NOT_FOUND: Final = _refuse(
    "boundary-not-found", "the boundary that a multipart names appears nowhere", "RFC 2046 §5.1.1"
)
NESTED_TOO_DEEP: Final = _refuse(
    "nested-too-deep", f"more than {NESTING_MAX} multiparts stand inside each other", "RFC 2046 §5.1"
)
TOO_MANY_PARTS: Final = _refuse("too-many-parts", f"there are more than {PARTS_MAX} parts", "RFC 2046 §5.1")

# What is odd

DATE_MISSING: Final = _note("date-missing", "the field is missing", "RFC 5322 §3.6")
DATE_OBSOLETE: Final = _note("date-obsolete", "the date is written in an obsolete way", "RFC 5322 §4.3")
DATE_UNREADABLE: Final = _note("date-unreadable", "the date cannot be read", "RFC 5322 §3.3")
MESSAGE_ID_MISSING: Final = _note("message-id-missing", "the field is missing", "RFC 5322 §3.6.4")
MESSAGE_ID_ODD: Final = _note("message-id-odd", "it is not in angle brackets, or blank", "RFC 5322 §3.6.4")
SENDER_MISSING: Final = _note(
    "sender-missing", "the field is missing, though there is more than one author", "RFC 5322 §3.6.2"
)
FROM_ODD: Final = _note("from-odd", "quotes or commas are missing in it", "RFC 5322 §3.4")
FROM_OF_REPORT: Final = _note(
    "from-of-report",
    "a report (its envelope has no sender) names no author that can be read",
    "RFC 5322 §3.6.2",
)
TWICE_HARMLESS: Final = _note("twice-harmless", "stands more than once", "RFC 2045 §4")
EIGHT_BIT: Final = _note("eight-bit", "letters beyond ASCII stand in the header as they are", "RFC 6532 §3.2")
CONTROL: Final = _note("control", "a control character stands in the header", "RFC 5322 §2.2")
BLANK_BEFORE_COLON: Final = _note(
    "blank-before-colon", "a blank stands between the name of a field and its colon", "RFC 5322 §4.5"
)
EIGHT_BIT_IN_NAME: Final = _note(
    "eight-bit-in-name", "the name of a field has letters beyond ASCII", "RFC 5322 §2.2"
)
MBOX_LINE: Final = _note(
    "mbox-line", "the first line is the one that parts messages in an mbox file", "RFC 4155 §2"
)
LONG_LINE: Final = _note("long-line", f"a line is longer than {TEXT_LINE_MAX} octets", "RFC 5322 §2.1.1")
TYPE_ODD: Final = _note("type-odd", "the type of the content is not written as one", "RFC 2045 §5.1")
BOUNDARY_ODD: Final = _note(
    "boundary-odd", "a boundary is longer than 70 characters, or has more behind it", "RFC 2046 §5.1.1"
)
BOUNDARY_NOT_CLOSED: Final = _note(
    "boundary-not-closed",
    "the last boundary of a multipart is missing: its end may be cut off",
    "RFC 2046 §5.1.1",
)
BASE64_BROKEN: Final = _note("base64-broken", "base64 has other octets in it, or is cut off", "RFC 2045 §6.8")
ENCODING_UNKNOWN: Final = _note(
    "encoding-unknown", "the encoding of the content is none that is known", "RFC 2045 §6.1"
)
