"""Client side of SMTP and LMTP after the handshake: transactions, pipelined; replies in, octets out."""

from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from cmail.mail.content import Content
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import Delivered, NotNow, Outcome, PermanentFailure, TemporaryFailure
from cmail.mail.reply import Reply
from cmail.mail.status import (
    BAD_CONNECTION,
    BAD_PROTOCOL,
    LOCAL_TROUBLE,
    MESSAGE_TOO_LARGE,
    SMTPUTF8_NEEDED,
    TOO_MANY_RECIPIENTS,
    UNDEFINED,
    Detail,
)
from cmail.protocol.smtp.client_commands import mail_command, rcpt_command
from cmail.protocol.smtp.client_offers import Offers
from cmail.protocol.smtp.client_replies import Replies, read_reply

UNACKNOWLEDGED_MAX: Final = 8  # messages sent by BDAT whose reply waits; a lost connection doubts them all
UNACKNOWLEDGED_OCTETS_MAX: Final = 512 * 1024  # of them together, so that a slow peer costs no memory
_LOG_IN_TROUBLE: Final = (b"530", b"535", b"538")  # RFC 4954 §6: what is wrong between us and our upstream


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
        "accepted", "content", "cursor", "envelope", "is_bdat", "is_blamed", "is_content_out", "is_put_back",
        "is_refused", "is_utf8", "is_void", "outcomes", "pending", "recipients", "rest", "stage", "token",
    )  # fmt: skip

    def __init__(
        self, token: object, envelope: Envelope, recipients: Sequence[Recipient], content: Content
    ) -> None:
        self.token = token
        self.envelope = envelope
        self.recipients = recipients
        self.content = content
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


