"""Arrivals: how many messages came from whom we have kicked, and from outside at all."""

from collections.abc import Iterable
from typing import Final

from cmail.smtpd.context import Client

WATCHED_MAX: Final = 64
_NOBODY: Final[frozenset[str]] = frozenset()


class Arrivals:
    """Counts for one worker, and only once somebody has asked. Mail from people who have logged in is not
    counted, nor what comes from relay.networks, unless it is from a watched address."""

    __slots__ = ("_watched", "count", "is_on", "own_count")

    def __init__(self) -> None:
        self.count = 0
        self.own_count = 0  # from a watched address
        self.is_on = False
        self._watched = _NOBODY

    def watch(self, addresses: Iterable[str]) -> None:
        """Whose mail counts wherever they are, from now on."""
        self._watched = frozenset(list(addresses)[:WATCHED_MAX])
        self.is_on = True

    def is_watched(self, client: Client) -> bool:
        """Whether it is one whom we have asked to send: what limits strangers is not for it."""
        return client.address in self._watched

    def note(self, client: Client) -> None:
        """A message was accepted from it, without a log-in."""
        is_own = client.address in self._watched
        if is_own or not client.may_relay:
            self.count += 1
            self.own_count += is_own
