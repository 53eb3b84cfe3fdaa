"""Pop3Client: a POP3 client (RFC 1939) as a machine: commands out, octets in, events back; all of it bounded.

Commands may be pipelined (RFC 2449 §6.6): answers come in their order. Content is handed on in pieces, its
doubled dots taken away; nothing but CRLF.CRLF ends it."""

import base64
import binascii
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cmail.protocol.sasl_client import STEPS_MIN, Credentials, SaslError, choose_mechanism, exchange

STATUS_OCTETS_MAX: Final = 8192  # RFC 2449 §4 says 512; challenges of log-ins are longer
LISTING_OCTETS_MAX: Final = 16 * 2**20  # 200,000 messages with UIDs of 70 octets
LISTING_LINES_MAX: Final = 500_000  # short ones take much more memory than their octets
TEXT_MAX: Final = 300  # of what a server says, for people
_END: Final = b"\r\n.\r\n"
_SAFE: Final = frozenset(range(0x21, 0x7F))


class Pop3Error(Exception):
    """It is not POP3, or more than we take; in words."""


class Kind(Enum):
    """What answers a command."""

    STATUS = 1  # one line
    LISTING = 2  # after +OK lines up to a dot, kept
    CONTENT = 3  # the same, handed on as it comes
    LOG_IN = 4  # one line, or a challenge


@dataclass(frozen=True, slots=True)
class Status:
    """+OK or -ERR. `code`: of RFC 2449 §8 and RFC 3206, such as IN-USE, AUTH, SYS/TEMP; "" without."""

    is_ok: bool
    text: str = ""
    code: str = ""

    def __str__(self) -> str:
        """As the server said it."""
        code = f"[{self.code}] " if self.code else ""
        return f"{'+OK' if self.is_ok else '-ERR'} {code}{self.text}".rstrip()


