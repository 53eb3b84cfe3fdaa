"""Delivery: one message to some recipients over one client connection, and how far it has come."""

from collections.abc import Sequence
from enum import IntEnum

from cmail.mail.content import Content
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import Outcome, PermanentFailure, TemporaryFailure


class Stage(IntEnum):
    """Which reply a delivery waits for."""

    RSET = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    CONTENT = 5  # none yet: content from a file is on its way
    DOT = 6


class Delivery:
    """One message to some recipients over this connection. When it ended, either is_put_back (nothing of
    it can have been accepted) or `outcomes` has one Outcome for each of `recipients`."""

    __slots__ = (
        "accepted", "by_s", "content", "cursor", "envelope", "is_bdat", "is_blamed", "is_content_out",
        "is_put_back", "is_refused", "is_utf8", "is_void", "outcomes", "pending", "recipients", "rest",
        "stage", "token",
    )  # fmt: skip

    def __init__(
        self,
        token: object,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        content: Content,
        by_s: int | None = None,
    ) -> None:
        self.token = token
        self.envelope = envelope
        self.recipients = recipients
        self.content = content
        self.by_s = by_s  # seconds that are left of its time; None: it has no deadline
        self.outcomes: list[Outcome | None] = [None] * len(recipients)
        self.pending: Sequence[int] = range(len(recipients))  # of this round
        self.rest: list[int] = []  # told 'too many': they get a round of their own
        self.accepted: list[int] = []
        self.cursor = 0
        self.stage = Stage.MAIL
        self.is_utf8 = False
        self.is_bdat = False
        self.is_refused = False  # MAIL was refused: what comes is the echo of pipelined commands
        self.is_void = False  # the content that is out is a lone dot, or has no recipient
        self.is_content_out = False
        self.is_put_back = False
        self.is_blamed = False  # put back, and it was this message at which the connection ended

    def fail_open(self, failure: TemporaryFailure | PermanentFailure) -> None:
        """What has no outcome yet gets this one: every recipient ends exactly once."""
        self.outcomes = [failure if outcome is None else outcome for outcome in self.outcomes]
