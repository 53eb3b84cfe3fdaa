"""Flight: the deliveries that are under way on one client connection, and how each of them ends, and it."""

from collections import deque
from typing import Final

from cmail.mail.outcome import NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.reply import Reply
from cmail.mail.status import BAD_CONNECTION, BAD_PROTOCOL, LOCAL_TROUBLE, TOO_MANY_RECIPIENTS, Detail
from cmail.protocol.smtp.client_commands import mail_command, rcpt_command, wanting_delay
from cmail.protocol.smtp.client_delivery import Delivery, Stage
from cmail.protocol.smtp.client_offers import Offers
from cmail.protocol.smtp.client_outcomes import detail_of, refused
from cmail.protocol.smtp.client_replies import Replies, read_reply

DOUBT: Final = "it may have arrived, and then arrives twice"
DOUBT_MAX: Final = 500


class Flight:
    """Deliveries end in the order in which they began. `is_done`: close the connection now; `doubt` then says
    why, None when it ended in order. `trouble` is a reply that means that our log-in is not good."""

    def __init__(self, offers: Offers, relay: str) -> None:
        self._offers = offers
        self._relay = relay
        self._replies = Replies()
        self._flight: deque[Delivery] = deque()
        self._again: deque[Delivery] = deque()  # in their next round, as soon as the line is free
        self._ended: list[Delivery] = []
        self._unacknowledged = 0  # octets sent by BDAT
        self._is_halted = False
        self.answered = 0  # deliveries that ended by a reply
        self.closed_after = 0  # so many, and then the peer closed and had not looked at those behind them
        self.doubted = 0  # deliveries put back though they may have arrived: we ended it, not the peer
        self.streaming: Delivery | None = None  # its content's file is to be sent now, then streamed()
        self.is_done = False
        self.doubt: str | None = None
        self.trouble: Reply | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no delivery is under way."""
        return not self._flight and not self._again

    @property
    def stage(self) -> Stage | None:
        """Which reply is next; None when none is."""
        return self._flight[0].stage if self._flight else None

    # How a delivery ends.

    def _end(self) -> None:
        """The first delivery of the flight is over, or goes into its next round."""
        d = self._flight.popleft()
        self.answered += 1
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
            d.fail_open(failure)
            self._ended.append(d)

    def _failure(self, stage: str, raw: bytes) -> TemporaryFailure | PermanentFailure | None:
        """What a refusal means. A 2yz or 3yz here is out of order: the connection is broken, None."""
        failure = refused(stage, raw, self._relay)
        if failure is None:
            self._broken(f"{stage}: {read_reply(raw)}, out of order")
        return failure

    def _put_back(self, d: Delivery, reason: str, detail: Detail = BAD_CONNECTION) -> None:
        if all(outcome is None for outcome in d.outcomes):
            d.is_put_back = True
        else:
            d.fail_open(TemporaryFailure(reason, NotNow.MESSAGE, detail, self._relay))
        self._ended.append(d)

    def _take_ended(self) -> list[Delivery]:
        ended, self._ended = self._ended, []
        return ended

    # How the connection ends.

    def lost(self, reason: str, unsent: int = 0, *, is_by_peer: bool = False) -> list[Delivery]:
        """The connection has ended, or is to end because nobody answers; how the deliveries end. The
        last `unsent` octets that we wrote never leave this machine. `is_by_peer`: the peer closed it."""
        self._take_in(unsent)
        self._close(reason, is_by_peer=is_by_peer)
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

    def stream_failed(self, reason: str) -> list[Delivery]:
        """The file of the content cannot be read: no dot is sent, the connection is to be closed."""
        d = self.streaming
        assert d is not None and d is self._flight[0]
        self.streaming = None
        d.fail_open(TemporaryFailure(reason, NotNow.MESSAGE, LOCAL_TROUBLE, self._relay))
        self._ended.append(self._flight.popleft())
        self._close(reason)
        return self._take_ended()

    def _on_closing(self, d: Delivery, reply: Reply) -> None:
        """421. Before content it is a word about the connection; the message goes to another one."""
        failure = TemporaryFailure(str(reply), NotNow.MESSAGE, detail_of(reply), self._relay, reply)
        is_between = d.stage <= Stage.MAIL
        if not is_between:
            d.fail_open(failure)
            self._ended.append(self._flight.popleft())
        self._close(None, is_refused=True, is_by_peer=is_between)
        if self.trouble is None and d.is_put_back:
            self.doubt = str(reply)

    def _on_trouble(self, reply: Reply) -> None:
        self.trouble = reply
        failure = TemporaryFailure(str(reply), NotNow.HOST, detail_of(reply), self._relay, reply)
        d = self._flight[0]
        if any(outcome is not None for outcome in d.outcomes):
            d.fail_open(failure)
            self._ended.append(self._flight.popleft())
        self._close(str(reply), is_refused=True)

    def _broken(self, reason: str) -> None:
        """The peer does not speak SMTP. What is out may have been taken, whatever it meant to say; the
        rest goes to another connection, or another host."""
        self._close(reason, detail=BAD_PROTOCOL)

    def _close(
        self,
        doubt: str | None,
        *,
        is_refused: bool = False,
        is_by_peer: bool = False,
        detail: Detail = BAD_CONNECTION,
    ) -> None:
        """No further reply is read. `is_refused`: the peer has said that it did not take the rest.

        `is_by_peer`: it closed. When it has answered others here, it has not looked at those whose MAIL it
        did not answer: replies come in the order of the commands (RFC 2920 §3.2). Where it has answered
        none, what it read cannot be known; so each such end has brought something to its end, and is not
        for ever."""
        if not self.is_done:
            self.is_done = True
            self.doubt = doubt
        self.streaming = None
        flight = self._flight
        is_between = is_by_peer and self.answered > 0 and self._replies.is_clean
        if is_between and flight and flight[0].stage <= Stage.MAIL:
            self.closed_after = self.answered
        while flight:
            d = flight.pop()  # the last first: what is put back stands as it stood
            is_unread = is_between and d.stage <= Stage.MAIL
            if not d.is_content_out or d.is_void or is_refused or is_unread:
                self._put_back(d, doubt or "the connection ended", detail)
                d.is_blamed = d.is_put_back and not flight and not is_unread
            elif self._is_halted:
                self._put_back(d, doubt or "the connection ended", detail)
                self.doubted += d.is_put_back
            else:
                d.fail_open(self._doubtful(doubt or "the connection ended", detail))
                self._ended.append(d)
        self._drop_again()

    def _doubtful(self, reason: str, detail: Detail) -> TemporaryFailure:
        # A reply that was none may be long, and what is kept of a reason may end before the warning.
        text = f"{reason[:DOUBT_MAX]}, after all of the message was sent: {DOUBT}"
        return TemporaryFailure(text, NotNow.MESSAGE, detail, self._relay)

    def _take_in(self, unsent: int) -> None:
        """Whose content ends in octets that were never sent cannot have been taken: it is not doubted."""
        for d in reversed(self._flight):
            if unsent <= 0 or not d.is_content_out:
                return
            d.is_content_out = False
            unsent -= self._octets_at_most(d)

    def _octets_at_most(self, d: Delivery) -> int:
        """How many octets it was, from RSET to the end of its content."""
        offers = self._offers
        commands = mail_command(d.envelope, d.content, offers, d.is_utf8, d.by_s)
        recipients = (self._rcpt(d, i) for i in d.pending)
        return (
            100 + len(commands) + sum(map(len, recipients)) + max(d.content.size_bytes, d.content.wire_bytes)
        )

    def _rcpt(self, d: Delivery, index: int) -> bytes:
        recipient, offers = d.recipients[index], self._offers
        if d.by_s is not None and not offers.has_deliverby:
            recipient = wanting_delay(recipient)
        return rcpt_command(recipient, offers, d.is_utf8)
