"""History: the last exchanges, kept durably in DATA/link-history.json: when, why, how much, what it cost."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from cmail.link.state import LinkLog
from cmail.storage import durable

KEPT_MAX: Final = 50
WORDS_MAX: Final = 20  # results of kicks and collections in one entry
FILE_OCTETS_MAX: Final = 2**20
_NUMBER_MAX: Final = 1 << 53  # milliseconds of 285,000 years, octets of 9 PB: a file with more was damaged


@dataclass(slots=True)
class Entry:
    """One exchange."""

    begin_ms: int
    why: str
    link: str = ""
    end_ms: int = 0  # 0: it goes on
    ended: str = ""  # why
    messages_out: int = 0
    octets_out: int = 0
    messages_in: int = 0
    octets_in: int = 0
    cost: float = 0.0
    kicks: list[str] = field(default_factory=list)
    collections: list[str] = field(default_factory=list)

    def tell(self, kind: str, words: str) -> None:
        """How a kick ("kick") or a collection ("collect") ended."""
        told = self.kicks if kind == "kick" else self.collections
        told.append(words)
        del told[:-WORDS_MAX]


class History:
    """The newest last. Reading and writing block."""

    def __init__(self, path: str, log: LinkLog) -> None:
        self._path, self._log = path, log
        self.entries: list[Entry] = []

    def open(self) -> None:
        """Read what was kept. One that was not ended was cut off with the server."""
        try:
            with open(self._path, "rb") as file:
                rows = json.loads(file.read(FILE_OCTETS_MAX))["exchanges"]
            self.entries = [_entry(row) for row in rows][-KEPT_MAX:]
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            self._log.warned(f"{self._path}: {error}; the history of exchanges begins anew")
            return
        for entry in self.entries:
            if not entry.ended:
                entry.end_ms, entry.ended = max(entry.begin_ms, entry.end_ms), "the server was cut off"

    def add(self, entry: Entry) -> None:
        """One more has begun."""
        self.entries.append(entry)
        del self.entries[:-KEPT_MAX]

    def octets(self, now_ms: int = 0) -> bytes:
        """The file as it is to be. One that goes on has lasted until now, if no more is heard of it."""
        rows = [asdict(entry) for entry in self.entries]
        for row in rows:
            row["end_ms"] = row["end_ms"] or max(row["begin_ms"], now_ms)
        return json.dumps({"exchanges": rows}).encode() + b"\n"

    def save(self, octets: bytes) -> None:
        """Make it durable; what cannot be written is said."""
        try:
            durable.write_durably(self._path, octets)
        except OSError as error:
            self._log.warned(f"{self._path} cannot be written: {error.strerror or error}")


def _entry(row: Mapping[str, Any]) -> Entry:
    entry = Entry(**{each.name: row[each.name] for each in fields(Entry) if each.name in row})
    numbers = [getattr(entry, name) for name in ("begin_ms", "end_ms", *_COUNTS)]
    is_right = all(type(number) is int and 0 <= number < _NUMBER_MAX for number in numbers)
    is_right = is_right and type(entry.cost) in (int, float) and 0 <= entry.cost < _NUMBER_MAX
    is_right = is_right and isinstance(entry.kicks, list) and isinstance(entry.collections, list)
    if not is_right:
        raise ValueError("not a history of exchanges")
    texts = [entry.why, entry.link, entry.ended, *entry.kicks, *entry.collections]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("not a history of exchanges")
    return entry


_COUNTS: Final = ("messages_out", "octets_out", "messages_in", "octets_in")
