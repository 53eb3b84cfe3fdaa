"""What `cmail user` and `cmail alias` share: the book of the data folder, opened as its owner."""

import os
from collections.abc import Callable
from typing import TypeVar

from cmail.admin.accounts import change_accounts
from cmail.cli.command import config_option
from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import Place, become_owner, find_place
from cmail.net.control_client import ControlError
from cmail.storage.account_book import AccountBook, AccountError

T = TypeVar("T")


def change_book(change: Callable[[AccountBook], T]) -> T:
    """Do it, as the owner of the data folder, and wait until the workers know."""
    place = _place()
    try:
        return change_accounts(place.data_dir, place.domains, place.hostname, change)
    except AccountError as error:
        raise _refusal(error) from error
    except ControlError as error:
        raise Refusal(
            f"it is written, but the running server did not take it over: {error.words}", error.code
        ) from error


def read_book(read: Callable[[AccountBook], T]) -> T:
    """Look into it."""
    place = _place()
    try:
        with AccountBook(place.data_dir, domains=place.domains, hostname=place.hostname) as book:
            return read(book)
    except AccountError as error:
        raise _refusal(error) from error


def _place() -> Place:
    place = find_place(config_option())
    make_folder(place)
    become_owner(place)
    return place


def make_folder(place: Place) -> None:
    """Accounts may be made before the server ran for the first time. What root makes belongs to the
    user that the server becomes."""
    if os.path.isdir(place.data_dir):
        return
    try:
        os.makedirs(place.data_dir)
        os.chmod(place.data_dir, 0o711)
        if os.geteuid() == 0:
            import pwd

            user = place.tables.get("host", {}).get("user", "cmail")
            entry = pwd.getpwnam(str(user))
            os.chown(place.data_dir, entry.pw_uid, entry.pw_gid)
    except KeyError:
        raise Refusal("the user of host.user does not exist (make install makes it)", Exit.CONFIG) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Refusal(f"{place.data_dir} cannot be made: {reason}", Exit.CANNOT_CREATE) from error


def _refusal(error: AccountError) -> Refusal:
    text = str(error)
    if text.startswith("there is no"):
        return Refusal(text, Exit.NO_USER)
    return Refusal(text, Exit.NO_PERMISSION if "ermission denied" in text else Exit.DATA)
