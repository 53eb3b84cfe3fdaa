"""Box: a mailbox elsewhere, as the account run sees it; what POP3 and IMAP have in common."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from cmail.link.settings import CollectSettings

BEGINNING_MAX: Final = 2**20  # a new session costs octets too
PORTS: Final = {  # by protocol, and whether TLS begins with the first byte
    ("pop3", True): 995,
    ("pop3", False): 110,
    ("imap", True): 993,
    ("imap", False): 143,
}
ENOUGH: Final = "of a large message more came than its beginning: the session was ended, and is begun anew"


class Fault(Enum):
    """Whose trouble it is, and so when it is tried again."""

    NETWORK = "network"  # no way there, or the connection broke
    LOG_IN = "log-in"  # the password or who we are: trying it again soon may lock the account
    SERVER = "server"  # it said no, or what cannot be understood
    OURS = "ours"  # our disk, our settings


class BoxError(Exception):
    """A session that ended before its end; words for people."""

    def __init__(self, words: str, fault: Fault = Fault.SERVER, *, is_silence: bool = False) -> None:
        """`is_silence`: nobody answered, as when the line is dead and nothing shows it."""
        super().__init__(words)
        self.words = words
        self.fault = fault
        self.is_silence = is_silence


class GoneError(BoxError):
    """The message is not there any more, or so it seems; words where its server had some; the session goes
    on."""


class WithheldError(BoxError):
    """The server does not give this message, though it is there; the session goes on."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One message in the box."""

    uid: str  # what the ledger knows it by
    size: int  # as the server says; it may be wrong
    handle: int  # what the protocol knows it by in this session


@dataclass(frozen=True, slots=True)
class Access:
    """How to come to a box."""

    host: str
    port: int
    tls: str
    ca_file: str
    username: str
    folder: str = ""
    password: str = field(default="", repr=False)
    connect_s: float = 30.0  # smtp.advanced.timeout


def port_of(protocol: str, port: int, tls: str) -> int:
    """Where its server listens: at the usual port where none is set."""
    return port or PORTS[(protocol, tls == "implicit")]


def bare_host(host: str) -> str:
    """[::1]: ::1, as an IPv6 address is written where a port could stand behind it."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def box_name(account: CollectSettings) -> str:
    """What the ledger knows a box by: another name, port or encryption does not make it another box."""
    folder = account.folder or "INBOX"
    if folder.upper() == "INBOX":  # RFC 3501 §5.1: in whatever case
        folder = "INBOX"
    folder = f"/{folder}" if account.protocol == "imap" else ""
    return f"{account.protocol}://{account.username}@{account.host.lower()}{folder}"


class EnoughError(Exception):
    """More of a beginning came than was asked for, and more is to come: the session cannot go on."""


class Beginning:
    """What comes of a message of which only the beginning was asked for."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._size = 0

    async def take(self, piece: bytes) -> None:
        """EnoughError: TOP counts lines, and one of them may be the whole message; a server may take no heed
        of what it was asked."""
        self._kept.append(piece)
        self._size += len(piece)
        if self._size > BEGINNING_MAX:
            raise EnoughError

    @property
    def octets(self) -> bytes:
        """All of it."""
        return b"".join(self._kept)


Take = Callable[[bytes], Awaitable[None]]  # a piece of content; may raise
Idle = Callable[[], Awaitable[None]]  # waits for new mail, for half an hour at most


class Box(Protocol):
    """A session, logged in."""

    @property
    def peer(self) -> str:
        """Its address."""
        ...

    async def listing(self) -> Sequence[Listed]:
        """What is there, oldest first."""
        ...

    async def fetch(self, listed: Listed, take: Take, begin: int = 0) -> None:
        """Its content in pieces, from an octet on (where can_resume). GoneError: it is not there any more."""
        ...

    async def beginning(self, listed: Listed, octets: int) -> bytes:
        """About so much of it, the header first. GoneError."""
        ...

    def hidden(self, uids: Iterable[str]) -> Sequence[Listed]:
        """Of messages that are not listed, those that may be there all the same, half deleted."""
        ...

    async def sizes(self, found: Sequence[Listed]) -> Sequence[Listed]:
        """The same with their sizes; who is gone meanwhile is left out."""
        ...

    async def delete(self, found: Sequence[Listed]) -> bool:
        """Delete them. True: they are gone for good; False: done() says it."""
        ...

    async def done(self) -> bool:
        """The end; True: what was deleted is gone for good."""
        ...

    def close(self) -> None:
        """The end, whatever is under way."""
        ...

    @property
    def undeleted(self) -> str:
        """What was to be deleted and is not, in words; "" for nothing."""
        ...

    @property
    def idle(self) -> Idle | None:
        """None: its server does not tell of new mail."""
        ...

    @property
    def can_resume(self) -> bool:
        """Whether fetch() can begin in the middle."""
        ...

    @property
    def octets_in(self) -> int:
        """What came over the line."""
        ...
