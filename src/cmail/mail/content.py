"""Content: the octets of a message in the form they are sent in (CRLF, dot-stuffed); hides that."""

from dataclasses import dataclass

_STUFFED = b"\r\n.."
_PLAIN = b"\r\n."


@dataclass(frozen=True, slots=True)
class Content:
    """Header section and body of one message, without the final dot.

    `prefix` is what we put on top (trace fields): complete lines that end in CRLF, no line of which
    begins with a dot. Below it stands the body as it arrived, in wire form: each line ends in CRLF,
    a leading dot is doubled, no bare CR, LF, no NUL. It is in `octets`, or in the file `path` (then
    octets is empty). Sizes count unstuffed octets, prefix included."""

    prefix: bytes
    octets: bytes
    size_bytes: int
    path: str = ""  # absolute; "" when all of it is in memory
    wire_bytes: int = 0  # length of the wire form below the prefix when it is in a file
    has_8bit: bool = False  # an octet over 127 in it: needs 8BITMIME (RFC 6152) at the next hop

    @property
    def is_in_memory(self) -> bool:
        """Whether no file stands behind it."""
        return not self.path

    def wire(self) -> bytes:
        """All of it as sent in DATA, final dot not included. Only when is_in_memory."""
        assert self.is_in_memory, "content in a file is read in pieces, off the event loop"
        return self.prefix + self.octets if self.prefix else self.octets

    def plain(self) -> bytes:
        """All of it unstuffed, CRLF lines. Only when is_in_memory."""
        return unstuff(self.wire())


def from_wire(wire: bytes, prefix: bytes = b"") -> Content:
    """Content from checked wire octets: CRLF lines, dot-stuffed, no bare CR or LF, no NUL."""
    stuffed_count = wire.count(_STUFFED) + wire.startswith(b"..")
    return Content(prefix, wire, len(prefix) + len(wire) - stuffed_count, has_8bit=not wire.isascii())


def from_plain(octets: bytes, prefix: bytes = b"") -> Content:
    """Content from plain octets of our own making or of a program here: LF or CRLF lines are made
    CRLF, a bare CR becomes CRLF, NUL is dropped, dots are stuffed, the last line gets its end."""
    return from_wire(stuff(normalize(octets)), prefix)


def normalize(octets: bytes) -> bytes:
    """CRLF lines whatever the line ends were; no NUL; ends in CRLF unless empty."""
    text = octets.replace(b"\0", b"").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = text.replace(b"\n", b"\r\n")
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"


def stuff(plain: bytes) -> bytes:
    """Double the dot at the start of each line (RFC 5321 §4.5.2)."""
    wire = plain.replace(_PLAIN, _STUFFED)
    return b"." + wire if wire.startswith(b".") else wire


def unstuff(wire: bytes) -> bytes:
    """Take the doubled dots away again."""
    plain = wire.replace(_STUFFED, _PLAIN)
    return plain[1:] if plain.startswith(b"..") else plain


class Unstuffer:
    """unstuff() for content that comes in pieces cut anywhere: feed() each, then finish()."""

    def __init__(self) -> None:
        self._held = b"\r\n"  # a line starts here; these two octets are not given out
        self._skip = 2

    def feed(self, piece: bytes) -> bytes:
        """What is certain so far, unstuffed; up to three octets are held back."""
        joined = self._held + piece
        keep = next((n for n in (3, 2, 1) if joined.endswith(_STUFFED[:n])), 0)
        done, self._held = (joined[:-keep], joined[-keep:]) if keep else (joined, b"")
        return self._give(done.replace(_STUFFED, _PLAIN))

    def finish(self) -> bytes:
        """The rest."""
        done, self._held = self._held, b""
        return self._give(done)

    def _give(self, octets: bytes) -> bytes:
        skip = min(self._skip, len(octets))
        self._skip -= skip
        return octets[skip:]
