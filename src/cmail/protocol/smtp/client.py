"""Client side of SMTP and LMTP after the handshake: transactions, pipelined; replies in, octets out."""

from dataclasses import replace
from typing import Final

from cmail.mail.outcome import Outcome
from cmail.mail.priority import tunnel_field
from cmail.protocol.smtp.client_commands import mail_command
from cmail.protocol.smtp.client_delivery import Delivery, Stage
from cmail.protocol.smtp.client_flight import Flight
from cmail.protocol.smtp.client_offers import Offers
from cmail.protocol.smtp.client_outcomes import delivered, is_too_many, unsent
from cmail.protocol.smtp.client_replies import read_reply
from cmail.protocol.smtp.client_window import Window

_LOG_IN_TROUBLE: Final = (b"530", b"535", b"538")  # RFC 4954 §6: what is wrong between us and our upstream


class SmtpClient(Flight):
    """The machine. begin() deliveries while can_take, feed receive(), write take_outgoing()."""

    def __init__(
        self,
        offers: Offers,
        relay: str,
        *,
        is_lmtp: bool = False,
        is_upstream: bool = True,
        is_fresh: bool = True,
    ) -> None:
        """`is_fresh`: nothing was sent on the connection before."""
        super().__init__(offers, relay)
        self._is_lmtp = is_lmtp
        self._is_upstream = is_upstream
        self._is_pipelining = offers.has_pipelining
        self._is_chunking = offers.has_chunking and offers.has_pipelining
        self._flight_max = 2
        self._octets_max = 0
        self.window = Window()
        self._out: list[bytes] = []
        self._needs_rset = not is_fresh  # the last transaction may still be open at the peer
        self.replies_count = 0  # that were read

    # What the driver asks.

    @property
    def window(self) -> Window:
        """How much may be out before it is acknowledged; the driver sets it."""
        return self._window

    @window.setter
    def window(self, window: Window) -> None:
        self._window = window
        self._flight_max = window.messages if self._is_chunking else 2
        self._octets_max = window.octets

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
            and self._unacknowledged < self._octets_max
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
        failure = unsent(delivery, self._offers, self._relay, self._is_lmtp)
        if failure is not None:
            delivery.fail_open(failure)
            return False
        if delivery.envelope.priority:
            self._tunnel(delivery)
        self._send(delivery)
        return True

    def _tunnel(self, d: Delivery) -> None:
        """RFC 6758: a host of ours that does not offer MT-PRIORITY may be followed by one that does, and
        gets it as a field. Strangers would not believe it."""
        if self._is_upstream and not self._is_lmtp and not self._offers.has_mt_priority:
            field, content = tunnel_field(d.envelope.priority), d.content
            d.content = replace(
                content, prefix=field + content.prefix, size_bytes=content.size_bytes + len(field)
            )

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
        out.append(mail_command(d.envelope, d.content, self._offers, d.is_utf8, d.by_s))
        if not self._is_pipelining:
            return
        for i in d.pending:
            out.append(self._rcpt(d, i))
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
        found = replies.feed(data)
        self.replies_count += len(found)
        if len(found) > 1 and not self._is_pipelining:
            self._receive_in_step(found)
        else:
            for raw in found:
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

    def _receive_in_step(self, found: list[bytes]) -> None:
        """Where one command is out at a time two replies at once belong together only behind content (LMTP).
        A 5yz that came of itself must not be taken for the refusal of the next command."""
        for count, raw in enumerate(found):
            is_early = count and self._flight and self._flight[0].stage is not Stage.DOT
            if is_early and raw[:3] != b"421":
                self._broken(f"the server said more than it was asked: {read_reply(raw)}")
            else:
                self._on_reply(raw)
            if self.is_done:
                break

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
            self._out.append(mail_command(d.envelope, d.content, self._offers, d.is_utf8, d.by_s))

    def _on_mail(self, d: Delivery, code: bytes, raw: bytes) -> None:
        d.stage = Stage.RCPT
        if code[0] == 0x32:
            if not self._is_pipelining:
                self._out.append(self._rcpt(d, d.pending[0]))
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
        elif d.accepted and is_too_many(code, raw):
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
            self._out.append(self._rcpt(d, d.pending[d.cursor]))

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
            if code[0] == 0x32:
                outcome = delivered(raw, self._relay, self._offers.has_dsn)
                if d.by_s is not None and self._offers.has_deliverby:
                    outcome = replace(outcome, is_by_passed_on=True)
            elif (outcome := self._failure("content", raw)) is None:
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
