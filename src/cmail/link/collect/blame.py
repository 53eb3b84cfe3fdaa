"""Blame: at which messages sessions have broken off: the next time these come last, and hold up no other.

Servers that cannot read a message often say nothing of it: they hang up, or hang."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from cmail.link.collect.box import ENOUGH, BoxError, Fault, Listed


class Blame:
    """Of one box, as long as we run."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def times(self, listed: Listed) -> int:
        """How often a session has ended at it."""
        return self._times.get(listed.uid, 0)

    def keep(self, uids: Collection[str]) -> None:
        """What is there no more is forgotten."""
        self._times = {uid: times for uid, times in self._times.items() if uid in uids}

    @contextmanager
    def on(self, found: Sequence[Listed]) -> Iterator[None]:
        """What is done with these: a session that ends meanwhile ends by one of them. Silence says that of a
        single one alone: of many it may as well be the line."""
        try:
            yield
        except BoxError as error:
            is_theirs = error.fault in (Fault.NETWORK, Fault.SERVER) and error.words != ENOUGH
            if is_theirs and not (error.is_silence and len(found) > 1):
                for each in found:
                    self._times[each.uid] = self.times(each) + 1
            raise