@dataclass(frozen=True, slots=True)
class Challenge:
    """`+ ...` in a log-in (RFC 5034 §4), without base64."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """The lines behind +OK."""

    lines: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of content."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class ContentEnd:
    """All of it has come."""


Event = Status | Challenge | Listing | Piece | ContentEnd


class Pop3Client:
    """One connection."""

    def __init__(self) -> None:
        self._expected: deque[Kind] = deque([Kind.STATUS])  # the greeting
        self._held = b""  # of a line
        self._is_within = False  # behind the +OK of a listing or of content
        self._lead = b""  # what of it may be its end, or a doubled dot
        self._skip = 0  # octets of the lead that are not content: the line end before it
        self._kept: list[bytes] = []
        self._kept_octets = self._kept_lines = 0

    @property
    def is_clean(self) -> bool:
        """Nothing is expected and nothing was said beyond it: TLS may begin (RFC 2595 §4)."""
        return not (self._expected or self._held or self._is_within)

    @property
    def awaited(self) -> int:
        """How many commands have no answer yet."""
        return len(self._expected)

    def command(self, octets: bytes, kind: Kind = Kind.STATUS) -> bytes:
        """A line to send."""
        if b"\r" in octets or b"\n" in octets or b"\0" in octets:  # rule 17
            raise Pop3Error("a line end within a command")
        self._expected.append(kind)
        return octets + b"\r\n"

    def response(self, octets: bytes) -> bytes:
        """A line that answers a challenge."""
        return octets + b"\r\n"

    def feed(self, data: bytes) -> list[Event]:
        """What came with these octets. Pop3Error: nothing more is read from this connection."""
        events: list[Event] = []
        data = self._held + data if self._held else data
        self._held, at = b"", 0
        while at < len(data):
            if self._is_within:
                data, at = self._take_content(data[at:], events), 0
                continue
            end = data.find(b"\r\n", at)
            if (end if end >= 0 else len(data)) - at > STATUS_OCTETS_MAX:
                raise Pop3Error("the server sent a line that is longer than any answer of POP3")
            if end < 0:
                if data.find(b"\n", at) >= 0:
                    raise Pop3Error(f"this is no answer of POP3: {shown(data[at:])!r}")
                self._held = data[at:]
                break
            self._take_line(data[at:end], events)
            at = end + 2
        return events

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        if not self._expected and line[:4].upper() == b"-ERR":  # a last word, as some say before they hang up
            raise Pop3Error(f"the server ended the session: {shown(line[5:])}")
        if not self._expected or b"\n" in line or b"\0" in line:
            raise Pop3Error(f"the server said what nobody asked: {shown(line)!r}")
        kind = self._expected[0]
        if kind is Kind.LOG_IN and line[:1] == b"+" and line[1:2] in (b" ", b""):
            events.append(Challenge(_challenge(line[1:])))
            return
        status = parse_status(line)
        events.append(status)
        if status.is_ok and kind in (Kind.LISTING, Kind.CONTENT):
            self._is_within, self._lead, self._skip = True, b"\r\n", 2
            self._kept, self._kept_octets, self._kept_lines = [], 0, 0
            return
        self._expected.popleft()

    def _take_content(self, data: bytes, events: list[Event]) -> bytes:
        """Content up to its end or to what is certain; what is left to read."""
        text = self._lead + data
        end = text.find(_END)
        if end >= 0:
            self._give(text[: end + 2], events)
            self._is_within, self._lead = False, b""
            kind = self._expected.popleft()
            events.append(ContentEnd() if kind is Kind.CONTENT else self._listing())
            return text[end + 5 :]
        keep = next((n for n in (4, 3, 2, 1) if text.endswith(_END[:n])), 0)
        self._lead = text[len(text) - keep :]
        self._give(text[: len(text) - keep], events)
        return b""

    def _give(self, text: bytes, events: list[Event]) -> None:
        plain = text.replace(b"\r\n.", b"\r\n")  # RFC 1939 §3
        skip = min(self._skip, len(plain))
        self._skip -= skip
        plain = plain[skip:]
        if not plain:
            return
        if self._expected[0] is Kind.CONTENT:
            events.append(Piece(plain))
            return
        self._kept.append(plain)
        self._kept_octets += len(plain)
        self._kept_lines += plain.count(b"\n")
        if self._kept_octets > LISTING_OCTETS_MAX or self._kept_lines > LISTING_LINES_MAX:
            raise Pop3Error("the server's list has no end")

    def _listing(self) -> Listing:
        lines = b"".join(self._kept).split(b"\r\n")
        self._kept = []
        return Listing(lines[:-1] if lines[-1] == b"" else lines)


def parse_status(line: bytes) -> Status:
    """+OK or -ERR; Pop3Error when it is neither."""
    word, _, text = line.partition(b" ")
    if word.upper() not in (b"+OK", b"-ERR"):
        raise Pop3Error(f"this is no answer of POP3: {shown(line)!r}")
    code = ""
    if text.startswith(b"["):
        inner, bracket, rest = text[1:].partition(b"]")
        if bracket and inner and len(inner) <= 40:
            code, text = shown(inner).upper(), rest.lstrip()
    return Status(word.upper() == b"+OK", shown(text), code)


def shown(octets: bytes, most: int = TEXT_MAX) -> str:
    """What a server said as one line that prints (rule 17)."""
    text = octets[: 4 * most].decode("utf-8", "replace")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text[:most] + "..." if len(text) > most else text


def _challenge(octets: bytes) -> bytes:
    try:
        return base64.b64decode(octets.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""  # some ask in plain words


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What CAPA says (RFC 2449 §5). Without an answer to it: what every server has."""

    mechanisms: tuple[str, ...] = ()
    has_stls: bool = False
    has_uidl: bool = True  # tried where CAPA is not known
    has_top: bool = True
    is_pipelining: bool = False
    has_user: bool = True


