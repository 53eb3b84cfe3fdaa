"""Habits: how many messages a host takes on one connection before it closes it."""

from collections.abc import Callable
from typing import Final

from cmail.delivery.hosts import Host

# After it once more than the host took is sent behind them, and lost with the connection: it may have been
# no more than a restart of the host.
_KEPT_S: Final = 1800.0
_REMEMBERED_MAX: Final = 1000


class Habits:
    """Of the hosts that close while messages stand behind the ones that they took."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: dict[Host, tuple[int, float]] = {}  # messages, and until when that is believed

    def learn(self, host: Host, messages: int) -> None:
        """It has closed a connection after so many."""
        if len(self._known) >= _REMEMBERED_MAX and host not in self._known:
            self._known.clear()
        self._known[host] = messages, self._monotonic() + _KEPT_S

    def messages_max(self, host: Host, most: int) -> int:
        """How many to send there on one connection; `most`: as the settings have it."""
        known = self._known.get(host)
        if known is None:
            return most
        messages, until = known
        if until <= self._monotonic():
            del self._known[host]
            return most
        return min(messages, most)
