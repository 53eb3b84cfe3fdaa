"""The one function that turns a mailbox name into a path (rule 16); safe whatever the name is."""

import hashlib
import os
import unicodedata
from typing import Final

from cmail.mail.address import Address

NAME_OCTETS_MAX: Final = 200  # a file system allows 255; Maildir++ and programs beside us add to it
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_+=@~,!")
_DIGEST_DIGITS: Final = 32


def mailbox_path(root: str, address: Address) -> str:
    """ROOT/DOMAIN/LOCAL-PART. Names that differ only in case are one mailbox."""
    return os.path.join(root, folder_name(address.domain), folder_name(address.user))


def folder_name(name: str) -> str:
    """A name of one path component: letters in lower case, what could mean something else as %HH, no dot
    in front; two names that are not the same mailbox have different ones."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    encoded = "".join(_encode(c) for c in folded)
    if encoded.startswith("."):  # "..", and what Maildir++ takes for a folder
        encoded = "%2E" + encoded[1:]
    if len(encoded.encode()) <= NAME_OCTETS_MAX:
        return encoded or "%"
    digest = hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_DIGITS]
    head = encoded.encode()[: NAME_OCTETS_MAX - _DIGEST_DIGITS - 2].decode(errors="ignore")
    return f"{head}%%{digest}"  # no encoding makes %%, so it is nobody else's name


def _encode(c: str) -> str:
    if c in _PLAIN or (ord(c) > 0x7F and c.isalnum()):
        return c
    return "".join(f"%{octet:02X}" for octet in c.encode("utf-8", "surrogatepass"))
