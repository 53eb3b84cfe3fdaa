"""Reads one file of the drop folder into a NewMessage's parts; blocks, so it runs in a thread."""

import os
import stat
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from cmail.mail.content import Content, from_plain, normalize
from cmail.mail.envelope import Envelope
from cmail.mail.headers import header_of
from cmail.mail.limits import CONTENT_IN_MEMORY_MAX, RECEIVED_FIELDS_MAX
from cmail.mail.priority import header_priority
from cmail.policy.validation.examine import Examination
from cmail.policy.validation.rules import FINE, Verdict
from cmail.smtpd.drop_file import ENVELOPE_OCTETS_MAX, DropFileError, parse_envelope
from cmail.smtpd.submission import as_passed_on

_PIECE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message that somebody left: whose it is, where it goes, what it is."""

    uid: int
    envelope: Envelope
    content: Content
    message_id: str
    header: bytes = b""  # the header section, CRLF lines, as far as it stands in what is read at once
    verdict: Verdict = FINE  # of Validation


def read_drop(path: str, content_path: str, size_max: int, *, hides_bcc: bool = False) -> Dropped:
    """Read and check a file. Large content goes to content_path. DropFileError: it is not one of
    ours, whatever is wrong with it; OSError: our disk is in trouble."""
    with _open(path, size_max) as file:
        status = os.fstat(file.fileno())
        envelope = parse_envelope(file.readline(ENVELOPE_OCTETS_MAX))
        first = file.read(CONTENT_IN_MEMORY_MAX)
        is_whole = len(first) < CONTENT_IN_MEMORY_MAX
        _check_loop(first)
        header, below = _split(first)
        priority = header_priority(header)  # whoever can leave a file here, or has a token, is believed
        if (shown := as_passed_on(header, hides_bcc=hides_bcc)) is not header:
            header, first = shown, shown + below
        examination = Examination(is_report=envelope.reverse_path is None, is_utf8=envelope.is_smtputf8)
        content = read_content(first, file, "" if is_whole else content_path, examination)
    if not content.size_bytes:
        raise DropFileError("it has no content")
    envelope = replace(envelope, is_8bit=content.has_8bit, priority=priority)
    verdict = examination.finish()
    return Dropped(status.st_uid, envelope, content, _message_id(first), header, verdict)


def read_content(
    first: bytes, file: BinaryIO, content_path: str, examination: Examination | None = None
) -> Content:
    """Plain octets of a file, of which the first are read already, as the spool takes them: in memory, or in
    content_path."""
    if content_path:
        return _to_file(first, file, content_path, examination)
    content = from_plain(first)
    if examination is not None:
        examination.begin(header_of(content.octets))
        examination.feed(content.octets)
    return content


def _split(first: bytes) -> tuple[bytes, bytes]:
    """The header section in CRLF lines, and what stands below it as it came, the empty line first."""
    if first.startswith((b"\n", b"\r\n")):
        return b"", first
    ends = [at + 1 for at in (first.find(b"\n\n"), first.find(b"\n\r\n")) if at >= 0]
    end = min(ends, default=len(first))
    return normalize(first[:end]), first[end:]


def _open(path: str, size_max: int) -> BinaryIO:
    """Never through a link, never stuck at a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise DropFileError("it may not be read") from None
    except OSError as error:
        raise DropFileError(f"it cannot be opened: {error.strerror}") from None
    try:
        _check(os.fstat(fd), size_max)
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def _check(status: os.stat_result, size_max: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DropFileError("it is not a regular file")
    if status.st_nlink != 1:
        raise DropFileError("it has a second name")
    if status.st_size > size_max + ENVELOPE_OCTETS_MAX:
        raise DropFileError(f"it is larger than {size_max} octets")


def _check_loop(first: bytes) -> None:
    """As at the other ways in (RFC 5321 §6.3)."""
    header = b"\n" + first.replace(b"\r\n", b"\n").partition(b"\n\n")[0].lower()
    if header.count(b"\nreceived:") > RECEIVED_FIELDS_MAX:
        raise DropFileError(f"more than {RECEIVED_FIELDS_MAX} Received fields: a loop")


def _message_id(first: bytes) -> str:
    """For the log: what stands in the field, with its angle brackets."""
    header = b"\n" + first.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    at = header.lower().find(b"\nmessage-id:")
    value = header[at + 12 :].partition(b"\n")[0] if at >= 0 else b""
    return value.strip()[:200].decode("utf-8", "replace")


def _to_file(first: bytes, file: BinaryIO, path: str, examination: Examination | None) -> Content:
    """Large content, a piece at a time: in wire form into its file, whatever its line ends were."""
    wire_bytes = size = 0
    has_8bit = False
    # The folder is ours alone; a file of this name is what a crash left of the same message.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        lines = _Lines()
        piece = first
        while piece:
            following = file.read(_PIECE)
            plain = lines.feed(piece, is_last=not following)
            content = from_plain(plain)
            out.write(content.octets)
            if examination is not None and plain:
                if not wire_bytes:
                    examination.begin(header_of(content.octets))
                examination.feed(content.octets)
            wire_bytes += len(content.octets)
            size += content.size_bytes
            has_8bit = has_8bit or content.has_8bit
            piece = following
    return Content(b"", b"", size, path=path, wire_bytes=wire_bytes, has_8bit=has_8bit)


class _Lines:
    """Cuts pieces at line ends, so that each can be made wire form by itself. A line that is longer
    than a piece is kept until it ends; the largest message bounds it."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    def feed(self, piece: bytes, *, is_last: bool) -> bytes:
        """All whole lines so far."""
        end = len(piece) if is_last else piece.rfind(b"\n") + 1
        if not end:
            self._kept.append(piece)
            return b""
        whole = b"".join([*self._kept, piece[:end]])
        self._kept = [piece[end:]] if end < len(piece) else []
        return whole
