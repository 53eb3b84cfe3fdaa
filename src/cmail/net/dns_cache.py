"""DnsCache: answers, also that there is none, for as long as they may be kept; bounded."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")

ENTRIES_MAX: Final = 4096
TTL_MAX_S: Final = 3600.0  # a changed MX is seen within the hour, whatever its TTL says
TTL_MIN_S: Final = 5.0  # a TTL of 0 would ask once for each connection
STALE_MAX_S: Final = 86400.0  # RFC 8767 §5: days are fine, where nobody can be asked


class DnsCache(Generic[Value]):
    """The entry that was used least goes first. What has had its time is kept for a day more, for who cannot
    ask anybody."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._entries: OrderedDict[tuple[str, str], tuple[float, Value]] = OrderedDict()

    def get(self, kind: str, name: str) -> Value | None:
        """What is kept, when it still may be."""
        entry = self._entries.get((kind, name))
        if entry is None or entry[0] <= self._monotonic():
            return None
        self._entries.move_to_end((kind, name))
        return entry[1]

    def get_stale(self, kind: str, name: str) -> Value | None:
        """What was kept and has had its time, but not for longer than a day."""
        entry = self._entries.get((kind, name))
        if entry is None or self._monotonic() - entry[0] > STALE_MAX_S:
            return None
        self._entries.move_to_end((kind, name))
        return entry[1]

    def put(self, kind: str, name: str, value: Value, ttl_s: float) -> None:
        """Keep a value."""
        until = self._monotonic() + min(max(ttl_s, TTL_MIN_S), TTL_MAX_S)
        self._entries[kind, name] = (until, value)
        self._entries.move_to_end((kind, name))
        if len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)

    def drop(self, is_meant: Callable[[tuple[str, str], Value], bool]) -> None:
        """Forget some values, each chosen by its kind and name and by what it is."""
        for key in [key for key, (_, value) in self._entries.items() if is_meant(key, value)]:
            del self._entries[key]

    def clear(self) -> None:
        """Forget all: others are to be asked."""
        self._entries.clear()
