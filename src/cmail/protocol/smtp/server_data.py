"""DataTalk: content by DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030), up to the Slot of its reply."""

from cmail.mail import limits
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.commands import CommandError, check_octets, parse_bdat
from cmail.protocol.smtp.content import BARE
from cmail.protocol.smtp.server_content import Frame
from cmail.protocol.smtp.server_states import (
    CHUNK,
    CHUNKS_GIVEN,
    DATA,
    LINES,
    RCPT_GIVEN,
    READY,
    REFUSALS,
    Answers,
    Hold,
    Rules,
    Slot,
)
from cmail.protocol.smtp.server_talk import Talk


class DataTalk(Talk):
    """What is refused is read to its end all the same, and thrown away: none of it is ever a command."""

    __slots__ = ("_bad", "_chunk_left", "_chunk_size", "_frame", "_is_last")

    def __init__(
        self, rules: Rules, answers: Answers, greeting: bytes = b"", *, is_tls: bool = False
    ) -> None:
        super().__init__(rules, answers, greeting, is_tls=is_tls)
        self._frame = Frame()
        self._bad = b""  # the reply once content is refused
        self._chunk_left = self._chunk_size = 0
        self._is_last = False

    def _on_data(self, line: bytes) -> None:
        if line != b"DATA" and not self._is_alone(line, b"DATA"):
            return
        if self._state != RCPT_GIVEN:
            return self._refuse(line, REFUSALS["DATA"][self._state])
        refusal = self._answers.on_data()
        if refusal:
            return self._refuse(line, refusal)
        self._begin_content()
        self._reply(replies.GO_AHEAD)
        self._mode = DATA

    def _begin_content(self) -> None:
        self._frame.begin()
        self._bad = b""  # the reply once content is refused; the rest is thrown away

    def _read_data(self, data: bytes, at: int) -> int:
        end, piece = self._frame.read_data(data, at)
        self._take(piece, is_last=end >= 0)
        return end if end >= 0 else len(data)

    def _take(self, piece: bytes, *, is_last: bool) -> None:
        if not self._bad:
            self._check_content()
        if is_last:
            self._finish(piece)
        elif piece and not self._bad:
            self._answers.on_piece(piece)

    def _check_content(self) -> None:
        if self._frame.seen & BARE:
            self._drop(replies.BAD_OCTETS)
        elif self._frame.wire_bytes - self._frame.dots > self.rules.size_max:
            self._drop(replies.TOO_LARGE)

    def _drop(self, reply: bytes) -> None:
        self._bad = reply
        self._answers.on_drop(reply)

    def _finish(self, piece: bytes) -> None:
        """The transaction is over: one reply, or for LMTP one a recipient (RFC 2033 §4.2)."""
        self._mode = LINES
        self._state = READY
        count = self._count if self.rules.kind == "lmtp" else 1
        if self._bad:
            self._answers.on_reset()
            self._idle += 1
            for _ in range(count):
                self._reply(self._bad)
            return
        self._idle = self._errors = self._over = 0
        frame = self._frame
        size = frame.wire_bytes
        slot = Slot(count, size)
        self._slots.append(slot)
        self._octets += size
        self._answers.on_message(slot, piece, size - frame.dots, frame.seen)
        if self._slots and self._is_full():
            self.holding |= Hold.REPLIES

    def _on_bdat(self, line: bytes) -> None:
        try:
            check_octets(line)
            bdat = parse_bdat(line)
        except CommandError as error:
            # How long its chunk is nobody knows, and none of it may be read as a command: the session ends.
            self._refuse(line, error.reply)
            return self.end(replies.BYE)
        if self._state != CHUNKS_GIVEN:
            self._begin_chunks(line)
        if self._frame.size_bytes + bdat.size_bytes > self.rules.size_max and not self._bad:
            self._drop(replies.TOO_LARGE)
        self._chunk_left = self._chunk_size = bdat.size_bytes
        self._is_last = bdat.is_last
        self._mode = CHUNK
        if not bdat.size_bytes:
            self._end_chunk(b"")

    def _begin_chunks(self, line: bytes) -> None:
        """The first chunk; in a wrong state it is read and thrown away all the same (RFC 3030 §2)."""
        self._begin_content()
        if self._state != RCPT_GIVEN:
            self._bad = REFUSALS["BDAT"][self._state]
            self._answers.on_refused(line, self._bad)
            return
        self._state = CHUNKS_GIVEN
        refusal = self._answers.on_data()
        if refusal:
            self._drop(refusal)

    def _read_chunk(self, data: bytes, at: int) -> int:
        stop = min(at + self._chunk_left, len(data))
        self._chunk_left -= stop - at
        piece = b"" if self._bad else self._frame.read_chunk(data[at:stop])
        if self._chunk_left:
            self._take(piece, is_last=False)
        else:
            self._end_chunk(piece)
        return stop

    def _end_chunk(self, piece: bytes) -> None:
        if self._state != CHUNKS_GIVEN:
            self._mode = LINES
            return self._reply(self._bad)
        if self._is_last:
            if not self._bad:
                piece += self._frame.end_chunks()
            return self._take(piece, is_last=True)
        self._take(piece, is_last=False)
        self._mode = LINES
        self._idle += (
            self._chunk_size < limits.CHUNK_OCTETS_MIN
        )  # a large message has many; a tiny one is play
        self._reply(self._bad or replies.OK)
