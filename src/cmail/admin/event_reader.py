"""EventReader: lines of the log, in their order, into events."""

from dataclasses import dataclass, field
from typing import Final

from cmail.admin.events import Event
from cmail.admin.log_grammar import PART, read_json, read_postfix, stamp_ms

PARTS_MAX: Final = 1000  # messages whose last line is awaited
RAW_MAX: Final = 64 * 1024  # letters of one event
_SAME_MS: Final = 1000


@dataclass(slots=True)
class EventReader:
    """Postfix's three lines of one message that came in become one event, so do the lines of a trace; of a
    message whose last line is yet to come the others are remembered."""

    day: str  # in whose file they stand: a line of Postfix's has no year
    parts: dict[str, Event] = field(default_factory=dict)
    _last_error: Event | None = None
    _stamps: dict[str, int] = field(default_factory=dict)

    def read(self, line: str) -> Event | None:
        """The event that ends with this line; None: it is a part of another, or none of ours."""
        event = read_json(line) if line.startswith("{") else read_postfix(line, self._wall_ms)
        if event is None:
            return None
        if event.what == PART:
            self._keep(event)
            return None
        if event.what == "accepted" and (before := self.parts.pop(event.queue_id, None)):
            event.fields = {**before.fields, **event.fields}
            event.raw = f"{before.raw}\n{event.raw}"
        return event if not self._is_trace(event) else None

    def _keep(self, event: Event) -> None:
        before = self.parts.get(event.queue_id)
        if before is not None:
            before.fields.update(event.fields)
            before.raw += f"\n{event.raw}"
            return
        self.parts[event.queue_id] = event
        if len(self.parts) > PARTS_MAX:
            del self.parts[next(iter(self.parts))]

    def _is_trace(self, event: Event) -> bool:
        """Whether it is a further line of the mistake that was read last: they come in one go."""
        last = self._last_error
        if last is not None and last.pid == event.pid:
            if event.what == "failed" and event.wall_ms - last.wall_ms <= _SAME_MS:
                if len(last.raw) < RAW_MAX:
                    last.raw += f"\n{event.raw}"
                return True
            self._last_error = None
        if event.what == "failed" and not event.raw.startswith("{"):
            self._last_error = event
        return False

    def _wall_ms(self, stamp: str) -> int:
        known = self._stamps.get(stamp)
        if known is None:
            if len(self._stamps) > 1000:
                self._stamps.clear()
            known = self._stamps[stamp] = stamp_ms(stamp, self.day)
        return known
