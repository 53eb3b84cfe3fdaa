"""Accounts as an operator changes them: first the book, then every worker has acknowledged it."""

from collections.abc import Callable
from typing import TypeVar

from cmail.admin.asking import Server
from cmail.net.control_client import NotRunningError
from cmail.storage.account_book import AccountBook

T = TypeVar("T")


def change_accounts(
    data_dir: str, domains: tuple[str, ...], hostname: str, change: Callable[[AccountBook], T]
) -> T:
    """Make a change and return when all workers have it. With the server down there is nobody to
    tell: it reads the book when it starts. AccountError: it cannot be done, and nothing is changed;
    ControlError: it is written, but a worker did not say that it knows."""
    with AccountBook(data_dir, domains=domains, hostname=hostname) as book:
        changed = change(book)
    tell_workers(data_dir)
    return changed


def tell_workers(data_dir: str) -> None:
    """All workers that run hold the new snapshot when this returns."""
    try:
        Server(data_dir).ask_workers("accounts.changed", 30.0)
    except NotRunningError:
        pass
