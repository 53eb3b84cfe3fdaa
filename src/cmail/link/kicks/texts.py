"""What the methods can say: checked when the settings are read, and once more before it is said."""

import re
from typing import Final

from cmail.link.kicks.target import TEXT_OCTETS_MAX, is_one_line
from cmail.mail.address import AddressSyntaxError, parse_domain

DEFAULT: Final = "*"  # all that the server keeps for who has logged in
_ESCAPE: Final = re.compile(r"\\(.?)")
_ESCAPES: Final = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


def etrn_argument(text: str) -> str:
    """A domain, @domain (it and all below) or #queue as RFC 1985 §5 has them; ValueError."""
    if not is_one_line(text) or " " in text or text in ("@", "#"):
        raise ValueError("it must be a domain, @domain or #queue")
    return text


def atrn_line(text: str) -> bytes:
    """The command for a domain, several with commas between them, or "*"; ValueError."""
    if text == DEFAULT:
        return b"ATRN\r\n"
    try:
        domains = ",".join(parse_domain(domain.strip()) for domain in text.split(","))
    except AddressSyntaxError:
        raise ValueError("it must be a domain, or several with commas between them") from None
    if not domains.isascii() or len(domains) > TEXT_OCTETS_MAX:
        raise ValueError(f"the names must have no more than {TEXT_OCTETS_MAX} letters of ASCII together")
    return f"ATRN {domains}\r\n".encode("ascii")


def unescape(text: str) -> bytes:
    r"""The octets of a text in which \r, \n, \t and \\ stand for what no setting can hold; CRLF behind it
    unless it ends a line itself. ValueError when it cannot be sent."""
    if not is_one_line(text):
        raise ValueError(f"it must have 1 to {TEXT_OCTETS_MAX} letters of ASCII")
    found = _ESCAPE.sub(_unescape_one, text)
    return found.encode("ascii") + (b"" if found.endswith("\n") else b"\r\n")


def _unescape_one(found: re.Match[str]) -> str:
    if found[1] not in _ESCAPES:
        raise ValueError(rf"{found[0]!r} has no meaning: \r, \n, \t and \\ have one")
    return _ESCAPES[found[1]]
