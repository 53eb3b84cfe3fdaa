"""Processes as /proc shows them; a zombie, whose parent has not asked for it yet, is none."""

from collections.abc import Iterable
from pathlib import Path


def living(pids: Iterable[int]) -> set[int]:
    """Those that are there."""
    return {pid for pid in pids if _look(Path(f"/proc/{pid}")) is not None}


def of_group(group: int) -> dict[int, str]:
    """The processes of a process group: pid and name."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        seen = _look(folder)
        if seen is not None and seen[1] == group:
            found[int(folder.name)] = seen[0]
    return found


def _look(folder: Path) -> tuple[str, int] | None:
    """Name and process group; None when it has ended."""
    try:
        name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        state, _, group = rest.split()[:3]
    except (OSError, ValueError):
        return None
    return (name, int(group)) if state not in "ZX" else None
