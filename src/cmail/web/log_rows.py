"""Events of the log as rows of a page."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cmail.admin.events import KINDS, Event
from cmail.admin.sentences import sentence

_TONES: Final = {
    "accepted": "",
    "sent": "ok",
    "deferred": "warn",
    "bounced": "error",
    "refused": "warn",
    "login": "error",
    "warning": "warn",
    "error": "error",
}
_LABELS: Final = {"login": "Log-in failed", "warning": "Warning", "error": "Error"}  # of one, not of many


@dataclass(frozen=True, slots=True)
class LogRow:
    """One event, as templates/log_rows.html and events.html show it."""

    place: str
    wall_ms: int
    when: str
    label: str  # its kind in words
    tone: str  # a class of the style: ok, warn, error
    sentence: str
    queue_id: str
    raw: str


def rows_of(events: Iterable[Event]) -> list[LogRow]:
    """In the order in which they are given."""
    today = time.localtime()[:3]
    return [
        LogRow(
            event.place,
            event.wall_ms,
            _when(event.wall_ms, today),
            _LABELS.get(event.kind) or KINDS[event.kind][0],
            _TONES.get(event.kind, ""),
            sentence(event),
            event.queue_id,
            event.raw,
        )
        for event in events
    ]


def _when(wall_ms: int, today: tuple[int, ...]) -> str:
    """14:05:07 today, else 22 Nov 14:05:07."""
    then = time.localtime(wall_ms / 1000)
    return time.strftime("%H:%M:%S" if then[:3] == today else "%-d %b %H:%M:%S", then)
