"""What the policy of a link lets through now: use, largest, budgets, window. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final

from cmail.link.settings import ViaSettings
from cmail.link.spending import FRESH, Used
from cmail.link.windows import Slot, longest_s, next_begin, open_until, parse_slots
from cmail.policy.orders import NO_LIMIT, NOTHING

_KBIT: Final = 125  # octets
_STEPS: Final = 32  # what is left of a budget is told in so many steps, or orders change all the time
_LEAST: Final = 512  # octets: no message takes less, with what is said around it


@dataclass(frozen=True, slots=True)
class Allowance:
    """The largest messages that may go, ordinary and urgent, and what to say about it."""

    size_max: int = NO_LIMIT
    urgent_size_max: int = NO_LIMIT
    words: str = ""
    spent: str = ""  # what was used, when that is why nothing may go: "the 5 MiB of this window are used"
    is_until_exchange: bool = False  # nothing may go until another exchange begins

    @property
    def is_nothing(self) -> bool:
        """Whether no mail at all may go."""
        return self.size_max < 0 and self.urgent_size_max < 0


ALL: Final = Allowance()


def allowance(
    via: ViaSettings, small: int, used: Used, now_s: float, zone: tzinfo | None = None
) -> Allowance:
    """What may go by a link now."""
    if rest := _rests(via, used, now_s, zone):
        return rest
    most = min(via.largest or NO_LIMIT, *(_stepped(*pair) for pair in _budgets(via, used)))
    limit = f" up to {size_words(most)}" if most < NO_LIMIT else ""
    if via.use == "small":
        return Allowance(
            min(small, most), most, f"mail up to {size_words(min(small, most))} and urgent{limit}"
        )
    if via.use == "urgent":
        return Allowance(NOTHING, most, f"urgent mail{limit}")
    return Allowance(most, most, f"mail{limit}" if limit else "")


def _rests(via: ViaSettings, used: Used, now_s: float, zone: tzinfo | None) -> Allowance | None:
    """Why nothing may go; None when something may."""
    if via.use == "nothing":
        return Allowance(NOTHING, NOTHING, "nothing may use it")
    slots = parse_slots(via.window)
    until_s = open_until(slots, now_s, zone)
    if slots and until_s is None:
        return Allowance(NOTHING, NOTHING, f"its window begins {_begin_words(slots, now_s, now_s, zone)}")
    if is_used_up(via.budget, used.today):
        return _spent(via.budget, "today", "midnight")
    if not is_used_up(via.window_budget, used.in_turn):
        return None
    if until_s is not None:
        return _spent(
            via.window_budget, "this window", f"the next begins {_begin_words(slots, until_s, now_s, zone)}"
        )
    return replace(_spent(via.window_budget, "this exchange", "the next"), is_until_exchange=True)


def _spent(budget: int, of: str, until: str) -> Allowance:
    spent = f"the {size_words(budget)} of {of} are used"
    return Allowance(NOTHING, NOTHING, f"{spent}; it rests until {until}", spent)


def _begin_words(slots: Sequence[Slot], after_s: float, now_s: float, zone: tzinfo | None) -> str:
    begin_s = next_begin(slots, after_s, zone)
    assert begin_s is not None, "a window begins every week"
    return when_words(begin_s, now_s, zone)


def _budgets(via: ViaSettings, used: Used) -> tuple[tuple[int, int], ...]:
    """Each with what is used of it."""
    return (via.budget, used.today), (via.window_budget, used.in_turn)


def is_used_up(budget: int, used: int) -> bool:
    """Whether a budget is gone: what is left, if anything, is too little for any message."""
    return budget > 0 and budget - used < min(_LEAST, max(1, budget // _STEPS))


def left_of(via: ViaSettings, used: Used = FRESH) -> int:
    """Octets that may still go before it rests; NO_LIMIT for any number."""
    return min((max(0, most - gone) for most, gone in _budgets(via, used) if most), default=NO_LIMIT)


def _stepped(budget: int, used: int) -> int:
    """What is left of a budget, rounded up to a step, so that what just fits goes: one message may go as
    much beyond it. Of the last step halves are told, so that this is little where little is left."""
    if not budget:
        return NO_LIMIT
    left, step = budget - used, max(1, budget // _STEPS)
    if left > step:
        return min(budget, -(-left // step) * step)
    while 1 < step and left <= step // 2:
        step //= 2
    return step


def capacity(vias: Iterable[ViaSettings], exchange_s: float = 0.0) -> int:
    """Octets of the largest message that some link could ever carry, in its longest window at its rate; an
    exchange that lasts so long at most is one too."""
    return max((_capacity(via, exchange_s) for via in vias), default=NO_LIMIT)


def _capacity(via: ViaSettings, exchange_s: float) -> int:
    limits: list[int] = [limit for limit in (via.largest, via.budget, via.window_budget) if limit]
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
    if most == via.window_budget:
        return f"may carry {size_words(most)} in one {'window' if via.window else 'exchange'}"
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
    """at 22:00, on Monday at 08:00, on 23 December at 08:00."""
    then, now = datetime.fromtimestamp(then_s, zone), datetime.fromtimestamp(now_s, zone)
    if then.date() == now.date():
        return f"at {then:%H:%M}"
    if then.date() == now.date() + timedelta(days=1):
        return f"tomorrow at {then:%H:%M}"
    if then.date() - now.date() > timedelta(days=7):
        return f"on {then.day} {_MONTHS[then.month - 1]} at {then:%H:%M}"
    return f"on {_DAYS[then.weekday()]} at {then:%H:%M}"


_MONTHS: Final = (
    "January February March April May June July August September October November December"
).split()
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
