"""Talk: what a session of the server says, below its commands: replies in order, those that wait, the end."""

from collections import deque
from typing import Final, cast

from cmail.mail import limits
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.server_states import (
    CHUNK,
    CLOSED,
    DATA,
    GREETED,
    LINES,
    READY,
    TLS,
    Answers,
    Hold,
    Rules,
    Slot,
)

_NOBODY: Final = cast(Answers, None)


class Talk:
    """A reply that waits for the disk is a Slot; those that follow wait behind it (RFC 2920 §3.2)."""

    __slots__ = (
        "_answers", "_buffer", "_count", "_errors", "_idle", "_is_utf8", "_mode", "_octets", "_out", "_over",
        "_slots", "_state", "holding", "is_tls", "rules", "said",
    )  # fmt: skip

    def __init__(
        self, rules: Rules, answers: Answers, greeting: bytes = b"", *, is_tls: bool = False
    ) -> None:
        self.rules = rules
        self._answers = answers
        self._out = [greeting] if greeting else []
        self._slots: deque[Slot] = deque()
        self._buffer = b""
        self._mode = LINES
        self._state = GREETED
        self.holding = 0  # why input is not taken now (Hold); 0: go on reading
        self._errors = 0
        self._idle = 0
        self._octets = 0  # of content that waits for the disk
        self._is_utf8 = False  # SMTPUTF8 was asked for
        self._count = 0  # recipients taken
        self._over = 0  # recipients refused for being too many
        self.is_tls = is_tls
        self.said: dict[bytes, int] = {}  # how often which command, for the log

    # What the owner of the connection calls.

    @property
    def is_over(self) -> bool:
        """All is said: close when it is written."""
        return self._mode == CLOSED and not self._slots

    @property
    def is_idle(self) -> bool:
        """Between messages, with nothing of ours outstanding."""
        return self._state <= READY and not self._slots and self._mode == LINES

    @property
    def is_in_content(self) -> bool:
        """Content is under way."""
        return self._mode == DATA or self._mode == CHUNK

    @property
    def waiting_count(self) -> int:
        """Messages whose reply waits."""
        return len(self._slots)

    def take_outgoing(self) -> bytes:
        """What is to be written now."""
        out = self._out
        if not out:
            return b""
        self._out = []
        return out[0] if len(out) == 1 else b"".join(out)

    def answer(self, slot: Slot, reply: bytes) -> None:
        """The reply that a slot waited for."""
        slot.reply = reply if slot.count == 1 else reply * slot.count
        self._octets -= slot.octets
        slots = self._slots
        while slots and slots[0].reply:
            done = slots.popleft()
            self._out.append(done.reply)
            if done.after:
                self._out += done.after
        if self.holding & Hold.REPLIES and not self._is_full():
            self.holding &= ~Hold.REPLIES
        if self._mode == TLS:
            self._begin_tls()

    def hold(self, why: int) -> None:
        """Take no input until release(): it waits in order."""
        self.holding |= why

    def release(self, why: int) -> None:
        """Input may go on: receive(b"") takes what waits."""
        self.holding &= ~why

    def end(self, reply: bytes) -> None:
        """The session ends with this reply (421)."""
        if self._mode != CLOSED:
            self._mode = CLOSED
            self.holding |= Hold.OVER
            self._buffer = b""
            self._give_up()
            (self._slots[-1].after if self._slots else self._out).append(reply)

    def part(self) -> None:
        """The connection is lost: no question more. Two objects that know each other are freed late."""
        self.end(b"")
        self._answers = _NOBODY

    # What commands call.

    def _reply(self, reply: bytes) -> None:
        if self._mode == CLOSED:
            return
        if self._slots:
            after = self._slots[-1].after
            after.append(reply)
            if len(after) >= limits.OUTSTANDING_REPLIES_MAX:
                self.holding |= Hold.REPLIES
        else:
            self._out.append(reply)
        if reply[0] > 0x33:
            self._errors += 1
            if self._errors >= self.rules.errors_max:
                self._answers.on_refused(b"", replies.TOO_MANY_ERRORS)
                self.end(replies.TOO_MANY_ERRORS)

    def _refuse(self, line: bytes, reply: bytes) -> None:
        self._idle += 1
        self._answers.on_refused(line, reply)
        self._reply(reply)

    def _is_alone(self, line: bytes, verb: bytes) -> bool:
        """A command without an argument; answered when it is not."""
        head, tail = line[: len(verb)], line[len(verb) :]
        if head.upper() != verb or (tail and not tail.startswith(b" ")):
            self._refuse(line, replies.UNKNOWN_COMMAND)
        elif tail.strip(b" "):
            self._refuse(line, replies.NO_ARGUMENT)
        else:
            return True
        return False

    def _say(self, reply: bytes) -> None:
        self._idle += 1
        self._reply(reply)

    def _tell(self, reply: bytes) -> None:
        """A refusal that is no error of the client."""
        self._errors -= 1
        self._reply(reply)

    def _is_full(self) -> bool:
        """So much waits for the disk that the client must wait too."""
        slots = self._slots
        return bool(slots) and (
            len(slots) >= limits.OUTSTANDING_MESSAGES_MAX
            or self._octets > limits.OUTSTANDING_OCTETS_MAX
            or len(slots[-1].after) >= limits.OUTSTANDING_REPLIES_MAX
        )

    def _give_up(self) -> None:
        """The transaction, if there is one, never was. The one reset (rule 8)."""
        if self._state > READY:
            self._state = READY
            self._answers.on_reset()

    def _begin_tls(self) -> None:
        if not self._slots and not self.holding & Hold.HOUSE:
            self.holding |= Hold.HOUSE
            self._out.append(replies.READY_FOR_TLS)
            self._answers.on_starttls()
