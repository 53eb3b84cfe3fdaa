"""Heard: which orders held when, on link-up time: how long a message could have gone at all."""

from collections.abc import Sequence
from typing import Final

from cmail.policy.orders import Orders

KEPT_MAX: Final = 1000  # orders that are remembered; a change an hour is 40 days


def limits_of(orders: Orders) -> tuple[int, int, bool]:
    """What of orders may keep a message."""
    return orders.size_max, orders.urgent_size_max, orders.is_exchange_open


class Heard:
    """Time in which orders kept a message from going is none of its chances."""

    def __init__(self, orders: Orders, link_ms: int, before: Sequence[tuple[int, Orders]] = ()) -> None:
        """These hold now; `before`: what is known of the time before, the oldest first."""
        self._orders = [*before[-KEPT_MAX:], (link_ms, orders)]

    def note(self, orders: Orders, link_ms: int) -> None:
        """These hold from now on."""
        self._orders.append((link_ms, orders))
        del self._orders[:-KEPT_MAX]

    def admitted_ms(self, size_bytes: int, priority: int, since_ms: int, now_ms: int) -> int:
        """How much of a time orders let such a message go. What held before the first orders that we know
        counts as the best that we know."""
        admitted, end, is_always = 0, now_ms, True
        for begin, orders in reversed(self._orders):
            if orders.admits(size_bytes, priority):
                admitted += max(0, end - max(begin, since_ms))
            else:
                is_always = False
            end = min(end, begin)
            if end <= since_ms:
                return admitted
        return admitted + (max(0, end - since_ms) if is_always else 0)
