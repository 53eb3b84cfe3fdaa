"""Session: the transactions of one connection; feeds the client machine, takes from the Work."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Final, cast

from cmail.delivery.agent import PAUSE_MAX_S, Transaction, Work
from cmail.delivery.content_files import pieces
from cmail.delivery.fit import (
    acknowledged,
    drop_unsent,
    never_sent,
    round_trip_s,
    still_answers,
    unacknowledged,
)
from cmail.delivery.line import Line, SessionLimits
from cmail.mail.limits import (
    CLIENT_BLOCK_TIMEOUT_S,
    CLIENT_DATA_TIMEOUT_S,
    CLIENT_DOT_TIMEOUT_S,
    CLIENT_MAIL_TIMEOUT_S,
    CLIENT_QUIT_TIMEOUT_S,
    CLIENT_RATE_MIN,
    CLIENT_RCPT_TIMEOUT_S,
)
from cmail.mail.outcome import Delivered, NotNow, TemporaryFailure
from cmail.mail.status import BAD_CONNECTION
from cmail.observe.metrics import LINK_MESSAGES
from cmail.protocol.smtp.client import SmtpClient
from cmail.protocol.smtp.client_delivery import Delivery, Stage
from cmail.protocol.smtp.client_window import window_for

HALTED_DOT_TIMEOUT_S: Final = 60.0  # a final dot is out and the link goes down: fewer duplicates

STAGE_TIMEOUTS_S: Final = {
    None: CLIENT_MAIL_TIMEOUT_S,
    Stage.RSET: CLIENT_MAIL_TIMEOUT_S,
    Stage.MAIL: CLIENT_MAIL_TIMEOUT_S,
    Stage.RCPT: CLIENT_RCPT_TIMEOUT_S,
    Stage.DATA: CLIENT_DATA_TIMEOUT_S,
    Stage.CONTENT: CLIENT_BLOCK_TIMEOUT_S,
    Stage.DOT: CLIENT_DOT_TIMEOUT_S,
}
_MESSAGES_OUT: Final = LINK_MESSAGES.of("out")
_STAGE_NAMES: Final = {Stage.DOT: "the end of the content", Stage.CONTENT: "the content"}


class Session(Line):
    """First shake(), then converse(). Each transaction that is taken is settled or put back once, however
    the connection ends; then `ended` is done. One timer serves all time-outs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: SessionLimits) -> None:
        super().__init__(loop, limits)
        self._machine: SmtpClient | None = None
        self._work: Work | None = None
        self._taken = 0
        self._rested = 0  # messages that were answered when it idled last
        self._round_trip_s = 0.0
        self._awaited: tuple[int, Stage | None] | None = None  # the reply that the deadline is for
        self.settled = 0
        self._is_counted = False
        self.has_delivered = False
        self.error: Exception | None = None  # a mistake of ours that ended it
        self.was_idle = False  # when the connection was lost
        self.is_message_blamed = False  # the connection ended at a message for the second time
        self._blame: Callable[[Transaction], bool] = lambda transaction: False
        self._monotonic: Callable[[], float] = loop.time
        self._is_write_paused = False
        self._unsent = 0  # octets, when the time was up and the line was slow; 0: it was not
        self._writable: asyncio.Future[None] | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._more: asyncio.Future[None] | None = None
        self._is_stopping = False
        self._is_quitting = False

    def count(self) -> None:
        """What goes over it is the link's, and counted."""
        super().count()
        self._is_counted = True

    def acknowledged(self) -> int:
        """Octets that the peer's end of the connection has said to have."""
        return acknowledged(self._socket)

    async def is_there(self) -> bool:
        """Whether the peer's end of the connection still answers, within seconds."""
        return await still_answers(self._socket, self.ended.done)

    @property
    def closed_after(self) -> int:
        """After so many messages the peer closed, with more behind them. 0: it did not, or when it had
        idled, and patience may have been over."""
        after = self._machine.closed_after if self._machine is not None else 0
        return after if after > self._rested else 0

    # Transactions.

    def converse(
        self,
        machine: SmtpClient,
        work: Work,
        monotonic: Callable[[], float],
        blame: Callable[[Transaction], bool],
    ) -> None:
        """Take and settle until nothing is left and the idle time is over; `ended` tells."""
        self._machine, self._work = machine, work
        fit, self._round_trip_s = self._limits.fit, round_trip_s(self._socket)
        machine.window = window_for(fit.rate, self._round_trip_s)
        fit.settle(self._socket, self._round_trip_s)
        self._monotonic, self._blame = monotonic, blame
        if self._lost_reason:
            self._fail(self._lost_reason)
        elif self._came or not self._replies.is_clean:
            self._fail("the server said more than it was asked")
        else:
            self._pump()
            return
        self.was_idle = False  # nothing could be sent: the next host is to be tried

    def data_received(self, data: bytes) -> None:
        """From the transport."""
        machine = self._machine
        if machine is None:
            super().data_received(data)
            return
        self._got.value += len(data)
        if self._is_quitting:
            self._close()
            return
        try:
            ended = machine.receive(data)
            if ended:
                for delivery in ended:
                    self._end(delivery)
            if machine.is_done:
                self._finish()
            else:
                self._pump()
        except Exception as error:
            self._mistaken(error)

    def _mistaken(self, error: Exception) -> None:
        """asyncio would only log it, and leave the transactions taken."""
        self.error = error
        self.fail("a mistake of ours ended the connection")

    def _pump(self) -> None:
        try:
            self._take_and_write()
        except Exception as error:
            self._mistaken(error)

    def _take_and_write(self) -> None:
        """Take what the machine can carry, write what it has to say, all in one write."""
        machine, work = self._machine, self._work
        assert machine is not None and work is not None
        while machine.can_take and not self._is_write_paused and self._taken < self._limits.transactions_max:
            transaction = work.take()
            if transaction is None:
                break
            self._taken += 1
            transaction.started = self._monotonic()
            recipients = [queued.recipient for queued in transaction.recipients]
            message = transaction.message
            delivery = Delivery(transaction, message.envelope, recipients, message.content, transaction.by_s)
            if not machine.begin(delivery):
                self._end(delivery)
        out = machine.take_outgoing()
        if out:
            self._write(b"".join(out))
        if machine.streaming is not None and self._streaming is None:
            self._streaming = self._loop.create_task(self._stream(machine.streaming), name="content")
        if machine.is_idle:
            self._awaited = None
            self._rest(work)
            return
        # RFC 5321 §4.5.3.2: a reply has its time as a whole, or who sends an octet now and then holds us.
        awaited = (machine.replies_count, machine.stage)
        if awaited != self._awaited:
            self._awaited = awaited
            self._unsent = 0
            self._set_deadline(STAGE_TIMEOUTS_S[machine.stage])

    def _end(self, delivery: Delivery) -> None:
        transaction = cast(Transaction, delivery.token)
        work, machine = self._work, self._machine
        assert work is not None and machine is not None
        if delivery.is_put_back:
            if not (delivery.is_blamed and machine.trouble is None and self._blame(transaction)):
                work.put_back(transaction)
                return
            self.is_message_blamed = True
            reason = f"the connection ended at this message, twice: {machine.doubt}"
            failure = TemporaryFailure(reason, NotNow.MESSAGE, BAD_CONNECTION)
            work.settle(transaction, {queued.position: failure for queued in transaction.recipients})
            return
        self.settled += 1
        outcomes = delivery.outcomes
        settled = {}
        for queued, outcome in zip(transaction.recipients, outcomes, strict=True):
            assert outcome is not None, "every recipient ends exactly once"
            settled[queued.position] = outcome
        if not self.has_delivered:
            self.has_delivered = any(type(outcome) is Delivered for outcome in outcomes)
        if self._is_counted and any(type(outcome) is Delivered for outcome in outcomes):
            _MESSAGES_OUT.value += 1
        work.settle(transaction, settled)

    # Idling.

    def _rest(self, work: Work) -> None:
        if self._is_stopping:
            self._finish()
        elif self._taken >= self._limits.transactions_max:
            self._quit()
        elif self._more is None and not self._is_quitting:
            more = self._more = asyncio.ensure_future(work.more())
            more.add_done_callback(self._on_more)
            self._waits_for = "idle"
            idle_s = self._limits.fit.idle_s(self._limits.idle_s)
            self._set_deadline(idle_s / self._limits.patience)

    def _on_more(self, more: "asyncio.Future[None]") -> None:
        if self._more is not more:
            return
        self._more = None
        if more.cancelled() or self._is_quitting or self.ended.done():
            return
        if more.exception() is not None:
            self._quit()
        else:
            self._rested = self._machine.answered if self._machine is not None else 0
            self._pump()

    def _forget_more(self) -> None:
        more, self._more = self._more, None
        if more is not None:
            more.remove_done_callback(self._on_more)
            more.cancel()

    # Content from files.

    async def _stream(self, delivery: Delivery) -> None:
        machine = self._machine
        assert machine is not None
        content = delivery.content
        count = 0
        try:
            if content.prefix:
                self._write(content.prefix)
            async with aclosing(pieces(content.path)) as octets:
                async for piece in octets:
                    for part in self._parts(piece):
                        if machine.streaming is not delivery:
                            return
                        count += len(part)
                        self._write(part)
                        self._unsent = 0
                        self._set_deadline(CLIENT_BLOCK_TIMEOUT_S)
                        await self._drained()
                        self._refit()
                        await self._carried()
                        await self._let_pass()
        except OSError as error:
            self._stream_failed(f"the content of the message cannot be read: {error.strerror}")
            return
        finally:
            self._streaming = None
        if machine.streaming is not delivery:
            return
        if content.wire_bytes and count != content.wire_bytes:
            self._stream_failed(f"the content of the message has {count} of {content.wire_bytes} octets")
            return
        machine.streamed()
        self._pump()

    def _parts(self, piece: bytes) -> Iterable[bytes | memoryview]:
        """On a thin link a piece is minutes: smaller mail would wait behind it."""
        size = self._limits.fit.piece_octets
        if not size or len(piece) <= size:
            return (piece,)
        view = memoryview(piece)
        return (view[start : start + size] for start in range(0, len(piece), size))

    def _refit(self) -> None:
        """Whoever gives the link another rate does not wait for what a connection has in hand: large mail
        could go on for hours at the rate of before."""
        fit, limits = self._limits.fit_now(), self._limits
        if fit is None or fit == limits.fit or self._transport is None:
            return
        self._limits = replace(limits, fit=fit)
        self._transport.set_write_buffer_limits(fit.buffer_max)
        fit.suit_anew(self._socket)
        fit.settle(self._socket, self._round_trip_s)
        if self._machine is not None:
            self._machine.window = window_for(fit.rate, self._round_trip_s)

    async def _carried(self) -> None:
        """On a thin link: the kernel has not much left of what went before, if the link is what it is said
        to be; else the next piece waits longer."""
        rest_s = self._limits.fit.rest_s(self._socket, self._round_trip_s)
        if rest_s:
            await asyncio.sleep(rest_s)

    async def _let_pass(self) -> None:
        """Smaller mail on another connection goes first, where the line cannot carry both."""
        assert self._work is not None
        pause = self._work.pause()
        if pause is not None:
            self._set_deadline(PAUSE_MAX_S + CLIENT_BLOCK_TIMEOUT_S)
            await pause

    def _stream_failed(self, reason: str) -> None:
        machine = self._machine
        assert machine is not None
        if machine.streaming is not None:
            for delivery in machine.stream_failed(reason):
                self._end(delivery)
            self._finish()

    async def _drained(self) -> None:
        if self._is_write_paused:
            self._writable = self._loop.create_future()
            await self._writable

    def pause_writing(self) -> None:
        """From the transport: the peer is slower than we are."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """From the transport."""
        self._is_write_paused = False
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        elif self._machine is not None and not self._is_quitting and not self.ended.done():
            self._pump()

    # The end.

    def stop(self) -> bool:
        """The link is down or we stop: what is not out is put back. True: a final dot awaits its reply."""
        self._is_stopping = True
        machine = self._machine
        if machine is None or self.ended.done():
            self._close()
            return False
        for delivery in machine.halt():
            self._end(delivery)
        if machine.is_idle:
            self._finish()
            return False
        self._set_deadline(HALTED_DOT_TIMEOUT_S)
        return True

    def fail(self, reason: str) -> None:
        """Give up on the connection now."""
        if self._machine is not None and not self.ended.done():
            self._fail(reason)
        else:
            self._close()

    def _fail(self, reason: str, *, is_by_peer: bool = False) -> None:
        machine = self._machine
        assert machine is not None
        try:
            if not machine.is_done:
                self.was_idle = machine.is_idle
                for delivery in machine.lost(reason, self._never_sent(), is_by_peer=is_by_peer):
                    self._end(delivery)
        finally:
            self._finish()

    def _never_sent(self) -> int:
        """Octets that we wrote and that never leave this machine: a message that ends in them is not
        doubted. Under TLS records are counted, which are longer: half of it is certain."""
        transport, sock = self._transport, self._socket
        if transport is None or sock is None:
            return 0
        drop_unsent(sock)
        octets = transport.get_write_buffer_size() + never_sent(sock)
        return octets // 2 if transport.get_extra_info("ssl_object") is not None else octets

    def _quit(self) -> None:
        """In order (RFC 5321 §4.1.1.10); over a thin link nobody waits a round trip for the good-bye."""
        self._forget_more()
        self._is_quitting = True
        self._waits_for = "QUIT"
        self._write(b"QUIT\r\n")
        if self._limits.fit.rate and self._transport is not None:
            self._transport.close()
            self._ended()
        else:
            self._set_deadline(CLIENT_QUIT_TIMEOUT_S)

    def _finish(self) -> None:
        self._forget_more()
        self._close()

    def _close(self) -> None:
        if self._streaming is not None:
            self._streaming.cancel()
            self._streaming = None
        super()._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """From the transport."""
        super().connection_lost(exc)
        if self._machine is not None and not self.ended.done():
            # Who closes while something is there to be read resets (RFC 9293 §3.6.1).
            is_by_peer = exc is None or isinstance(exc, ConnectionResetError | BrokenPipeError)
            self._fail(self._lost_reason, is_by_peer=is_by_peer)

    def _timed_out(self) -> None:
        if self._machine is None:
            super()._timed_out()
        elif self._is_quitting:
            self._close()
        elif self._more is not None:
            self._quit()
        elif self._is_slow():
            self._set_deadline(
                CLIENT_BLOCK_TIMEOUT_S if self._unsent else STAGE_TIMEOUTS_S[self._machine.stage]
            )
        else:
            stage = self._machine.stage
            name = _STAGE_NAMES.get(stage, stage.name) if stage is not None else "nothing"
            self._fail(f"no reply in time, to {name}")

    def _is_slow(self) -> bool:
        """Whether what we wrote is still on its way, in our buffers or in the kernel's: the peer's time
        begins when it has all of it, and half a megabyte takes a satellite half an hour. A peer that reads
        next to nothing is not waited for."""
        unsent = 0
        if self._transport is not None:
            unsent = self._transport.get_write_buffer_size() + unacknowledged(self._socket)
        before, self._unsent = self._unsent, unsent
        if not before:
            return unsent > 0
        return unsent <= max(0, before - CLIENT_RATE_MIN * CLIENT_BLOCK_TIMEOUT_S)