def parse_capabilities(lines: Sequence[bytes]) -> Capabilities:
    """Of the lines behind +OK."""
    found: dict[str, tuple[str, ...]] = {}
    for line in lines[:200]:
        words = shown(line).upper().split()
        if words:
            found[words[0]] = tuple(words[1:])
    return Capabilities(
        found.get("SASL", ()),
        "STLS" in found,
        "UIDL" in found,
        "TOP" in found,
        "PIPELINING" in found,
        "USER" in found,
    )


def parse_numbers(lines: Sequence[bytes]) -> dict[int, int]:
    """LIST: message number -> octets, as the server counts them."""
    found = {}
    for line in lines:
        words = line.split()
        if len(words) < 2 or not all(word.isdigit() and len(word) <= 18 for word in words[:2]):
            raise Pop3Error(f"its list of sizes has the line {shown(line)!r}")
        found[int(words[0])] = int(words[1])
    return found


def parse_uids(lines: Sequence[bytes]) -> dict[int, str]:
    """UIDL: message number -> unique-id (RFC 1939 §7: 1 to 70 octets that print; longer ones are taken up to
    500). One that is none is left out, and its message is known by what stands in it."""
    found = {}
    for line in lines:
        number, _, uid = line.partition(b" ")
        uid = uid.strip()
        if not number.isdigit() or len(number) > 18:
            raise Pop3Error(f"its list of unique-ids has the line {shown(line)!r}")
        if 0 < len(uid) <= 500 and _SAFE.issuperset(uid):
            found[int(number)] = uid.decode("ascii")
    return found


LogIn = Generator[tuple[bytes, Kind], Status | Challenge, None]


class LogInError(Exception):
    """The log-in did not come to its end; `status` is what the server said, if it was the server."""

    def __init__(self, words: str, status: Status | None = None) -> None:
        super().__init__(words)
        self.status = status


def log_in(credentials: Credentials, offered: Capabilities, is_safe: bool) -> LogIn:
    """Yields lines to send, with what answers them, and is sent what came. A line that is not a command of
    its own (the answer to a challenge) has kind LOG_IN too: send it with response(). LogInError: refused."""
    mechanism = choose_mechanism(offered.mechanisms, is_safe)
    if mechanism is None:
        if not is_safe:
            raise LogInError("the connection is not encrypted, so the password is not sent")
        if not offered.has_user and offered.mechanisms:
            raise LogInError(f"the server offers no log-in that we know ({' '.join(offered.mechanisms)})")
        yield from _user_and_password(credentials)
        return
    steps = exchange(mechanism, credentials)
    try:
        first = next(steps)
        # RFC 5034 §4: "=" is an empty initial response; a long one waits for the challenge.
        initial = base64.b64encode(first) if first else b""
        is_sent = first is not None and len(initial) < 400
        line = f"AUTH {mechanism}".encode() + (b" " + (initial or b"=") if is_sent else b"")
        said = int(is_sent)
        answer = yield line, Kind.LOG_IN
        while isinstance(answer, Challenge):
            response = first if said == 0 and first is not None else steps.send(answer.octets)
            said += 1
            answer = yield base64.b64encode(response or b""), Kind.LOG_IN
    except SaslError as error:
        raise LogInError(str(error)) from None
    if not answer.is_ok:
        raise LogInError("the server refuses the log-in", answer)
    if said < STEPS_MIN[mechanism]:
        raise LogInError("the server did not prove that it knows us")


def _user_and_password(credentials: Credentials) -> LogIn:
    for verb, value in (("USER", credentials.username), ("PASS", credentials.password)):
        if any(c in value for c in "\r\n\0"):
            raise LogInError("the user name or password has a line end in it")
        status = yield f"{verb} {value}".encode(), Kind.STATUS
        if not isinstance(status, Status) or not status.is_ok:
            raise LogInError("the server refuses the log-in", status if isinstance(status, Status) else None)
