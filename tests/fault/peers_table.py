"""The table of next hops in trouble: what a message becomes, for each stage of a delivery and each trouble.

A letter says how the message fares at its first attempt, where the next hop is one host:
d  delivered; nothing is said twice
n  it waits, the host is in trouble: another host of the domain would have got it at once
w  it waits, with what the peer said about it: another host is not asked to overrule that
D  it waits, and may have arrived: the peer had all of it. It is sent again, and arrives twice if it had
b  it bounces: the peer has said 5yz to it, in clear words and in its place
e  n or D: the message was under way when the peer was gone, and how far nobody knows
.  there is no such thing
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.sink_mx import (
    CLOSE,
    DRIP,
    ENDLESS,
    HALF,
    HANG,
    LEAVES,
    NO_END,
    RESET,
    SILENT,
    TWICE,
    Reaction,
)

STEP: Final = ()
PIPED: Final = ("PIPELINING", "8BITMIME")
CHUNKED: Final = ("PIPELINING", "8BITMIME", "CHUNKING")
SPEECHES: Final = {"step": STEP, "pipelining": PIPED, "chunking": CHUNKED}

_SILENCE: Final = "no reply in time"
_CLOSED: Final = "the server closed the connection"
_GARBAGE: Final = "this is no SMTP reply"
_SCREED: Final = b"554-5.7.1 and another thing %s\r\n" % (b"x" * 1900) * 198 + b"554 5.7.1 enough\r\n"

# name: (what the peer does instead of its reply, words of the reason to wait or of the bounce), in the order of
# the columns below.
TROUBLES: Final[dict[str, tuple[Reaction, str]]] = {
    "hangs": (HANG, _SILENCE),
    "closes": (CLOSE, _CLOSED),
    "resets": (RESET, "connection"),
    "garbage": (b"mumble\r\n", _GARBAGE),
    "octets": (b"\xff\xfe\x00250 \x80\r\n", _GARBAGE),
    "drips": (DRIP, _SILENCE),
    "half": (HALF, _CLOSED),
    "no end": (NO_END, _SILENCE),
    "bare LF": (b"250 ok\n", _GARBAGE),
    "long line": (b"250 " + b"x" * 5000, _GARBAGE),  # and no end of it
    "endless": (ENDLESS, _GARBAGE),
    "421": (b"421 4.3.2 busy\r\n", "421 4.3.2 busy"),
    "451": (b"451 4.3.0 later\r\n", "451 4.3.0 later"),
    "552": (b"552 5.3.4 too much\r\n", "552 5.3.4 too much"),
    "screed": (_SCREED, "554 5.7.1 and another thing"),
    "250": (b"250 fine\r\n", "250 fine"),
    "299": (b"299 fine \x00\xe4\r\n", "299 fine ?"),
    "354": (b"354 go on\r\n", "354 go on"),
    "699": (b"699 what\r\n", _GARBAGE),
    "twice": (TWICE, ""),
    "silent": (SILENT, ""),
    "leaves": (LEAVES, ""),
}

# Stage (as SinkMx calls it), how it speaks:
#                          hang rst oct half LF  endl 451 scr 299 699 sil
#                           close gar drip noend long 421 552 250 354 twice leaves
FATES: Final = """
connect      any            n n n n n n n n n n n   n n n n d d n n n n n
EHLO         step           n n n n n n n n n n n   n n d d d d n n n n n
EHLO         pipelining     n n n n n n n n n n n   n n d d d d n n n n n
EHLO         chunking       n n n n n n n n n n n   n n d d d d n n n n e
HELO         step           n n n n n n n n n n n   n n n n d d n n n n n
STARTTLS     pipelining     n n n n n n n n n n n   n d d d d d d n n n d
EHLO#1       pipelining     n n n n n n n n n n n   n n d d d d n n n n n
MAIL         step           n n n n n n n n n n n   n w b b d d n n n n n
MAIL         pipelining     n n n n n n n n n n n   n w b b d d n n n n n
MAIL         chunking       D D D D D D D D D D D   n w b b d d D D d D D
RCPT         step           n n n n n n n n n n n   w w b b d d n n n n n
RCPT         pipelining     n n n n n n n n n n n   w w b b d d n n n n n
RCPT         chunking       D D D D D D D D D D D   w w b b d d D D d D D
DATA         step           n n n n n n n n n n n   w w b b n n d n D n D
DATA         pipelining     n n n n n n n n n n n   w w b b n n d n D n D
content      any            D D D D D D D D D D D   w w b b d d D D d D d
QUIT         any            d d d d d d d d d d d   d d d d d d d d d d d
"""

# An upstream server that must be encrypted, and one that we log in to: nothing of it ever bounces, or goes in
# the clear. 334 is the challenge of AUTH LOGIN.
REQUIRED: Final = """
STARTTLS     pipelining     n n n n n n n n n n n   n n n n n n n n n n n
EHLO#1       pipelining     n n n n n n n n n n n   n n d d d d n n n n n
"""
LOG_IN: Final = """
AUTH         pipelining     n n n n n n n n n n n   n n n n n n n n n n n
334          pipelining     n n n n n n n n n n n   n n n n n n n n n n n
"""

# The second message of a connection. What is in trouble there goes over a new one, at once.
KEPT: Final = """
RSET         pipelining     d d d d d d d d d d d   d d d d d d d d d d d
RSET         chunking       D d d D D D D D D D D   d D D D d D D D d D d
MAIL         step           d d d d d d d d d d d   d w b b d d d d d d d
MAIL         pipelining     d d d d d d d d d d d   d w b b d d d d d d d
MAIL         chunking       D d d D D D D D D D D   d w b b d d D D d D D
RCPT         pipelining     d d d d d d d d d d d   w w b b d d d d d d d
DATA         pipelining     d d d d d d d d d d d   w w b b d d d d D d D
content      pipelining     D D D D D D D D D D D   w w b b d d D D d D d
"""

# A large message, when a part of it is out and the peer reads no further: it has not got all of it, whatever it
# says. Without a usual reply there are fewer kinds of trouble.
LARGE: Final = """
in_content   step           n n n n n . . . n n .   w w b b n n n n . . .
in_content   pipelining     n n n n n . . . n n .   w w b b n n n n . . .
"""

# The reply for the second of three recipients that an LMTP server has taken (RFC 2033).
FATES_OF_THREE: Final = {
    "dDD": ("hangs", "closes", "garbage", "octets", "drips", "half", "no end", "bare LF", "long line",
            "endless", "354", "699"),
    "dww": ("421",),
    "dwd": ("451",),
    "dbd": ("552", "screed"),
    "ddd": ("250", "299", "twice"),
    "ddD": ("silent", "leaves"),
}  # fmt: skip
LMTP: Final = """
LHLO         step           n n n n n n n n n n n   n n n n d d n n n n n
LHLO         pipelining     n n n n n n n n n n n   n n n n d d n n n n n
LHLO         chunking       n n n n n n n n n n n   n n n n d d n n n n e
"""

IN_STEP: Final = ("connect", "EHLO", "EHLO#1", "HELO", "LHLO", "AUTH", "334")  # one command is out at a time


@dataclass(frozen=True, slots=True)
class Cell:
    """One stage in one trouble."""

    stage: str
    speech: str  # a key of SPEECHES
    trouble: str  # a key of TROUBLES
    fate: str

    @property
    def name(self) -> str:
        return f"{self.stage} {self.trouble} ({self.speech})"

    @property
    def script(self) -> dict[str, Reaction]:
        """For the SinkMx."""
        script: dict[str, Reaction] = {self.stage: TROUBLES[self.trouble][0]}
        if self.stage == "HELO":
            script["EHLO"] = b"502 5.5.1 what?\r\n"
        return script

    @property
    def words(self) -> str:
        """What the reason to wait, or the bounce, has in it."""
        if self.stage == "in content" and self.trouble == "closes":
            return "connection"  # with octets that nobody has read it is a reset
        if self.trouble == "twice" and self.stage in IN_STEP:
            return "the server said more than it was asked"
        return TROUBLES[self.trouble][1]

    @property
    def needs_tls(self) -> bool:
        """Whether the peer offers STARTTLS."""
        return self.stage in ("STARTTLS", "EHLO#1")


def cells(fates: str = FATES) -> Iterator[Cell]:
    """All of a table."""
    for line in fates.strip().splitlines():
        stage, speech, *letters = line.split()
        for each in SPEECHES if speech == "any" else (speech,):
            for trouble, fate in zip(TROUBLES, letters, strict=True):
                if fate != ".":
                    yield Cell(stage.replace("_", " "), each, trouble, fate)


def cells_of_three(address: str) -> Iterator[Cell]:
    """The replies of LMTP; a reset may take the reply of the first recipient with it."""
    for fate, troubles in FATES_OF_THREE.items():
        for trouble in troubles:
            for speech in SPEECHES:
                yield Cell(f"content:{address}", speech, trouble, fate)
