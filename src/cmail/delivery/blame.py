"""Blame: which messages a connection ended at; one that kills connections is not tried for ever."""

from collections import OrderedDict
from typing import Final

from cmail.delivery.agent import Transaction

_REMEMBERED_MAX: Final = 1000


class Blame:
    """The first time a connection ends at a message, chance may have been it; the second time not."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[int, int], None] = OrderedDict()

    def is_second(self, transaction: Transaction) -> bool:
        """Note that a connection ended at it; True when it had happened before (then it is forgotten)."""
        key = (transaction.message.queue_id, transaction.recipients[0].position)
        if key in self._seen:
            del self._seen[key]
            return True
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED_MAX:
            self._seen.popitem(last=False)
        return False
