"""Target: who is kicked and with what; KickResult: how one try went. Only mail that arrives proves more."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from cmail.protocol.sasl_client import Credentials
from cmail.world import IPAddress

SHOWN_MAX: Final = 200  # of an answer, in the log and on the page
ANSWER_OCTETS_MAX: Final = 16 * 1024  # who tells more tells nothing that we need
TEXT_OCTETS_MAX: Final = 400  # RFC 5321 §4.5.3.1.4: a command line has 512


class Verdict(Enum):
    """What is to be made of a try."""

    SENT = "sent"  # somebody took it: mail may come now
    NOTHING = "nothing"  # the server says that nothing waits for us there
    NOT_NOW = "not now"  # nobody was there, or not yet: worth another try
    REFUSED = "refused"  # the same again would be refused again


@dataclass(frozen=True, slots=True)
class KickResult:
    """How one try ended, in one line for people."""

    verdict: Verdict
    words: str

    @property
    def is_sent(self) -> bool:
        """Whether somebody took it."""
        return self.verdict is Verdict.SENT


@dataclass(frozen=True, slots=True)
class Target:
    """One step of a plan, with everything looked up that it needs."""

    method: str
    host: str
    addresses: tuple[IPAddress, ...]  # of the host
    ports: tuple[int, ...]  # the next is tried when nobody answers at the first
    text: str
    hostname: str  # ours
    timeout_s: float
    tls: Literal["none", "opportunistic", "required", "implicit"] = "none"
    credentials: Credentials | None = None
    ca_file: str = ""
    command: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """For people."""
        return f"{self.host}:{self.ports[0]}" if self.ports else self.host


def sent(words: str) -> KickResult:
    """Somebody took it."""
    return KickResult(Verdict.SENT, words)


def not_now(words: str) -> KickResult:
    """Worth another try."""
    return KickResult(Verdict.NOT_NOW, words)


def refused(words: str) -> KickResult:
    """Not worth another try."""
    return KickResult(Verdict.REFUSED, words)


def is_one_line(text: str) -> bool:
    """Whether it can be sent as one line (rule 17)."""
    return text.isascii() and text.isprintable() and 0 < len(text) <= TEXT_OCTETS_MAX


def shown(answer: bytes) -> str:
    """What somebody said, on one line that prints (rule 17)."""
    text = " ".join(answer[: 4 * SHOWN_MAX].decode("utf-8", "replace").split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return (text[:SHOWN_MAX] + "..." if len(text) > SHOWN_MAX else text) or "nothing"
