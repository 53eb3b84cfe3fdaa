"""What `cmail page` and `cmail token` share: the keys of the data folder, changed as its owner."""

from collections.abc import Callable
from typing import TypeVar

from cmail.admin.keys import Keys, KeysError
from cmail.cli.command import config_option
from cmail.cli.exits import Exit, Refusal, code_of, words_of
from cmail.cli.place import Place, become_owner, find_place

T = TypeVar("T")


def with_keys(use: Callable[[Keys, Place], T]) -> T:
    """Do it as the owner of the data folder; Refusal in words."""
    place = find_place(config_option())
    become_owner(place)
    try:
        return use(Keys(place.data_dir), place)
    except KeysError as error:
        is_missing = str(error).startswith("there is no token")
        raise Refusal(str(error), Exit.NO_USER if is_missing else Exit.DATA) from error
    except PermissionError as error:
        words = f"{words_of(error)}; run this as root or as the server's user"
        raise Refusal(words, Exit.NO_PERMISSION) from error
    except OSError as error:
        raise Refusal(words_of(error), code_of(error)) from error
