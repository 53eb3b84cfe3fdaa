"""examine(): the verdict on a message in memory; Examination: on one that comes in pieces.

A text message costs one look at its header; a body is looked at only for multiparts and base64 (measured:
bench/validation.py). Content is in wire form: no header line and no boundary begins with a dot."""

from typing import Final

from cmail.mail.headers import header_of
from cmail.policy.validation import rules
from cmail.policy.validation.body import Base64, LineLengths, Parts
from cmail.policy.validation.content_type import read_content_type
from cmail.policy.validation.header import Header, read_header
from cmail.policy.validation.rules import FINE, Defect, Verdict

QUICK_HEADER_MAX: Final = 16 * 1024  # octets of a header that is judged at once
QUICK_LINES_MAX: Final = 500  # lines of a body that begin with two hyphens, likewise


def is_quick(octets: bytes, header: bytes) -> bool:
    """Whether examine() takes no longer than an event loop can wait."""
    return len(header) <= QUICK_HEADER_MAX and octets.count(b"\r\n--") <= QUICK_LINES_MAX


def examine(
    octets: bytes, header: bytes | None = None, *, is_report: bool = False, is_utf8: bool = False
) -> Verdict:
    """The verdict on a whole message. `header`: its header section, when that is known already."""
    examination = Examination(is_report=is_report, is_utf8=is_utf8)
    examination.begin(header_of(octets) if header is None else header)
    examination.feed(octets)
    return examination.finish()


class Examination:
    """One message: begin() with its header section, feed() all of it (the header too), finish()."""

    __slots__ = ("_base64", "_header", "_is_report", "_is_utf8", "_lines", "_parts", "_skip")

    def __init__(self, *, is_report: bool = False, is_utf8: bool = False) -> None:
        self._is_report = is_report
        self._is_utf8 = is_utf8
        self._lines = LineLengths()
        self._parts: Parts | None = None
        self._base64: Base64 | None = None
        self._header: Header | None = None
        self._skip = 0  # octets of the header that are still to come

    def begin(self, header: bytes) -> None:
        """The header section; it is fed too."""
        self._header = found = read_header(header, is_report=self._is_report, is_utf8=self._is_utf8)
        self._skip = len(header)
        if found.content_type:
            kind = read_content_type(found.content_type)
            if kind.is_odd:
                found.defects.append(Defect(rules.TYPE_ODD, "Content-Type"))
            elif kind.is_multipart:
                if kind.boundary:
                    self._parts = Parts(kind.boundary)
                elif not kind.is_unsure:
                    found.defects.append(Defect(rules.BOUNDARY_NOT_NAMED, "Content-Type"))
                return
        if found.encoding == b"base64":
            self._base64 = Base64()

    def feed(self, piece: bytes) -> None:
        """Some of the content, in order."""
        self._lines.feed(piece)
        if self._parts is None and self._base64 is None:
            return
        if self._skip:
            skipped = min(self._skip, len(piece))
            self._skip -= skipped
            piece = piece[skipped:]
        if self._parts is not None:
            self._parts.feed(piece)
        elif self._base64 is not None:
            self._base64.feed(piece)

    def finish(self) -> Verdict:
        """All was fed."""
        assert self._header is not None, "begin() comes first"
        defects = self._header.defects
        if self._lines.has_long:
            defects.append(Defect(rules.LONG_LINE))
        if self._parts is not None:
            self._parts.finish()
            defects += self._parts.defects.values()
        if self._base64 is not None and self._base64.is_broken:
            defects.append(Defect(rules.BASE64_BROKEN))
        return Verdict(tuple(defects)) if defects else FINE
