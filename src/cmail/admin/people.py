"""People: what the page does with accounts beyond the book: good passwords, sizes, which field is wrong."""

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cmail.mail.address import AddressSyntaxError, parse_address
from cmail.storage.mailbox_names import mailbox_path

# No letter that is taken for another one when it is read aloud or from paper.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS: Final = 4
_OF_GROUP: Final = 4  # four of four: 79 bits
_COMMAND: Final = re.compile(r" \(cmail [^)]*\)")
_OF_TARGETS: Final = (
    "needs at least one address",
    "leads to",
    "would lead to itself",
    "as a target too",
)


def good_password() -> str:
    """One that nobody guesses and that can be told on the telephone."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_OF_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


@dataclass(frozen=True, slots=True)
class MailboxSize:
    """What lies in a mailbox here."""

    messages: int
    octets: int


def mailbox_size(data_dir: str, address: str) -> MailboxSize:
    """Look through all of its folders; blocks, for a large one some seconds."""
    messages = octets = 0
    try:
        path = mailbox_path(os.path.join(data_dir, "mail"), parse_address(address.encode()))
    except AddressSyntaxError:
        return MailboxSize(0, 0)
    for folder in [path, *_folders(path)]:
        for part in ("new", "cur"):
            for entry in _entries(os.path.join(folder, part)):
                try:
                    octets += entry.stat(follow_symlinks=False).st_size
                except OSError:
                    continue  # read and filed away at this moment
                messages += 1
    return MailboxSize(messages, octets)


def _folders(path: str) -> list[str]:
    """Maildir++: folders are beside the inbox, with a dot in front."""
    return [each.path for each in _entries(path) if each.name.startswith(".") and each.is_dir()]


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except OSError:
        return []


def words_of(error: Exception) -> str:
    """What the book said, for somebody who is not at a terminal."""
    words = without_commands(str(error))
    return f"{words[:1].upper()}{words[1:]}."


def without_commands(words: str) -> str:
    """Without what is to be typed at a terminal."""
    return _COMMAND.sub("", words)


def field_of(error: Exception, address: str, targets: Sequence[str] = ()) -> str:
    """The field that it is about: address, password or targets."""
    words = str(error)
    if words.startswith("the password"):
        return "password"
    if any(each in words for each in _OF_TARGETS):
        return "targets"
    return (
        "targets"
        if any(words.startswith(f"{target!r} ") for target in targets if target != address)
        else "address"
    )
