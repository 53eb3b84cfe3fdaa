"""Names and passwords as they are compared: SASLprep (RFC 4013), without its rules for text direction."""

import stringprep
import unicodedata
from typing import Final

NAME_OCTETS_MAX: Final = 512  # a local part and a domain, with room
PASSWORD_OCTETS_MAX: Final = 1024

_FORBIDDEN: Final = (  # RFC 4013 §2.3
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepare(text: str) -> str | None:
    """The form that is compared; None when a character in it is forbidden, or nothing is left."""
    if not text.isascii():
        kept = [c for c in text if not stringprep.in_table_b1(c)]
        spaced = "".join(" " if stringprep.in_table_c12(c) else c for c in kept)
        text = unicodedata.normalize("NFKC", spaced)
    if not text or any(is_in(c) for c in text for is_in in _FORBIDDEN):
        return None
    return text


def decode(octets: bytes, octets_max: int) -> str | None:
    """The form that is compared, from what came over the wire."""
    if len(octets) > octets_max:
        return None
    try:
        return prepare(octets.decode())
    except UnicodeDecodeError:
        return None
