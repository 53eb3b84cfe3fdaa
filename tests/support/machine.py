"""How slow this machine is now, for the few tests whose promise is a time: a figure that holds where nothing else goes
on is multiplied by it. The best of several looks counts, of what is promised and of this."""

import json
import time
from typing import Final

CALM_S: Final = 0.030  # of the same work on the machine on which the figures of the promises were taken
_ROWS: Final = [{"id": f"{n:013x}", "to": f"u{n}@example.net", "attempts": n % 7} for n in range(1500)]


class Slowness:
    """`look()` beside each measurement; then `factor`: 1.0 where the machine is no slower than that one."""

    def __init__(self) -> None:
        self._best_s = float("inf")

    def look(self) -> None:
        """Some work of the kind that servers do, and how long it takes."""
        began = time.perf_counter()
        for _ in range(24):
            rows = json.loads(json.dumps(_ROWS))
            sorted((row["to"].partition("@")[0].upper(), row["attempts"]) for row in rows)
        self._best_s = min(self._best_s, time.perf_counter() - began)

    @property
    def factor(self) -> float:
        """By the best of all looks."""
        return max(1.0, self._best_s / CALM_S)
