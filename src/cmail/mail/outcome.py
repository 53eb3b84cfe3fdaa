"""Delivered | TemporaryFailure | PermanentFailure: how an attempt ended for one recipient."""

from dataclasses import dataclass
from enum import IntEnum

from cmail.mail.reply import Reply
from cmail.mail.status import UNDEFINED, Detail, EnhancedStatus, StatusClass


class NotNow(IntEnum):
    """The three kinds of 'not now'; they are never mixed up."""

    OFFLINE = 1  # we are off line: no attempt is counted, clocks stand still
    HOST = 2  # their host is down, or we cannot log in there: back-off for that next hop
    MESSAGE = 3  # this message was refused for now: back-off for this message


@dataclass(frozen=True, slots=True)
class Delivered:
    """The next hop has said 250, or the mailbox here has it on disk."""

    relay: str  # host[address]:port, "local", "none"; as in the log's relay=
    reply: str  # what it said, for the log and people: "250 2.0.0 queued as 4711"
    detail: Detail = UNDEFINED
    is_local: bool = False  # final delivery here (DSN action delivered, else relayed)
    is_dsn_passed_on: bool = False  # the peer offers DSN: it reports, we don't (RFC 3461 §5.2.1)
    is_by_passed_on: bool = False  # the peer has been told the deadline (RFC 2852)

    @property
    def status(self) -> EnhancedStatus:
        """2.x.y"""
        return self.detail.with_class(StatusClass.SUCCESS)


@dataclass(frozen=True, slots=True)
class Expanded:
    """An alias or a forward: other recipients stand in its place, in the same commit."""

    targets: tuple[str, ...]  # addresses as text
    relay: str = "alias"

    @property
    def status(self) -> EnhancedStatus:
        """2.0.0"""
        return UNDEFINED.with_class(StatusClass.SUCCESS)


@dataclass(frozen=True, slots=True)
class TemporaryFailure:
    """Not now. What we don't understand is this."""

    reason: str  # in words, one line: "connection refused", "greeting: 421 4.3.2 ..."
    kind: NotNow = NotNow.MESSAGE
    detail: Detail = UNDEFINED
    relay: str = "none"
    reply: Reply | None = None  # the raw reply when a peer gave one

    @property
    def status(self) -> EnhancedStatus:
        """4.x.y"""
        return self.detail.with_class(StatusClass.TEMPORARY)


@dataclass(frozen=True, slots=True)
class PermanentFailure:
    """Never. The sender gets a bounce."""

    reason: str
    detail: Detail = UNDEFINED
    relay: str = "none"
    reply: Reply | None = None

    @property
    def status(self) -> EnhancedStatus:
        """5.x.y"""
        return self.detail.with_class(StatusClass.PERMANENT)


Outcome = Delivered | Expanded | TemporaryFailure | PermanentFailure
