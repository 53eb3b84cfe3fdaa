"""Nobodies: addresses that [[site]] and [[collect]] name as accounts here, and that nobody has; in words.

The account may come later, so nothing is refused for it: it is said wherever one looks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cmail.mail.address import Address, AddressSyntaxError, parse_address
from cmail.policy.rewriting import Directory, Unknown
from cmail.storage.account_book import FILE_NAME
from cmail.storage.account_list import AccountList

SITE: Final = "site"
COLLECT: Final = "collect"
Rows = Sequence[Any]  # of the settings, as the file has them: perhaps nonsense


@dataclass(frozen=True, slots=True)
class Here:
    """Who an address is, as the settings say it."""

    data_dir: str
    domains: tuple[str, ...]
    hostname: str
    separator: str = "+"
    is_anybody_taken: bool = False  # mail for users that are not known here is not refused


@dataclass(frozen=True, slots=True)
class Nobody:
    """One of them."""

    table: str  # site, collect
    name: str
    words: str  # what follows from it, a sentence without its end


def nobodies(sites: Rows, collects: Rows, here: Here) -> list[Nobody]:
    """Those that are named and not there, in the order of the settings; blocks. AccountError: there is no
    reading who is there."""
    users = [(_text(row, "name"), user) for row in sites if (user := _log_in_of(row)) is not None]
    boxes = [(_text(row, "name"), to) for row in collects if (to := _recipient_of(row, here)) is not None]
    boxes = [] if here.is_anybody_taken else boxes
    if not users and not boxes:
        return []
    directory, existing = _read([address for _, address in (*users, *boxes)], here)
    found = [
        Nobody(SITE, name, _site_words(user, here)) for name, user in users if _lower(user) not in existing
    ]
    return found + [
        Nobody(COLLECT, name, _collect_words(to))
        for name, to in boxes
        if isinstance(directory.resolve(to), Unknown)
    ]


def words_by_name(found: Sequence[Nobody], table: str) -> dict[str, str]:
    """Of one table: the words by the name of its row, each a sentence."""
    return {each.name: f"{each.words[:1].upper()}{each.words[1:]}." for each in found if each.table == table}


def here_of(tables: Mapping[str, Any], data_dir: str, domains: tuple[str, ...], hostname: str) -> Here:
    """From a file that was not checked."""
    local, smtp = _table(tables, "local"), _table(_table(tables, "smtp"), "advanced")
    is_taken = smtp.get("refuse_unknown_users") is False
    ours = tuple(_plain(domain) for domain in domains)
    return Here(data_dir, ours, _plain(hostname), str(local.get("separator", "+")), is_taken)


def rows_of(tables: Mapping[str, Any], name: str) -> Rows:
    """Of a file that was not checked."""
    found = tables.get(name)
    return found if isinstance(found, list | tuple) else ()


def _log_in_of(row: Any) -> Address | None:
    """The account with which a site logs in; one with a password of its own needs none."""
    return None if _text(row, "password_file") else _address(_text(row, "user"))


def _recipient_of(row: Any, here: Here) -> Address | None:
    """Whose mail a mailbox has, where that is one of us."""
    address = _address(_text(row, "to"))
    return address if address is not None and address.domain in (*here.domains, here.hostname) else None


def _read(addresses: Sequence[Address], here: Here) -> tuple[Directory, frozenset[str]]:
    """Of the accounts those that can be meant, and not all of them: there may be very many."""
    names = {name: None for address in addresses for name in _meant(address, here)}
    users: frozenset[str] = frozenset()
    aliases: Mapping[str, tuple[str, ...]] = {}
    if os.path.exists(os.path.join(here.data_dir, FILE_NAME)):  # else nobody has an account yet
        users, aliases = AccountList(here.data_dir).existing(list(names))
    directory = Directory(
        users, aliases, separator=here.separator, domains=here.domains, hostname=here.hostname
    )
    return directory, users


def _meant(address: Address, here: Here) -> list[str]:
    """By which names policy.rewriting.Directory looks for it."""
    local_part = address.local_part.lower()
    plain = local_part.partition(here.separator)[0] if here.separator else local_part
    domains = (address.domain, here.domains[0] if here.domains else here.hostname)
    return [f"{each}@{domain}" for domain in domains for each in (local_part, plain, "")]


def _site_words(user: Address, here: Here) -> str:
    if user.domain not in (here.domains or (here.hostname,)):
        ours = ", ".join(here.domains) or here.hostname
        cannot = f"there can be no account {user.text} here"
        return f"{cannot}, because accounts are at {ours}: the site cannot log in"
    return (
        f"there is no account {user.text} here: the site cannot log in until it is made"
        f" (cmail user add {user.text})"
    )


def _collect_words(to: Address) -> str:
    return (
        f"there is neither an account nor an alias {to.text} here: nothing is fetched for it until there is"
        f" one (cmail user add {to.text})"
    )


def _plain(domain: str) -> str:
    return domain.lower().removesuffix(".")


def _lower(address: Address) -> str:
    return f"{address.local_part.lower()}@{address.domain}"


def _address(text: str) -> Address | None:
    try:
        return parse_address(text.encode()) if text and not text.startswith("@") else None
    except (AddressSyntaxError, UnicodeEncodeError):
        return None


def _text(row: Any, name: str) -> str:
    value = row.get(name, "") if isinstance(row, Mapping) else getattr(row, name, "")
    return value if isinstance(value, str) else ""


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tables.get(name)
    return found if isinstance(found, Mapping) else {}