class SmtpClient:
    """The machine. begin() deliveries while can_take, feed receive(), write take_outgoing().

    Deliveries end in the order in which they began. `is_done`: close the connection now; `doubt` then
    says why, None when it ended in order. `trouble` is a reply that means that our log-in is not good."""

    def __init__(
        self, offers: Offers, relay: str, *, is_lmtp: bool = False, is_upstream: bool = True
    ) -> None:
        self._offers = offers
        self._relay = relay
        self._is_lmtp = is_lmtp
        self._is_upstream = is_upstream
        self._is_pipelining = offers.has_pipelining
        self._is_chunking = offers.has_chunking and offers.has_pipelining
        self._flight_max = UNACKNOWLEDGED_MAX if self._is_chunking else 2
        self._replies = Replies()
        self._flight: deque[Delivery] = deque()
        self._again: deque[Delivery] = deque()  # in their next round, as soon as the line is free
        self._out: list[bytes] = []
        self._ended: list[Delivery] = []
        self._unacknowledged = 0  # octets sent by BDAT
        self._needs_rset = False  # the last transaction may still be open at the peer
        self._is_halted = False
        self.streaming: Delivery | None = None  # its content's file is to be sent now, then streamed()
        self.is_done = False
        self.doubt: str | None = None
        self.trouble: Reply | None = None

    # What the driver asks.

    @property
    def is_idle(self) -> bool:
        """Whether no delivery is under way."""
        return not self._flight and not self._again

    @property
    def stage(self) -> Stage | None:
        """Which reply is next; None when none is."""
        return self._flight[0].stage if self._flight else None

    @property
    def can_take(self) -> bool:
        """Whether another delivery may begin now."""
        return not (self._again or self.is_done or self._is_halted) and self._is_free()

    def _is_free(self) -> bool:
        """Whether a MAIL sent now is read as a command, and the window is open."""
        flight = self._flight
        if not flight:
            return True
        return (
            self._is_pipelining
            and len(flight) < self._flight_max
            and flight[-1].is_content_out
            and self._unacknowledged < UNACKNOWLEDGED_OCTETS_MAX
        )

    def take_outgoing(self) -> list[bytes]:
        """What is to be written now, in pieces."""
        out = self._out
        if out:
            self._out = []
        return out

    # Going out.

    def begin(self, delivery: Delivery) -> bool:
        """Send what can be sent of it. False: it ended at once, nothing of it was sent."""
        if self._ends_unsent(delivery):
            return False
        self._send(delivery)
        return True

    def _send(self, d: Delivery) -> None:
        flight, out = self._flight, self._out
        # RFC 3030 leaves open whether a refused BDAT ends the transaction: without RSET the recipients
        # of this message could join the one before.
        rset = self._needs_rset or (bool(flight) and flight[-1].is_bdat)
        self._needs_rset = False
        flight.append(d)
        d.stage = Stage.RSET if rset else Stage.MAIL
        if rset:
            out.append(b"RSET\r\n")
            if not self._is_pipelining:
                return
        out.append(mail_command(d.envelope, d.content, self._offers, d.is_utf8))
        if not self._is_pipelining:
            return
        offers = self._offers
        for i in d.pending:
            out.append(rcpt_command(d.recipients[i], offers, d.is_utf8))
        if self._is_chunking and not d.content.path:
            self._send_chunk(d)
        else:
            out.append(b"DATA\r\n")

    def _send_chunk(self, d: Delivery) -> None:
        """All of the content in one BDAT (RFC 3030 §2), which carries it unstuffed."""
        content = d.content
        if content.size_bytes == len(content.prefix) + len(content.octets):  # no dot is stuffed
            octets = content.wire()
        else:
            octets = content.plain()
        self._out.append(b"BDAT %d LAST\r\n" % len(octets))
        self._out.append(octets)
        self._unacknowledged += content.size_bytes
        d.is_bdat = d.is_content_out = True

    def _send_content(self, d: Delivery) -> None:
        """After 354."""
        out = self._out
        if not d.accepted:
            out.append(b".\r\n")  # RFC 2920 §3.1: then a lone dot
            d.is_void = d.is_content_out = True
            d.stage = Stage.DOT
            if self._is_lmtp:  # RFC 2033 §4.2 knows no reply to it
                self._end()
                self._close(None)
            return
        content = d.content
        if content.path:
            d.stage = Stage.CONTENT
            self.streaming = d
            return
        if content.prefix:
            out.append(content.prefix)
        out.append(content.octets)
        out.append(b".\r\n")
        d.is_content_out = True
        d.stage = Stage.DOT

    def streamed(self) -> None:
        """All of the file is written: the final dot."""
        d = self.streaming
        assert d is not None
        self.streaming = None
        self._out.append(b".\r\n")
        d.is_content_out = True
        d.stage = Stage.DOT
        self._send_again()

    def _send_again(self) -> None:
        while self._again and self._is_free():
            self._send(self._again.popleft())

    # Coming in.

    def receive(self, data: bytes) -> list[Delivery]:
        """Take what has arrived; the deliveries that ended with it."""
        replies = self._replies
        for raw in replies.feed(data):
            self._on_reply(raw)
            if self.is_done:
                break
        if replies.error and not self.is_done:
            self._broken(replies.error)
        if self._again and not self.is_done:
            self._send_again()
        ended = self._ended
        if ended:
            self._ended = []
        return ended

    def _on_reply(self, raw: bytes) -> None:
        code = raw[:3]
        if not self._flight:
            self._close(None if code == b"421" else f"a reply to nothing: {read_reply(raw)}")
            return
        d = self._flight[0]
        if code == b"421":  # RFC 5321 §3.8: the server closes, whatever was asked
            self._on_closing(d, read_reply(raw))
        elif code[0] == 0x35 and code in _LOG_IN_TROUBLE and self._is_upstream and not d.is_refused:
            self._on_trouble(read_reply(raw))
        else:
            self._ON[d.stage](self, d, code, raw)

    def _on_rset(self, d: Delivery, code: bytes, raw: bytes) -> None:
        if code != b"250":
            self._broken(f"RSET: {read_reply(raw)}")
            return
        d.stage = Stage.MAIL
        if not self._is_pipelining:
            self._out.append(mail_command(d.envelope, d.content, self._offers, d.is_utf8))

    def _on_mail(self, d: Delivery, code: bytes, raw: bytes) -> None:
        d.stage = Stage.RCPT
        if code[0] == 0x32:
            if not self._is_pipelining:
                self._out.append(rcpt_command(d.recipients[d.pending[0]], self._offers, d.is_utf8))
            return
        if (failure := self._failure("MAIL", raw)) is None:
            return
        d.is_refused = True
        for i in d.pending:
            d.outcomes[i] = failure
        if not self._is_pipelining:
            self._end()

    def _on_rcpt(self, d: Delivery, code: bytes, raw: bytes) -> None:
        i = d.pending[d.cursor]
        if d.is_refused:
            pass
        elif code[0] == 0x32:
            d.accepted.append(i)
        elif d.accepted and _is_too_many(code, raw):
            d.rest.append(i)
        elif (failure := self._failure("RCPT", raw)) is None:
            return
        else:
            d.outcomes[i] = failure
        d.cursor += 1
        if d.cursor == len(d.pending):
            d.cursor = 0
            self._after_recipients(d)
        elif not self._is_pipelining:
            self._out.append(rcpt_command(d.recipients[d.pending[d.cursor]], self._offers, d.is_utf8))

    def _after_recipients(self, d: Delivery) -> None:
        if d.is_refused:
            d.accepted.clear()
        if d.is_bdat:
            d.stage = Stage.DOT
            d.is_void = not d.accepted
            return
        d.stage = Stage.DATA
        if not self._is_pipelining:
            if d.accepted:
                self._out.append(b"DATA\r\n")
            else:
                self._needs_rset = True
                self._end()

    def _on_data(self, d: Delivery, code: bytes, raw: bytes) -> None:
        if code == b"354":
            self._send_content(d)
            return
        if d.accepted:
            if (failure := self._failure("DATA", raw)) is None:
                return
            for i in d.accepted:
                d.outcomes[i] = failure
        elif code[0] < 0x34:
            self._broken(f"DATA: {read_reply(raw)}")
            return
        self._needs_rset = True
        self._end()

    def _on_early(self, d: Delivery, code: bytes, raw: bytes) -> None:
        """A reply while content is on its way: what it says holds, but the line is spoilt."""
        if (failure := self._failure("content", raw)) is None:
            return
        for i in d.accepted:
            d.outcomes[i] = failure
        self._end()
        self._close(f"content: {read_reply(raw)}, before its end")

    def _on_dot(self, d: Delivery, code: bytes, raw: bytes) -> None:
        if d.is_void:
            if code[0] == 0x33:
                self._broken(f"content: {read_reply(raw)}")
                return
        else:
            outcome: Outcome | None
            outcome = self._delivered(raw) if code[0] == 0x32 else self._failure("content", raw)
            if outcome is None:
                return
            if self._is_lmtp:  # RFC 2033 §4.2: one reply for each recipient that was accepted
                d.outcomes[d.accepted[d.cursor]] = outcome
                d.cursor += 1
                if d.cursor < len(d.accepted):
                    return
            else:
                for i in d.accepted:
                    d.outcomes[i] = outcome
        if d.is_bdat and (d.is_void or code[0] != 0x32):
            self._needs_rset = len(self._flight) == 1
        self._end()

    _ON: Final = {
        Stage.RSET: _on_rset,
        Stage.MAIL: _on_mail,
        Stage.RCPT: _on_rcpt,
        Stage.DATA: _on_data,
        Stage.CONTENT: _on_early,
        Stage.DOT: _on_dot,
    }

    # How a delivery ends.

    def _end(self) -> None:
        """The first delivery of the flight is over, or goes into its next round."""
        d = self._flight.popleft()
        if d.is_bdat:
            self._unacknowledged -= d.content.size_bytes
        if not d.rest:
            self._ended.append(d)
            return
        # RFC 5321 §4.5.3.1.10: what was one too many goes in a new transaction at once.
        d.pending, d.rest, d.accepted, d.cursor = d.rest, [], [], 0
        d.is_bdat = d.is_refused = d.is_void = d.is_content_out = False
        self._again.append(d)
        if self._is_halted:
            self._drop_again()

    def _drop_again(self) -> None:
        reason = "too many recipients for one transaction, and the connection ended"
        failure = TemporaryFailure(reason, NotNow.MESSAGE, TOO_MANY_RECIPIENTS, self._relay)
        while self._again:
            d = self._again.popleft()
            self._fail_open(d, failure)
            self._ended.append(d)

    def _delivered(self, raw: bytes) -> Delivered:
        detail = UNDEFINED
        if raw[4:9] != b"2.0.0" and (b"\n" in raw or raw[4:6] == b"2."):
            reply = read_reply(raw)
            text = str(reply)
            if reply.status is not None:
                detail = reply.status.what
        else:
            text = raw.decode("utf-8", "replace")
            if not text.isprintable():
                text = str(read_reply(raw))
        return Delivered(self._relay, text, detail, False, self._offers.has_dsn)

    def _failure(self, stage: str, raw: bytes) -> TemporaryFailure | PermanentFailure | None:
        """What a refusal means. A 2yz or 3yz here is out of order: the connection is broken, None."""
        reply = read_reply(raw)
        if reply.is_success:
            self._broken(f"{stage}: {reply}, out of order")
            return None
        detail = reply.status.what if reply.status is not None else _undetailed(stage, reply.code)
        reason = f"{stage}: {reply}"
        if reply.is_permanent:
            return PermanentFailure(reason, detail, self._relay, reply)
        return TemporaryFailure(reason, NotNow.MESSAGE, detail, self._relay, reply)

    def _ends_unsent(self, d: Delivery) -> bool:
        """Whether what the peer has said of itself is enough to know the end."""
        offers = self._offers
        size_bytes = d.content.size_bytes
        if offers.size_max and size_bytes > offers.size_max:  # RFC 1870 §6.1
            reason = f"the message has {size_bytes} octets and {self._relay} takes {offers.size_max}"
            return self._refuse(d, PermanentFailure(reason, MESSAGE_TOO_LARGE, self._relay))
        if d.envelope.is_smtputf8 or _has_utf8_path(d):
            d.is_utf8 = _needs_utf8(d)
            if d.is_utf8 and not offers.has_smtputf8:  # RFC 6531 §3.2
                reason = f"the message needs SMTPUTF8 and {self._relay} does not offer it"
                return self._refuse(d, PermanentFailure(reason, SMTPUTF8_NEEDED, self._relay))
        return False

    def _refuse(self, d: Delivery, failure: PermanentFailure) -> bool:
        d.outcomes = [failure] * len(d.recipients)
        return True

    # How the connection ends.

    def _on_closing(self, d: Delivery, reply: Reply) -> None:
        """421. Before content it is a word about the connection; the message goes to another one."""
        failure = TemporaryFailure(str(reply), NotNow.MESSAGE, _detail(reply), self._relay, reply)
        if d.stage > Stage.MAIL:
            self._fail_open(d, failure)
            self._ended.append(self._flight.popleft())
        self._close(None, is_refused=True)
        if self.trouble is None and d.is_put_back:
            self.doubt = str(reply)

    def _on_trouble(self, reply: Reply) -> None:
        self.trouble = reply
        failure = TemporaryFailure(str(reply), NotNow.HOST, _detail(reply), self._relay, reply)
        d = self._flight[0]
        if any(outcome is not None for outcome in d.outcomes):
            self._fail_open(d, failure)
            self._ended.append(self._flight.popleft())
        self._close(str(reply), is_refused=True)

    def _broken(self, reason: str) -> None:
        """The peer does not speak SMTP: the first delivery is not now, the rest as if it had gone."""
        if self._flight:
            d = self._flight[0]
            self._fail_open(d, TemporaryFailure(reason, NotNow.MESSAGE, BAD_PROTOCOL, self._relay))
            self._ended.append(self._flight.popleft())
        self._close(reason)

    def stream_failed(self, reason: str) -> list[Delivery]:
        """The file of the content cannot be read: no dot is sent, the connection is to be closed."""
        d = self.streaming
        assert d is not None and d is self._flight[0]
        self.streaming = None
        self._fail_open(d, TemporaryFailure(reason, NotNow.MESSAGE, LOCAL_TROUBLE, self._relay))
        self._ended.append(self._flight.popleft())
        self._close(reason)
        return self._take_ended()

    def lost(self, reason: str) -> list[Delivery]:
        """The connection has ended, or is to end because nobody answers; how the deliveries end."""
        self._close(reason)
        return self._take_ended()

    def halt(self) -> list[Delivery]:
        """Send no more content. What is not out is put back; what is out is awaited (is_idle tells)."""
        self._is_halted = True
        self.streaming = None
        while self._flight and (not self._flight[-1].is_content_out or self._flight[-1].is_void):
            d = self._flight.pop()
            self._put_back(d, "the delivery was stopped")
        self._drop_again()
        return self._take_ended()

    def _take_ended(self) -> list[Delivery]:
        ended, self._ended = self._ended, []
        return ended

    def _close(self, doubt: str | None, is_refused: bool = False) -> None:
        """No further reply is read. `is_refused`: the peer has said that it did not take the rest."""
        if not self.is_done:
            self.is_done = True
            self.doubt = doubt
        self.streaming = None
        is_first = True
        while self._flight:
            d = self._flight.popleft()
            if d.is_content_out and not d.is_void and not is_refused:
                self._fail_open(d, self._doubtful(doubt or "the connection ended"))
                self._ended.append(d)
            else:
                self._put_back(d, doubt or "the connection ended")
                d.is_blamed = is_first and d.is_put_back
            is_first = False
        self._drop_again()

    def _doubtful(self, reason: str) -> TemporaryFailure:
        text = f"{reason}, after all of the message was sent: it may have arrived, and then arrives twice"
        return TemporaryFailure(text, NotNow.MESSAGE, BAD_CONNECTION, self._relay)

    def _put_back(self, d: Delivery, reason: str) -> None:
        if all(outcome is None for outcome in d.outcomes):
            d.is_put_back = True
        else:
            self._fail_open(d, TemporaryFailure(reason, NotNow.MESSAGE, BAD_CONNECTION, self._relay))
        self._ended.append(d)

    def _fail_open(self, d: Delivery, failure: TemporaryFailure) -> None:
        """What has no outcome yet gets this one: every recipient ends exactly once."""
        d.outcomes = [failure if outcome is None else outcome for outcome in d.outcomes]


