"""Ready: the transactions of a route that are in memory, by rank; most traffic has one rank."""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from cmail.delivery.agent import Transaction

_NO_RANK: Final = -1


class Ready:
    """A queue for each rank; the smallest rank goes first. All methods but those of the first rank are
    rare. While anything is there, something is in `_first`. Large is what was called so when it came: on a
    thin link a rank may have both."""

    __slots__ = ("_count", "_first", "_large_count", "_others", "_rank", "_ranks")

    def __init__(self) -> None:
        self._count = 0
        self._rank = _NO_RANK  # of _first
        self._first: deque[Transaction] = deque()
        self._others: dict[int, deque[Transaction]] = {}
        self._ranks: list[int] = []  # those of _others, in order
        self._large_count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Transaction]:
        yield from self._first
        for rank in self._ranks:
            yield from self._others[rank]

    @property
    def is_large_first(self) -> bool:
        """Whether what goes first may hold up others."""
        return self._large_count > 0 and self._first[0].is_large

    def append(self, transaction: Transaction) -> None:
        """Behind all of its rank."""
        rank = transaction.recipients[0].rank
        if rank == self._rank:
            self._first.append(transaction)
        else:
            self._queue(rank).append(transaction)
        self._count += 1
        self._large_count += transaction.is_large

    def appendleft(self, transaction: Transaction) -> None:
        """Before all of its rank: it was taken and could not be sent."""
        rank = transaction.recipients[0].rank
        (self._first if rank == self._rank else self._queue(rank)).appendleft(transaction)
        self._count += 1
        self._large_count += transaction.is_large

    def popleft(self) -> Transaction:
        """What goes first; there must be something."""
        first = self._first
        transaction = first.popleft()
        self._count -= 1
        self._large_count -= transaction.is_large
        if not first and self._ranks:
            self._begin(self._ranks.pop(0))
        return transaction

    def pop_small(self) -> Transaction | None:
        """What goes first of all that holds up nobody; None: all of it is large."""
        if not self.is_large_first:
            return self.popleft() if self._count else None
        if not self.small_count():
            return None
        for rank in (self._rank, *self._ranks):
            queue = self._first if rank == self._rank else self._others[rank]
            for place, transaction in enumerate(queue):
                if not transaction.is_large:
                    del queue[place]
                    self._count -= 1
                    if rank != self._rank:
                        self._forget_if_empty(rank)
                    return transaction
        return None

    def pop_last(self) -> Transaction:
        """What would go last; there must be something."""
        self._count -= 1
        if self._ranks:
            rank = self._ranks[-1]
            transaction = self._others[rank].pop()
            self._forget_if_empty(rank)
        else:
            transaction = self._first.pop()
        self._large_count -= transaction.is_large
        return transaction

    @property
    def first(self) -> Transaction | None:
        """What goes first."""
        return self._first[0] if self._first else None

    @property
    def last_rank(self) -> int:
        """The rank of what would go last; -1 when there is nothing."""
        if self._ranks:
            return self._ranks[-1]
        return self._rank if self._first else _NO_RANK

    def small_count(self) -> int:
        """How many hold up nobody."""
        return self._count - self._large_count

    def remove_if(self, is_meant: Callable[[Transaction], bool]) -> list[Transaction]:
        """Take out what is meant, wherever it stands."""
        removed = [transaction for transaction in self if is_meant(transaction)]
        if removed:
            gone = set(map(id, removed))
            kept = [transaction for transaction in self if id(transaction) not in gone]
            self._others.clear()
            self._ranks.clear()
            self._first.clear()
            self._count = self._large_count = 0
            for transaction in kept:
                self.append(transaction)
        return removed

    def _queue(self, rank: int) -> deque[Transaction]:
        """The queue of a rank that is not the first one's; it may become the first one."""
        if not self._first:
            self._rank = rank
            return self._first
        if rank < self._rank:
            insort(self._ranks, self._rank)
            self._others[self._rank] = self._first
            self._rank, self._first = rank, deque()
            return self._first
        found = self._others.get(rank)
        if found is None:
            found = self._others[rank] = deque()
            insort(self._ranks, rank)
        return found

    def _begin(self, rank: int) -> None:
        self._rank, self._first = rank, self._others.pop(rank)

    def _forget_if_empty(self, rank: int) -> None:
        if not self._others[rank]:
            del self._others[rank]
            self._ranks.remove(rank)
