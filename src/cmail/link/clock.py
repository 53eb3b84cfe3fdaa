"""Link-up time: the clock of retries, lifetimes and notices. It stands still while the link is down.

Wall times here are those of link/lived.py, which no step of the machine's clock changes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from cmail.policy.orders import FREE, Orders
from cmail.world import Clock

MS_MAX: Final = 1 << 53  # 285,000 years; a file that says more was damaged, and no database could count on


@dataclass(frozen=True, slots=True)
class LinkReading:
    """All that the clock needs to know; it goes to the disk and to the workers as it is."""

    is_down: bool = False
    down_ms: int = 0  # how long the link was down, all in all, up to changed_wall_ms
    periods: int = 1  # how many times it has come up; the first is the start of all
    changed_wall_ms: int = 0  # when it last went down or up

    def link_ms(self, wall_ms: int) -> int:
        """Link-up time at a wall time."""
        return (self.changed_wall_ms if self.is_down else wall_ms) - self.down_ms

    def down(self, wall_ms: int) -> "LinkReading":
        """The link goes down."""
        return self if self.is_down else LinkReading(True, self.down_ms, self.periods, wall_ms)

    def up(self, wall_ms: int) -> "LinkReading":
        """The link comes up: another period begins. Link-up time goes on where it stood, also when
        somebody has set the wall clock back meanwhile (then down_ms shrinks)."""
        if not self.is_down:
            return self
        return LinkReading(False, wall_ms - self.link_ms(wall_ms), self.periods + 1, wall_ms)

    def fields(self) -> dict[str, Any]:
        """As it goes over a control socket and into a file."""
        return asdict(self)


def parse_reading(fields: Mapping[str, Any]) -> LinkReading:
    """A reading from its fields; ValueError when they are none."""
    numbers = [fields.get(name) for name in ("down_ms", "periods", "changed_wall_ms")]
    is_down = fields.get("is_down")
    if type(is_down) is not bool or any(type(number) is not int for number in numbers):
        raise ValueError("not a reading of the link clock")
    down_ms, periods, changed_wall_ms = (int(number or 0) for number in numbers)
    if periods < 1:
        raise ValueError("the link was up at least once")
    if max(abs(down_ms), periods, abs(changed_wall_ms)) > MS_MAX:
        raise ValueError("not a reading of the link clock: its numbers are too large")
    return LinkReading(is_down, down_ms, periods, changed_wall_ms)


class LinkView:
    """The LinkClock of a worker: what the link process said last. When that is away, it goes on. Its
    clock is the LivedClock that all processes share."""

    def __init__(self, clock: Clock, reading: LinkReading = LinkReading(), orders: Orders = FREE) -> None:
        self._clock = clock
        self._reading = reading
        self._orders = orders
        self._listeners: list[Callable[[], None]] = []
        self._turn_listeners: list[Callable[[], None]] = []

    def link_ms(self) -> int:
        """Lived milliseconds minus all the time that the link was down."""
        return self._reading.link_ms(self._clock.wall_ms())

    @property
    def down_for_ms(self) -> int:
        """How long it has been down now; 0 when it is not."""
        reading = self._reading
        return max(0, self._clock.wall_ms() - reading.changed_wall_ms) if reading.is_down else 0

    @property
    def is_down(self) -> bool:
        """Whether the link is known to be down now."""
        return self._reading.is_down

    @property
    def periods(self) -> int:
        """How many times the link has come up."""
        return self._reading.periods

    @property
    def reading(self) -> LinkReading:
        """What was said last."""
        return self._reading

    @property
    def orders(self) -> Orders:
        """What may go over it now."""
        return self._orders

    def listen(self, listener: Callable[[], None]) -> None:
        """Call it whenever the link goes down or up, or other orders hold (Scheduler.link_changed)."""
        self._listeners.append(listener)

    def listen_to_turns(self, listener: Callable[[], None]) -> None:
        """Call it when the link goes down or up, and before the others."""
        self._turn_listeners.append(listener)

    def changed(self, reading: LinkReading, orders: Orders | None = None) -> None:
        """The link process has told something; None: the orders are those of before."""
        was_down, before = self._reading.is_down, self._orders
        self._reading = reading
        self._orders = before if orders is None else orders
        is_turn = reading.is_down != was_down
        if is_turn:
            for listener in self._turn_listeners:
                listener()
        if is_turn or self._orders != before:
            for listener in self._listeners:
                listener()
