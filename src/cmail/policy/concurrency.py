"""Per-destination window of connections: opens on success, closes on failure. Pure."""

from typing import Final

REGROW_AFTER_S: Final = 60.0  # a host that refused one connection more is not asked again before


class Window:
    """How many connections one next hop may have: 1, 2, 4.. up to the limit as they prove themselves,
    back to what it has taken when it refuses one more."""

    __slots__ = ("_grows_at", "size")

    def __init__(self) -> None:
        self.size = 1
        self._grows_at = 0.0

    def proved(self, now: float) -> bool:
        """A connection has delivered for the first time; True when the window has grown."""
        if now < self._grows_at:
            return False
        self.size = min(self.size * 2, 1 << 16)
        return True

    def may_grow(self, now: float) -> bool:
        """Whether no connection was refused lately."""
        return now >= self._grows_at

    def refused(self, alive: int, now: float) -> None:
        """One more was refused while `alive` others work."""
        self.size = max(1, min(self.size, alive))
        self._grows_at = now + REGROW_AFTER_S

    def closed(self) -> None:
        """The next hop rests: slow start when it is back."""
        self.size = 1
        self._grows_at = 0.0
