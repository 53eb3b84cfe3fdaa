"""Recipients that wait, as rows: what people and programs are shown. Light: `queue list` waits for it."""

import time
from typing import Any, Final

from cmail.mail.queue_id import parse_queue_id

Row = dict[str, Any]

# What --json prints of a row, in this order; programs count on exactly these.
JSON_KEYS: Final = ("id", "from", "to", "size", "state", "attempts", "next_attempt", "reason", "arrived")


def json_row(row: Row) -> Row:
    """The row as --json shows it: times in RFC 3339, UTC."""
    shown = {**row, "next_attempt": rfc3339(row["next_ms"]), "arrived": rfc3339(row["arrived_ms"])}
    return {key: shown[key] for key in JSON_KEYS}


def rfc3339(wall_ms: int) -> str | None:
    """2026-01-31T08:15:00Z; None for no time."""
    if not wall_ms:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_ms // 1000))


def sort_key(row: Row) -> tuple[int, int]:
    """The order of every listing: oldest message first, its recipients as it names them."""
    return parse_queue_id(row["id"]), row["position"]


def duration(ms: int) -> str:
    """A span of time for people: 40 s, 5 min, 3 h, 2 days."""
    seconds = max(0, ms) // 1000
    for unit_s, name in ((172_800, ""), (7200, "h"), (120, "min")):
        if seconds >= unit_s:
            if not name:
                return f"{seconds // 86_400} days"
            return f"{seconds // (3600 if name == 'h' else 60)} {name}"
    return f"{seconds} s"
