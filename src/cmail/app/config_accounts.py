"""What the settings say of accounts, beside the accounts that there are."""

from collections.abc import Sequence

from cmail.admin.nobodies import Here, Nobody, nobodies
from cmail.app.settings import Settings
from cmail.storage.account_book import AccountError


def nobodies_of(settings: Settings) -> Sequence[Nobody]:
    """Sites and mailboxes elsewhere whose account is not there (yet); blocks. AccountError."""
    host, advanced = settings.host, settings.smtp.advanced
    here = Here(
        host.data_dir,
        host.domains,
        host.hostname,
        settings.local.separator,
        not advanced.refuse_unknown_users,
    )
    return nobodies(settings.site, settings.collect, here)


def account_notes(settings: Settings) -> list[str]:
    """The same in words."""
    try:
        return [f"{each.table} {each.name}: {each.words}." for each in nobodies_of(settings)]
    except AccountError as error:
        return [f"whether the accounts that [[site]] and [[collect]] name are there cannot be seen: {error}."]
