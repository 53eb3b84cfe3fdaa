"""Sites that come and go: the rows of all workers (site.list) as one for each, for people and programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from cmail.admin.rows import rfc3339


def add_up(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all workers as one for each site: counts together, the latest of what was seen."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        total = found.setdefault(row["name"], {**row, "messages": 0, "octets": 0, "held": 0})
        for key in ("messages", "octets", "held"):
            total[key] += row[key]
        total["is_there"] = total["is_there"] or row["is_there"]
        if row["seen_ms"] > total["seen_ms"]:
            total["seen_ms"], total["how"] = row["seen_ms"], row["how"]
    return list(found.values())


def is_full(site: Mapping[str, Any]) -> bool:
    """Whether a limit of it is reached: further mail for it is refused for now."""
    return any(0 < site.get(f"{name}_max", 0) <= site[name] for name in ("messages", "octets"))


def as_json(row: dict[str, Any], warning: str = "") -> dict[str, Any]:
    """As programs read it. `warning`: what is wrong with its settings."""
    return {
        "name": row["name"],
        "domains": row["domains"],
        "messages": row["messages"],
        "octets": row["octets"],
        "held": row["held"],
        "is_full": is_full(row),
        "is_there": row["is_there"],
        "last_seen": rfc3339(row["seen_ms"]) if row["seen_ms"] else None,
        "how": row["how"],
        "warning": warning,
    }
