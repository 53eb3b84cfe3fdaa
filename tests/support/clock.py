"""FakeClock: wall, monotonic and link-up time that a test sets; five days pass in no time."""

from typing import Final

from cmail.policy.orders import FREE, Orders

START_WALL_MS: Final = 1_800_000_000_000  # some day in 2027: any fixed one will do


class FakeClock:
    """A Clock and a LinkClock in one. Time passes only in advance(); the link starts up."""

    def __init__(self, wall_ms: int = START_WALL_MS) -> None:
        self._wall_ms = wall_ms
        self._monotonic = 1000.0
        self._link_ms = wall_ms  # nobody can set it
        self._down_for_ms = 0
        self._is_down = False
        self._periods = 1
        self._orders = FREE

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC, as set."""
        return self._wall_ms

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        return self._monotonic

    def link_ms(self) -> int:
        """Milliseconds that passed while the link was up."""
        return self._link_ms

    @property
    def down_for_ms(self) -> int:
        """How long it has been down now; 0 when it is not."""
        return self._down_for_ms

    @property
    def is_down(self) -> bool:
        """Whether the link is down now."""
        return self._is_down

    @property
    def periods(self) -> int:
        """How many times the link has come up."""
        return self._periods

    @property
    def orders(self) -> Orders:
        """What may go over the link now."""
        return self._orders

    def set_orders(self, orders: Orders) -> None:
        """Other orders hold."""
        self._orders = orders

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        assert seconds >= 0, "time goes back with set_wall_ms() only"
        self._wall_ms += round(seconds * 1000)
        self._monotonic += seconds
        if self._is_down:
            self._down_for_ms += round(seconds * 1000)
        else:
            self._link_ms += round(seconds * 1000)

    def set_wall_ms(self, wall_ms: int) -> None:
        """Somebody sets the clock of the machine, or it slept; the other times know nothing of it."""
        self._wall_ms = wall_ms

    def link_down(self) -> None:
        """The link goes down: link-up time stands still."""
        self._is_down = True

    def link_up(self) -> None:
        """The link comes up: another period begins."""
        if self._is_down:
            self._is_down = False
            self._down_for_ms = 0
            self._periods += 1
