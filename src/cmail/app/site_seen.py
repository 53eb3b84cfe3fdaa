"""DATA/sites.json: when each site was here last, and how, over restarts."""

import json
import os
from collections.abc import Mapping
from typing import Final

from cmail.storage import durable

FILE: Final = "sites.json"
OCTETS_MAX: Final = 2**20
MS_MAX: Final = 1 << 53

Seen = Mapping[str, tuple[int, str]]  # name -> wall ms, how


def read_seen(data_dir: str) -> Seen:
    """What is noted there; blocks. What cannot be read is not known."""
    try:
        with open(os.path.join(data_dir, FILE), "rb") as file:
            found = json.loads(file.read(OCTETS_MAX))
        rows = {str(name): (int(row["seen_ms"]), str(row["how"])) for name, row in found.items()}
        return {name: (ms, how) for name, (ms, how) in rows.items() if 0 <= ms < MS_MAX}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return {}


def write_seen(data_dir: str, seen: Seen) -> None:
    """Note it; blocks. OSError."""
    rows = {name: {"seen_ms": wall_ms, "how": how} for name, (wall_ms, how) in seen.items()}
    durable.write_durably(os.path.join(data_dir, FILE), json.dumps(rows).encode() + b"\n")
