"""Reply(code, status, text): what one side of SMTP answers; parse and print (RFC 5321 §4.2)."""

from dataclasses import dataclass

from cmail.mail.status import EnhancedStatus, parse_status


class ReplySyntaxError(ValueError):
    """Lines that are not an SMTP reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of one or more lines. No line has CR, LF or NUL in it; str() is one line for people."""

    code: int  # 200-599
    status: EnhancedStatus | None  # RFC 2034; stands in front of the text of each line
    text: str  # lines parted by \n

    def __str__(self) -> str:
        """'550 5.1.1 no such user here', lines joined by a blank: for log lines and people."""
        status = f"{self.status} " if self.status else ""
        return f"{self.code} {status}{' '.join(self.text.splitlines())}".rstrip()

    def __bytes__(self) -> bytes:
        """The reply on the wire, CRLF at the end of each line."""
        status = f"{self.status} " if self.status else ""
        lines = (self.text or "").replace("\r", " ").replace("\0", " ").split("\n")
        marks = ["-"] * (len(lines) - 1) + [" "]
        wire = "".join(f"{self.code}{m}{status}{t}\r\n" for m, t in zip(marks, lines, strict=True))
        return wire.encode("utf-8", "replace")

    @property
    def is_success(self) -> bool:
        """2yz or 3yz."""
        return self.code < 400

    @property
    def is_temporary(self) -> bool:
        """4yz."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz."""
        return self.code >= 500


def parse_reply(lines: list[bytes]) -> Reply:
    """A Reply from its lines (without CRLF); ReplySyntaxError when they are none.

    The enhanced status is taken from the first line and removed from all that repeat it."""
    if not lines:
        raise ReplySyntaxError("no line at all")
    code = lines[0][:3]
    if not (len(code) == 3 and code.isdigit() and b"200" <= code <= b"599"):
        raise ReplySyntaxError(f"does not begin with a reply code: {lines[0][:60]!r}")
    texts = []
    for number, line in enumerate(lines, 1):
        mark = line[3:4]
        if line[:3] != code or mark not in (b"-", b" ", b"") or (mark == b"-") != (number < len(lines)):
            raise ReplySyntaxError(f"line {number} does not belong to reply {code.decode()}")
        texts.append("".join(c if c.isprintable() else "?" for c in line[4:].decode("utf-8", "replace")))
    status = parse_status(texts[0])
    if status is not None and status.status_class != int(code[:1]):
        status = None
    if status is not None:
        prefix = str(status)
        texts = [t.removeprefix(prefix).lstrip(" ") for t in texts]
    return Reply(int(code), status, "\n".join(texts))
