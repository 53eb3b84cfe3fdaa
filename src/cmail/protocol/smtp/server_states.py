"""States of the server machine, what is obeyed in which, and what it asks of the house."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cmail.mail import limits
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.commands import Mail, Rcpt
from cmail.protocol.smtp.extensions import Kind
from cmail.protocol.smtp.site_commands import Etrn

# How the next octets are read.
LINES: Final = 0
DATA: Final = 1
CHUNK: Final = 2
SKIP_LINE: Final = 3
AUTH_LINE: Final = 4
TLS: Final = 5  # STARTTLS was read: nothing more may come before the handshake
CLOSED: Final = 6
TURNED: Final = 7  # ATRN was obeyed: the client is the server now, and we are not in it any more

# How far the session is.
GREETED: Final = 0  # no EHLO yet
READY: Final = 1
MAIL_GIVEN: Final = 2
RCPT_GIVEN: Final = 3
CHUNKS_GIVEN: Final = 4

# Which commands are obeyed in which state; elsewhere they are answered with what stands in REFUSALS. Commands
# that are not here (EHLO, RSET, NOOP, QUIT ...) are obeyed everywhere.
TRANSITIONS: Final[Mapping[str, Mapping[int, int]]] = {
    "MAIL": {READY: MAIL_GIVEN},
    "RCPT": {MAIL_GIVEN: RCPT_GIVEN, RCPT_GIVEN: RCPT_GIVEN},
    "DATA": {RCPT_GIVEN: READY},
    "BDAT": {RCPT_GIVEN: CHUNKS_GIVEN, CHUNKS_GIVEN: CHUNKS_GIVEN},
    "AUTH": {READY: READY},
    "ETRN": {READY: READY},  # RFC 1985 §5: not while a message is under way
    "ATRN": {READY: READY},
}
REFUSALS: Final[Mapping[str, tuple[bytes, bytes, bytes, bytes, bytes]]] = {
    "MAIL": (replies.HELO_FIRST, b"", replies.NESTED_MAIL, replies.NESTED_MAIL, replies.IN_CHUNKS),
    "RCPT": (replies.HELO_FIRST, replies.MAIL_FIRST, b"", b"", replies.IN_CHUNKS),
    "DATA": (replies.HELO_FIRST, replies.MAIL_FIRST, replies.NO_RECIPIENTS, b"", replies.IN_CHUNKS),
    "BDAT": (replies.HELO_FIRST, replies.MAIL_FIRST, replies.NO_RECIPIENTS, b"", b""),
    "AUTH": (replies.HELO_FIRST, b"", replies.NESTED_MAIL, replies.NESTED_MAIL, replies.IN_CHUNKS),
    "ETRN": (replies.HELO_FIRST, b"", replies.NESTED_MAIL, replies.NESTED_MAIL, replies.IN_CHUNKS),
    "ATRN": (replies.HELO_FIRST, b"", replies.NESTED_MAIL, replies.NESTED_MAIL, replies.IN_CHUNKS),
}


class Hold:
    """Why input is not read on just now. Plain numbers: an IntFlag costs 2 us a message."""

    HOUSE: Final = 1  # a question is being answered (a log-in)
    REPLIES: Final = 2  # too much waits for the disk
    CLIENT: Final = 4  # it does not read our replies
    CONTENT: Final = 8  # content comes faster than the disk takes it
    OVER: Final = 16  # nothing is read any more
    TURN: Final = 32  # it has had its share of this turn of the loop: others come first


class Slot:
    """The place of a reply that comes later; what was answered behind it waits in `after`."""

    __slots__ = ("after", "count", "octets", "reply")

    def __init__(self, count: int, octets: int) -> None:
        self.reply = b""
        self.count = count  # LMTP: how often it is said, once a recipient
        self.octets = octets  # of content that waits
        self.after: list[bytes] = []


@dataclass(frozen=True, slots=True)
class Rules:
    """What the machine must know of listener and settings; shared by all sessions of a kind."""

    kind: Kind = "smtp"
    default_domain: str = "localhost"  # what a bare name gets
    size_max: int = 50 * 2**20
    recipients_max: int = limits.RECIPIENTS_MAX
    errors_max: int = limits.ERRORS_MAX
    idle_commands_max: int = limits.IDLE_COMMANDS_MAX
    has_tls: bool = False  # there is a certificate: STARTTLS can be obeyed
    lines_a_turn: int = 1 << 30  # of one receive(); then it holds (Hold.TURN), and its owner releases it

    @property
    def is_lmtp(self) -> bool:
        """LHLO, and a reply for each recipient after content (RFC 2033)."""
        return self.kind == "lmtp"


class Answers(Protocol):
    """What the machine asks of the house. What returns octets returns a whole reply."""

    def on_helo(self, name: str, verb: str) -> bytes:
        """EHLO, HELO or LHLO; anything but 2yz refuses it."""
        ...

    def on_mail(self, mail: Mail) -> bytes:
        """A transaction begins with 2yz."""
        ...

    def on_rcpt(self, rcpt: Rcpt) -> bytes:
        """A recipient more with 2yz."""
        ...

    def on_data(self) -> bytes:
        """May content come? b"": yes."""
        ...

    def on_piece(self, piece: bytes) -> None:
        """Some content in wire form, more follows; not from a message that on_drop() was told of."""
        ...

    def on_message(self, slot: Slot, piece: bytes, size_bytes: int, seen: int) -> None:
        """The last piece; unstuffed size of all, what was seen in it (content.EIGHT_BIT). answer(slot) must
        follow, now or later, whatever happens. The transaction is over for the machine."""
        ...

    def on_drop(self, reply: bytes) -> None:
        """What has come of the content is not wanted; the rest is thrown away and `reply` said then."""
        ...

    def on_reset(self) -> None:
        """The transaction is given up (RSET, EHLO, a failed message)."""
        ...

    def on_starttls(self) -> None:
        """220 is in the outgoing octets: hold all input now, write, then shake hands."""
        ...

    def on_auth(self, mechanism: str, initial: bytes | None) -> None:
        """challenge() or finish_auth() must follow; with hold() before, also later."""
        ...

    def on_auth_response(self, response: bytes | None) -> None:
        """The client's answer to a challenge; None: it gave up, and that was answered."""
        ...

    def on_etrn(self, etrn: Etrn) -> None:
        """A site asks for its mail. finish() must follow; with hold() before, also later."""
        ...

    def on_atrn(self, domains: tuple[str, ...]) -> None:
        """It asks for it on this connection. finish() or turn() must follow, likewise."""
        ...

    def on_refused(self, line: bytes, reply: bytes) -> None:
        """The machine itself refused a command: for the log."""
        ...
