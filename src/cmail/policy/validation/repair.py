"""Repairs that lose nothing of what a message says: new octets, and for each what was done in plain words.

Only for mail that could not be refused. What cannot be repaired safely (two different authors, a boundary
that nobody names) is left as it is."""

from dataclasses import dataclass
from typing import Final

from cmail.mail.headers import header_of
from cmail.policy.validation import rules
from cmail.policy.validation.content_type import read_content_type
from cmail.policy.validation.header import ONCE, read_header
from cmail.policy.validation.rules import Verdict

_BLANKS: Final = b" \t"
_CONTROLS: Final = bytes([*range(1, 9), 11, 12, *range(14, 32), 127])
_NAME_MAX: Final = 76  # octets; what is longer, or has more words than three, is text with a colon in it
_WORDS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Repaired:
    """What stands in the place of the header section, and what was done to it; nothing, when no repair is
    safe."""

    octets: bytes
    done: tuple[str, ...] = ()


def repair_header(header: bytes, *, author: str = "") -> Repaired:
    """A header section (mail.headers.header_of) as far as it can be repaired. `author`: the envelope's
    sender, for a From that is missing; "" when there is none."""
    done: list[str] = []
    fields, text = _fields(header, done)
    fields = _without_twins([_mended(field, done) for field in fields], done)
    if author and not any(_name(field) == b"from" for field in fields):
        fields.insert(0, f"From: <{author}>\r\n".encode())
        done.append(f"the sender of the envelope, {author}, stands in a From field now")
    return Repaired(b"".join(fields) + text, tuple(done))


def missing_end(header: bytes, verdict: Verdict) -> bytes:
    """The last line of a multipart that is not closed; b"" where it is, or nobody can tell."""
    if not any(each.rule is rules.BOUNDARY_NOT_CLOSED for each in verdict.defects):
        return b""
    boundary = read_content_type(read_header(header_of(header)).content_type).boundary
    return b"--" + boundary + b"--\r\n" if boundary else b""


CLOSED: Final = "the last boundary was added; what stood before it, if something is missing there, is lost"


def _fields(header: bytes, done: list[str]) -> tuple[list[bytes], bytes]:
    """The fields with their line ends, and what begins with a line that is none: that is text, and the empty
    line before it was forgotten."""
    fields: list[bytes] = []
    at = 0
    while at < len(header):
        end = header.find(b"\r\n", at)
        end = end + 2 if end >= 0 else len(header)
        line = header[at:end]
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += line
        elif _is_field(line):
            fields.append(line)
        else:
            done.append(
                "an empty line stands now before the first line that is no field: the text begins there"
            )
            return fields, b"\r\n" + header[at:]
        at = end
    return fields, b""


def _is_field(line: bytes) -> bool:
    name, colon, _ = line.partition(b":")
    return bool(colon and name.strip(_BLANKS)) and len(name) <= _NAME_MAX and len(name.split()) <= _WORDS_MAX


def _name(field: bytes) -> bytes:
    return field.partition(b":")[0].strip(_BLANKS).lower()


def _mended(field: bytes, done: list[str]) -> bytes:
    name, colon, value = field.partition(b":")
    mended = b"-".join(name.translate(None, _CONTROLS).split())
    if mended == name.rstrip(_BLANKS) or not mended:
        return field
    shown = mended.decode("ascii", "replace")
    done.append(f"the name of the field {shown} has hyphens instead of blanks, and no control characters")
    return mended + colon + value


def _without_twins(fields: list[bytes], done: list[str]) -> list[bytes]:
    """Of fields that may stand once, and say the same, the first stays."""
    kept: list[bytes] = []
    first: dict[bytes, bytes] = {}
    for field in fields:
        name, value = _name(field), b" ".join(field.partition(b":")[2].split())
        if name in ONCE and first.get(name) == value:
            done.append(f"a second {ONCE[name]} field, which says the same as the first, is gone")
        else:
            first.setdefault(name, value)
            kept.append(field)
    return kept
