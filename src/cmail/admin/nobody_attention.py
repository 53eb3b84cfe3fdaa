"""Accounts that sites and mailboxes elsewhere need and that are not there, as what a person should see to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from cmail.admin.nobodies import COLLECT, SITE, Nobody
from cmail.admin.overview import Attention, Overview
from cmail.admin.people import without_commands
from cmail.storage.account_book import AccountError

_WHOSE: Final = {SITE: "The site", COLLECT: "The mailbox elsewhere"}


def of_nobodies(found: Sequence[Nobody]) -> list[Attention]:
    """Of sites and mailboxes elsewhere whose account is not there."""
    advice = "Make it, or name another one in the settings."
    return [
        Attention(f"{_WHOSE[each.table]} {each.name}: {without_commands(each.words)}.", advice, "/users")
        for each in found
    ]


class NobodyFinder:
    """An overview.Finder: accounts that sites and mailboxes elsewhere need, and that are not there."""

    def __init__(self, find: Callable[[], Sequence[Nobody]]) -> None:
        """`find` blocks."""
        self._find = find

    async def __call__(self, overview: Overview) -> Sequence[Attention]:
        """See overview.Finder."""
        try:
            return of_nobodies(await asyncio.to_thread(self._find))
        except AccountError:
            return ()  # who cannot be read cannot log in either: that is said by others
