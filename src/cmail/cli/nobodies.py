"""Sites and mailboxes elsewhere whose account is not there: what the commands say of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cmail.cli.place import Place

if TYPE_CHECKING:
    from cmail.admin.nobodies import Nobody


def nobodies_of(place: Place) -> "Sequence[Nobody]":
    """By the file and the accounts as they are now; none where we may not read who is there."""
    if not (place.tables.get("site") or place.tables.get("collect")):
        return ()
    from cmail.admin.nobodies import here_of, nobodies, rows_of  # of no use to most installations
    from cmail.storage.account_book import AccountError

    here = here_of(place.tables, place.data_dir, place.domains, place.hostname)
    try:
        return nobodies(rows_of(place.tables, "site"), rows_of(place.tables, "collect"), here)
    except AccountError:
        return ()


def warnings_of(place: Place, table: str) -> dict[str, str]:
    """Of the rows of site or collect, by their names: a sentence each."""
    found = nobodies_of(place)
    if not found:
        return {}
    from cmail.admin.nobodies import words_by_name

    return words_by_name(found, table)
