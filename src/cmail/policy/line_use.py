"""LineUse: what a worker has on a thin line, as workers tell it each other through the link process."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Place = tuple[int, int]  # of a message in the order of sending: its rank, its queue id


@dataclass(frozen=True, slots=True)
class LineUse:
    """Of one worker, or of several together. Nothing: it needs the line for nothing now."""

    has_small: bool = False  # small mail is under way
    large: Place | None = None  # of a large message in hand, while it has its turn
    waits: Place | None = None  # of the first large message that could begin

    @property
    def is_any(self) -> bool:
        """Whether there is anything."""
        return self.has_small or self.large is not None or self.waits is not None

    def fields(self) -> dict[str, Any]:
        """As it goes over a control socket."""
        return {"has_small": self.has_small, "large": self.large, "waits": self.waits}


UNUSED = LineUse()


def together(uses: Iterable[LineUse]) -> LineUse:
    """Of several, the first in order of sending."""
    found = list(uses)
    return LineUse(
        any(use.has_small for use in found),
        min((use.large for use in found if use.large is not None), default=None),
        min((use.waits for use in found if use.waits is not None), default=None),
    )


def parse_line_use(fields: Mapping[str, Any]) -> LineUse:
    """From its fields; ValueError when they are none."""
    return LineUse(fields.get("has_small") is True, _place(fields.get("large")), _place(fields.get("waits")))


def _place(value: Any) -> Place | None:
    if value is None:
        return None
    is_place = isinstance(value, list | tuple) and len(value) == 2 and all(type(n) is int for n in value)
    if not is_place:
        raise ValueError(f"{value!r:.60} is no place in the order of sending: [rank, queue id] is one")
    return value[0], value[1]
