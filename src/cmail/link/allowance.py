"""What the policy of a link lets through now: use, largest, budget of the day, window. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from cmail.link.settings import ViaSettings
from cmail.link.windows import longest_s, next_begin, open_until, parse_slots
from cmail.policy.orders import NO_LIMIT, NOTHING

_KBIT: Final = 125  # octets
_STEPS: Final = 16  # what is left of a budget is told in so many steps, or orders change all the time


@dataclass(frozen=True, slots=True)
class Allowance:
    """The largest messages that may go, ordinary and urgent, and what to say about it."""

    size_max: int = NO_LIMIT
    urgent_size_max: int = NO_LIMIT
    words: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether no mail at all may go."""
        return self.size_max < 0 and self.urgent_size_max < 0


ALL: Final = Allowance()


def allowance(
    via: ViaSettings, small: int, used_today: int, now_s: float, zone: tzinfo | None = None
) -> Allowance:
    """What may go by a link now."""
    if rest := _rests(via, used_today, now_s, zone):
        return Allowance(NOTHING, NOTHING, rest)
    left = _left(via.budget, used_today)
    most = min(via.largest or NO_LIMIT, left)
    limit = f" up to {size_words(most)}" if most < NO_LIMIT else ""
    if via.use == "small":
        return Allowance(
            min(small, most), most, f"mail up to {size_words(min(small, most))} and urgent{limit}"
        )
    if via.use == "urgent":
        return Allowance(NOTHING, most, f"urgent mail{limit}")
    return Allowance(most, most, f"mail{limit}" if limit else "")


def _rests(via: ViaSettings, used_today: int, now_s: float, zone: tzinfo | None) -> str:
    """Why nothing may go; "" when something may."""
    if via.use == "nothing":
        return "nothing may use it"
    if via.window and open_until(parse_slots(via.window), now_s, zone) is None:
        begin_s = next_begin(parse_slots(via.window), now_s, zone)
        assert begin_s is not None, "a window begins every week"
        return f"its window begins {when_words(begin_s, now_s, zone)}"
    if _left(via.budget, used_today) <= 0:
        return f"the {size_words(via.budget)} of today are used; it rests until midnight"
    return ""


def is_used_up(via: ViaSettings, used_today: int) -> bool:
    """Whether the budget of the day is gone."""
    return _left(via.budget, used_today) <= 0


def _left(budget: int, used_today: int) -> int:
    """What is left of a budget, rounded down: the last sixteenth is not worth a message."""
    if not budget:
        return NO_LIMIT
    step = max(1, budget // _STEPS)
    return (budget - used_today) // step * step


def capacity(vias: Iterable[ViaSettings], exchange_s: float = 0.0) -> int:
    """Octets of the largest message that some link could ever carry, in its longest window at its rate; an
    exchange that lasts so long at most is one too."""
    return max((_capacity(via, exchange_s) for via in vias), default=NO_LIMIT)


def _capacity(via: ViaSettings, exchange_s: float) -> int:
    limits: list[int] = [limit for limit in (via.largest, via.budget) if limit]
    seconds = [s for s in (longest_s(parse_slots(via.window)), exchange_s) if s]
    if via.rate and seconds:
        limits.append(int(via.rate * _KBIT * min(seconds)))
    return min(limits, default=NO_LIMIT)


def capacity_words(via: ViaSettings, exchange_s: float = 0.0) -> str:
    """What limits the largest message that a link can carry."""
    most = _capacity(via, exchange_s)
    if most == via.largest:
        return f"takes no more than {size_words(most)}"
    if most == via.budget:
        return f"may carry {size_words(most)} a day"
    return f"carries {size_words(most)} in its longest window"


def next_turn_s(
    vias: Iterable[ViaSettings], now_s: float, midnight: Callable[[float], float], zone: tzinfo | None = None
) -> float:
    """When the policy of some link says something else by itself: a window begins or ends, or it is
    midnight. Seconds since 1970."""
    found = [midnight(now_s)]
    for via in vias:
        slots = parse_slots(via.window)
        found += [s for s in (next_begin(slots, now_s, zone), open_until(slots, now_s, zone)) if s]
    return min(found)


def size_words(octets: int) -> str:
    """100 KiB, 2.5 MiB."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if octets >= unit:
            return f"{octets / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{octets} octets"


def when_words(then_s: float, now_s: float, zone: tzinfo | None = None) -> str:
    """at 22:00, on Monday at 08:00."""
    then, now = datetime.fromtimestamp(then_s, zone), datetime.fromtimestamp(now_s, zone)
    if then.date() == now.date():
        return f"at {then:%H:%M}"
    if then.date() == now.date() + timedelta(days=1):
        return f"tomorrow at {then:%H:%M}"
    return f"on {_DAYS[then.weekday()]} at {then:%H:%M}"


_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
