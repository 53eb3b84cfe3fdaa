"""Frame: what is known of content while it comes, from DATA or from chunks; gives it out in wire form."""

from typing import Final

from cmail.protocol.smtp.content import (
    AFTER_CR,
    BARE,
    HELD,
    LINE_START,
    LONE_DOT,
    WITHIN,
    double_dots,
    scan,
    scan_plain,
    stuff_piece,
)

NOT_YET: Final = -1


class Frame:
    """One for a session, begun anew for each message. `wire_bytes` counts what was given out."""

    __slots__ = ("_state", "dots", "seen", "wire_bytes")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Another message."""
        self._state = LINE_START
        self.seen = 0
        self.dots = 0  # doubled ones
        self.wire_bytes = 0

    @property
    def size_bytes(self) -> int:
        """Unstuffed size so far."""
        return self.wire_bytes - self.dots

    @property
    def is_bare(self) -> bool:
        """A bare CR, a bare LF or a NUL was in it."""
        return bool(self.seen & BARE)

    def read_data(self, data: bytes, at: int) -> tuple[int, bytes]:
        """DATA: where the octets behind the final dot begin (or NOT_YET), and the content before it."""
        state = self._state
        end, after, seen, dots = scan(data, at, state)
        stop = end - 3 if end >= 0 else len(data)
        if state <= LINE_START:
            piece = data[at:stop]
        else:  # what was held back is content, unless it was the beginning of the end
            piece = HELD[state] + data[at:stop] if stop >= at else b""
        if after > LINE_START:
            piece = piece[: -len(HELD[after])]
        if seen & LONE_DOT and not seen & BARE:
            piece, dots = double_dots(piece, state)
        self._state = after
        self.seen |= seen
        self.dots += dots
        self.wire_bytes += len(piece)
        return end, piece

    def read_chunk(self, piece: bytes) -> bytes:
        """Some of a BDAT chunk (RFC 3030), which is not stuffed."""
        state = self._state
        self._state, seen, dots = scan_plain(piece, state)
        if dots:
            piece = stuff_piece(piece, state)
        self.seen |= seen
        self.dots += dots
        self.wire_bytes += len(piece)
        return piece

    def end_chunks(self) -> bytes:
        """The last chunk is here. What is to be added: a last line without an end gets one, because DATA,
        by which the message may be sent on, cannot do without."""
        if self._state == AFTER_CR:
            self.seen |= BARE
        if self._state != WITHIN:
            return b""
        self.wire_bytes += 2
        return b"\r\n"
