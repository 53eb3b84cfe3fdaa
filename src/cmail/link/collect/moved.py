"""Moved: a mailbox that the settings name in another way than before: its server by another name, by another
protocol.

What came from there does not come again. Where its messages have the same names still, the ledger goes on
with them, once one of them was compared whole; else each is known by what is in it, when it is here."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from cmail.link.collect.box import Listed
from cmail.link.collect.ledger import Entry, Ledger, State
from cmail.link.collect.parts import Parts
from cmail.link.settings import CollectSettings

BOXES_MAX: Final = 20  # that are looked through; nobody renames a mailbox more often

DigestOf = Callable[
    [Listed], Awaitable[str]
]  # of a message at the server, fetched for it; "": it cannot be had


class Moved:
    """Of one collection: the boxes that its box may have been."""

    def __init__(self, parts: Parts, boxes: Sequence[tuple[int, str]]) -> None:
        self._parts = parts
        self._boxes = boxes

    @classmethod
    async def look(cls, parts: Parts, account: CollectSettings, own: int) -> "Moved":
        """Those of the same user that the settings named until this one was there: who has two at a time may
        have a copy of a message in each, and wants both."""
        ledger = parts.ledger
        user = f"{account.username.partition('@')[0].lower()}@"
        found: list[tuple[int, str]] = []
        for number, name in await ledger.run(Ledger.boxes):
            is_named = name in parts.configured or number == own
            if is_named or not name.partition("://")[2].lower().startswith(user):
                continue
            if await ledger.run(partial(Ledger.was_before, box=number, later=own)):
                found.append((number, name))
        return cls(parts, found[:BOXES_MAX])

    async def box(self, new: str, listed: Sequence[Listed], digest_of: DigestOf) -> int:
        """The number of the one that it was, which has the new name in the ledger from now on; 0: none.
        For a box in which nothing was ever seen."""
        for number, name in self._boxes:
            if _way(name) != _way(new):
                continue
            known = await self._parts.ledger.run(partial(Ledger.known, box=number))
            shared = [(known[each.uid], each) for each in listed if _is_done(known.get(each.uid))]
            if not shared:
                continue
            entry, least = min(shared, key=lambda pair: pair[0].size)
            if await digest_of(least) == entry.digest:
                await self._parts.ledger.run(partial(Ledger.rename_box, box=number, name=new))
                return number
        return 0

    async def message(self, digest: str) -> Entry | None:
        """The same, that came from one of them and is kept there."""
        for number, _ in self._boxes:
            for entry in await self._parts.ledger.run(partial(Ledger.same, box=number, digest=digest)):
                if entry.state is State.DONE:
                    return entry
        return None


def _is_done(entry: Entry | None) -> bool:
    return entry is not None and entry.state is State.DONE and bool(entry.digest)


def _way(name: str) -> tuple[str, str]:
    """Protocol and folder: names of messages are good within these."""
    protocol, _, rest = name.partition("://")
    return protocol, rest.rpartition("@")[2].partition("/")[2]
