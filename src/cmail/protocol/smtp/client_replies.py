"""Replies of an SMTP server, cut out of the octets that arrive; bounded, and nothing else is let through."""

from typing import Final

from cmail.mail.limits import REPLY_KEPT_OCTETS_MAX, REPLY_LINE_OCTETS_MAX, REPLY_LINES_MAX
from cmail.mail.reply import Reply, ReplySyntaxError, parse_reply

_FIRST_DIGITS: Final = b"2345"


class Replies:
    """Cuts replies out of a stream. A reply is given as its lines joined by LF, without CRLF: on the
    path of each message a bytes object that begins with its code is all that is needed.

    `error` says what was wrong with the octets behind the last good reply; nothing is read after it."""

    __slots__ = ("_held", "_lines", "error")

    def __init__(self) -> None:
        self._held = b""
        self._lines: list[bytes] = []
        self.error = ""

    @property
    def is_clean(self) -> bool:
        """Whether no octet waits for the rest of its reply, and none was wrong."""
        return not (self._held or self._lines or self.error)

    def feed(self, data: bytes) -> list[bytes]:
        """The replies that are complete now."""
        if self.error:
            return []
        if self._held:
            data = self._held + data
        lines = data.split(b"\r\n")
        held = self._held = lines.pop()
        replies: list[bytes] = []
        for line in lines:
            if line[3:4] in (b" ", b"") and line[:3].isdigit() and not self._lines:
                if len(line) > REPLY_LINE_OCTETS_MAX or b"\n" in line or line[0] not in _FIRST_DIGITS:
                    self.error = _garbage(line)
                    return replies
                replies.append(line)
            elif (reply := self._join(line)) is not None:
                replies.append(reply)
            if self.error:
                return replies
        if len(held) > REPLY_LINE_OCTETS_MAX or b"\n" in held:
            self.error = _garbage(held)
        return replies

    def _join(self, line: bytes) -> bytes | None:
        """One line of a reply of several; the reply when it was the last (RFC 5321 §4.2.1)."""
        lines = self._lines
        code = line[:3]
        mark = line[3:4]
        if (
            len(line) > REPLY_LINE_OCTETS_MAX
            or len(lines) >= REPLY_LINES_MAX
            or not (len(code) == 3 and code.isdigit() and code[0] in _FIRST_DIGITS)
            or mark not in (b"-", b" ", b"")
            or b"\n" in line
            or (lines and lines[0][:3] != code)
        ):
            self.error = _garbage(line)
            return None
        lines.append(line)
        if mark == b"-":
            return None
        self._lines = []
        return b"\n".join(lines)


def read_reply(raw: bytes, *, is_whole: bool = False) -> Reply:
    """The Reply that feed() gave as octets; what nobody will read is cut off, unless all is asked for."""
    lines = raw.split(b"\n")
    if len(raw) > REPLY_KEPT_OCTETS_MAX and not is_whole:
        lines = _cut(lines)
    try:
        return parse_reply(lines)
    except ReplySyntaxError:  # feed() has looked at the lines; what is left must still not raise
        return Reply(450, None, "reply that is none: " + _garbage(raw))


def _cut(lines: list[bytes]) -> list[bytes]:
    kept_octets = 0
    for count, line in enumerate(lines):
        kept_octets += len(line)
        if kept_octets > REPLY_KEPT_OCTETS_MAX:
            return [*lines[:count], lines[0][:3] + b" ..."]
    return lines


def _garbage(octets: bytes) -> str:
    return "this is no SMTP reply: " + repr(octets[:60])[1:]
