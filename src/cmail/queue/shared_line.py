"""OtherWorkers: what these have on a thin line, and what that means for the large mail of this one."""

from collections.abc import Callable
from typing import Final

from cmail.policy.line_use import UNUSED, LineUse, Place
from cmail.world import Clock

HEARD_S: Final = 2.0  # so long what they have is known
LETS_S: Final = 10.0  # so long one of theirs that is to go first is waited for: nothing may ever come of it


class OtherWorkers:
    """As one shard sees them. Nothing of it is asked while the link is fast."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tell: Callable[[], None] | None = None  # they are to be told, and asked; None: there are none
        self._use, self._known_until = UNUSED, float("-inf")
        self._lets_since = float("inf")

    def hear(self, use: LineUse) -> None:
        """What they have now, together."""
        self._use, self._known_until = use, self._clock.monotonic() + HEARD_S
        if use.waits is None or use.large is not None:
            self._lets_since = float("inf")

    def let_begin(self, place: Place) -> bool:
        """Whether a large message of ours may begin; what they have is asked for first."""
        if self.tell is None:
            return True
        now = self._clock.monotonic()
        if now > self._known_until:
            self.tell()
            return False
        if self._use.large is not None:
            return False
        if self._use.waits is None or self._use.waits > place:
            return True
        self._lets_since = min(self._lets_since, now)
        return now > self._lets_since + LETS_S

    def go_before(self, place: Place | None) -> bool:
        """Whether a large message that is under way here lets them go first: for their small mail, and for
        a large one that is before it (both began at once). None: it has had its turn."""
        large = self._use.large
        return self._use.has_small or (large is not None and place is not None and large < place)
