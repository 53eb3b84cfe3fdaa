"""RealClock: the clock of the machine, for everybody who may ask what time it is."""

import time


class RealClock:
    """Wall time for people and the spool, monotonic time for time-outs (rule 20)."""

    __slots__ = ()

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC; may jump when somebody sets the clock."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        return time.monotonic()
