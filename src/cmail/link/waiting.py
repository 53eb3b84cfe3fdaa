"""What waits for the Internet, and what went: the figures of all workers put together. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

_COUNTS: Final = ("messages", "octets", "urgent", "admitted_messages", "admitted_octets")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Mail in the queue for the Internet; `admitted` is what the orders would let go in an exchange."""

    messages: int = 0
    octets: int = 0
    urgent: int = 0  # messages
    admitted_messages: int = 0
    admitted_octets: int = 0
    oldest_ms: int = 0  # when the oldest arrived (wall); 0: there is none

    def fields(self) -> dict[str, int]:
        """As they go over a control socket."""
        return asdict(self)


def add_waiting(answers: Iterable[Mapping[str, Any]]) -> Waiting:
    """The answers of several workers to queue.internet as one. What is no number counts nothing."""
    sums = dict.fromkeys(_COUNTS, 0)
    oldest = []
    for answer in answers:
        for name in _COUNTS:
            sums[name] += _number(answer.get(name))
        oldest.append(_number(answer.get("oldest_ms")))
    return Waiting(**sums, oldest_ms=min(filter(None, oldest), default=0))


@dataclass(slots=True)
class Gone:
    """What went over the link, and came."""

    messages_out: int = 0
    octets_out: int = 0
    messages_in: int = 0
    octets_in: int = 0

    @property
    def octets(self) -> int:
        """Both ways."""
        return self.octets_out + self.octets_in

    def add(self, other: "Gone") -> None:
        """And these."""
        self.messages_out += other.messages_out
        self.octets_out += other.octets_out
        self.messages_in += other.messages_in
        self.octets_in += other.octets_in

    def less(self, other: "Gone") -> "Gone":
        """Without those."""
        return Gone(
            self.messages_out - other.messages_out,
            self.octets_out - other.octets_out,
            self.messages_in - other.messages_in,
            self.octets_in - other.octets_in,
        )


def read_gone(answer: Mapping[str, Any]) -> Gone:
    """The answer of a worker to link.octets."""
    return Gone(*(_number(answer.get(name)) for name in Gone.__slots__))


class Tally:
    """Adds up the counters of workers, each of which begins anew at 0 when it is started anew."""

    def __init__(self) -> None:
        self._last: dict[str, Gone] = {}
        self.total = Gone()

    def take(self, worker: str, now: Gone) -> Gone:
        """What is new since this worker was heard last."""
        last = self._last.get(worker, Gone())
        self._last[worker] = now
        is_new = any(getattr(now, name) < getattr(last, name) for name in Gone.__slots__)
        added = now if is_new else now.less(last)
        self.total.add(added)
        return added


def _number(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0
