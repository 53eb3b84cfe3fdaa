"""QueueId: 63 bits that name a message for ever: milliseconds, shard, sequence; base32 for people."""

from collections.abc import Callable
from typing import Final, NewType

QueueId = NewType("QueueId", int)

SHARD_BITS: Final = 8
SEQUENCE_BITS: Final = 13
SHARDS_MAX: Final = 1 << SHARD_BITS
_LOW_BITS: Final = SHARD_BITS + SEQUENCE_BITS
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O, U: read over the telephone
_VALUES: Final = {c: v for v, c in enumerate(_DIGITS)}
_LENGTH: Final = 13  # 63 bits, 5 a digit
_MS_MAX: Final = (1 << 42) - (1 << 36)  # the year 2107: a clock beyond it is wrong, and ids go on below
_PAIRS: Final = [a + b for a in _DIGITS for b in _DIGITS]  # two digits at once: a third of the time


def print_queue_id(queue_id: int) -> str:
    """13 base32 digits; sorts as the numbers do."""
    q, pairs = queue_id, _PAIRS
    return (
        f"{_DIGITS[q >> 60]}{pairs[q >> 50 & 1023]}{pairs[q >> 40 & 1023]}{pairs[q >> 30 & 1023]}"
        f"{pairs[q >> 20 & 1023]}{pairs[q >> 10 & 1023]}{pairs[q & 1023]}"
    )


def parse_queue_id(text: str) -> QueueId:
    """The number of a printed queue id; ValueError when it is none."""
    number = 0
    if len(text) != _LENGTH:
        raise ValueError(f"{text!r} is not a queue id: {_LENGTH} letters and digits")
    for c in text.upper():
        if c not in _VALUES:
            raise ValueError(f"{text!r} is not a queue id: {c!r} is not in its alphabet")
        number = number << 5 | _VALUES[c]
    if number >> 63:
        raise ValueError(f"{text!r} is not a queue id: too large")
    return QueueId(number)


def arrival_ms(queue_id: int) -> int:
    """Wall milliseconds since 1970 at which the id was made (never earlier than the one before)."""
    return queue_id >> _LOW_BITS


class QueueIds:
    """Makes the ids of one shard; they never go back, also when the clock does."""

    def __init__(self, shard: int, wall_ms: Callable[[], int], last: int = 0) -> None:
        assert 0 <= shard < SHARDS_MAX
        self._shard = shard << SEQUENCE_BITS
        self._wall_ms = wall_ms
        self._ms = last >> _LOW_BITS
        self._sequence = (last & ((1 << SEQUENCE_BITS) - 1)) if last else -1

    def new(self) -> QueueId:
        """The next id, larger than all before."""
        now = min(self._wall_ms(), _MS_MAX)
        if now > self._ms:
            self._ms, self._sequence = now, 0
        else:
            self._sequence += 1
            if self._sequence >> SEQUENCE_BITS:
                self._ms, self._sequence = self._ms + 1, 0
        return QueueId(self._ms << _LOW_BITS | self._shard | self._sequence)
