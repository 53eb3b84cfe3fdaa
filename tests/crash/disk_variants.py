"""The choosers: what of the unsynced is there after the power cut. Nothing, all, names alone, parts, torn parts."""

import random
from collections.abc import Callable, Iterator, Sequence

from tests.crash.disk_model import SECTOR, Chooser, Naming, Node, Write, put


class Nothing:
    """Only what was synced."""

    def node(self, durable: Node | None, _pending: Sequence[Naming]) -> Node | None:
        """The name as it was synced."""
        return durable

    def octets(self, durable: bytearray, _pending: Sequence[Write]) -> bytes:
        """The octets that were synced."""
        return bytes(durable)


class Everything:
    """As a program that is killed leaves it."""

    def node(self, _durable: Node | None, pending: Sequence[Naming]) -> Node | None:
        """The last."""
        return pending[-1].node

    def octets(self, durable: bytearray, pending: Sequence[Write]) -> bytes:
        """All writes in order."""
        octets = bytearray(durable)
        for write in pending:
            put(octets, write.offset, write.octets, write.is_size)
        return bytes(octets)


class NamesAlone(Everything):
    """Names are written soon, octets late: files are empty, or as long as they should be, of zeros."""

    def __init__(self, has_sizes: bool) -> None:
        self._has_sizes = has_sizes

    def octets(self, durable: bytearray, pending: Sequence[Write]) -> bytes:
        """No write."""
        octets = bytearray(durable)
        size = max((write.offset + len(write.octets) for write in pending), default=0)
        if self._has_sizes and len(octets) < size:
            octets.extend(bytes(size - len(octets)))
        return bytes(octets)


class OctetsAlone(Everything):
    """Octets are there, names are not."""

    def node(self, durable: Node | None, _pending: Sequence[Naming]) -> Node | None:
        """The name as it was synced."""
        return durable


class InOrder:
    """All up to a moment, and the first half of what came then."""

    def __init__(self, chance: random.Random, until: int) -> None:
        self._chance = chance
        self._until = until

    def node(self, durable: Node | None, pending: Sequence[Naming]) -> Node | None:
        """The last before that moment."""
        before = [change for change in pending if change.ended <= self._until]
        return before[-1].node if before else durable

    def octets(self, durable: bytearray, pending: Sequence[Write]) -> bytes:
        """Writes in order; the last one ends at some sector."""
        octets = bytearray(durable)
        for write in pending:
            if write.ended > self._until:
                end = self._chance.randrange(write.offset, write.offset + len(write.octets) + 1)
                put(octets, write.offset, write.octets[: max(0, end // SECTOR * SECTOR - write.offset)])
                break
            put(octets, write.offset, write.octets, write.is_size)
        return bytes(octets)


class AnyOfIt:
    """Each name and each sector for itself, with a likelihood of its own in each state."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._names = chance.choice((0.1, 0.5, 0.9, 1.0))
        self._writes = chance.choice((0.1, 0.5, 0.9, 1.0))
        self._torn = chance.choice((0.0, 0.3, 1.0))

    def node(self, durable: Node | None, pending: Sequence[Naming]) -> Node | None:
        """One of those that the name meant since it was synced."""
        if self._chance.random() > self._names:
            return durable
        return self._chance.choice(pending).node

    def octets(self, durable: bytearray, pending: Sequence[Write]) -> bytes:
        """Some writes whole, some torn, some not at all; perhaps as long as with all of them."""
        octets = bytearray(durable)
        has_size = self._chance.random() < 0.5
        for write in pending:
            if self._chance.random() > self._writes:
                if has_size and not write.is_size:
                    put(octets, max(len(octets), write.offset + len(write.octets)), b"")
            elif write.is_size or self._chance.random() >= self._torn:
                put(octets, write.offset, write.octets, write.is_size)
            else:
                for offset, piece in _sectors(write):
                    if self._chance.random() < 0.5:
                        put(octets, offset, piece)
        return bytes(octets)


def _sectors(write: Write) -> Iterator[tuple[int, bytes]]:
    """The parts of a write that the disk writes one by one."""
    at, end = write.offset, write.offset + len(write.octets)
    while at < end:
        until = min(end, (at // SECTOR + 1) * SECTOR)
        yield at, write.octets[at - write.offset : until - write.offset]
        at = until


FIXED: tuple[tuple[str, Callable[[], Chooser]], ...] = (
    ("nothing unsynced", Nothing),
    ("names alone", lambda: NamesAlone(has_sizes=False)),
    ("everything", Everything),
    ("names and sizes alone", lambda: NamesAlone(has_sizes=True)),
    ("octets alone", OctetsAlone),
)


def choosers(chance: random.Random, line: int, some: int) -> Iterator[tuple[str, Chooser]]:
    """The fixed ones, and so many by chance."""
    for name, make in FIXED:
        yield name, make()
    for number in range(some):
        if number % 3 == 2:
            yield "in order", InOrder(chance, line - 1 - int(chance.expovariate(1 / 30)))
        else:
            yield "any of it", AnyOfIt(chance)