def _detail(reply: Reply) -> Detail:
    return reply.status.what if reply.status is not None else BAD_CONNECTION


def _undetailed(stage: str, code: int) -> Detail:
    """Where the reply has no enhanced status: what the code alone says for sure."""
    return MESSAGE_TOO_LARGE if code == 552 and stage == "content" else UNDEFINED


def _is_too_many(code: bytes, raw: bytes) -> bool:
    """452, or 552 which means the same (RFC 5321 §4.5.3.1.10), unless it speaks of the mailbox."""
    if code not in (b"452", b"552"):
        return False
    status = read_reply(raw).status
    return status is None or status.what in (TOO_MANY_RECIPIENTS, UNDEFINED)


def _has_utf8_path(d: Delivery) -> bool:
    reverse_path = d.envelope.reverse_path
    if reverse_path is not None and not reverse_path.text.isascii():
        return True
    for recipient in d.recipients:
        if not recipient.forward_path.text.isascii():  # a loop: any() costs a generator a message
            return True
    return False


def _needs_utf8(d: Delivery) -> bool:
    """Whether an address or the header needs SMTPUTF8; the body never does (RFC 6531 §3.6)."""
    if _has_utf8_path(d):
        return True
    if not d.envelope.is_smtputf8 or not d.content.has_8bit:
        return False
    if d.content.path:
        return True  # not worth a look into the file: who asked for SMTPUTF8 gets it
    header, _, _ = d.content.wire().partition(b"\r\n\r\n")
    return not header.isascii()
