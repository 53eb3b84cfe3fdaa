"""Address: local-part@domain, parsed once, printed the same everywhere (RFC 5321 §4.1.2)."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cmail.mail.limits import DOMAIN_OCTETS_MAX, PATH_OCTETS_MAX

# Classes by what is not in them: the same characters, and compiled in a tenth of the time, which every
# start of `sendmail` waits for.
_ATEXT: Final = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f]'  # RFC 5321 §4.1.2, RFC 6531 §3.3: and all above ASCII
_DOT_STRING: Final = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_QUOTED: Final = re.compile(r'"(?:[^\x00-\x1f"\\\x7f]|\\[ -~])*"\Z')
_LET_DIG: Final = r"[^\x00-/:-@\[-^`{-\x7f]"  # letters, digits, _, and all above ASCII
_LDH: Final = r"[^\x00-,./:-@\[-^`{-\x7f]"  # and -
_LABEL: Final = rf"{_LET_DIG}(?:{_LDH}*{_LET_DIG})?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class AddressSyntaxError(ValueError):
    """Not an address; says where and what."""


@dataclass(frozen=True, slots=True)
class Address:
    """local-part@domain. The local part as on the wire (quoted only where it must be, case kept),
    the domain in lower case, or an address literal in brackets. Has no control character in it."""

    local_part: str
    domain: str
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", f"{self.local_part}@{self.domain}")

    def __str__(self) -> str:
        """The address as it stands between < and >."""
        return self.text

    def __bytes__(self) -> bytes:
        """The address on the wire, UTF-8."""
        return self.text.encode()

    @property
    def is_ascii(self) -> bool:
        """Whether it can travel without SMTPUTF8 (RFC 6531)."""
        return self.text.isascii()

    @property
    def is_literal(self) -> bool:
        """Whether the domain is an address literal: [192.0.2.1] (RFC 5321 §4.1.3)."""
        return self.domain.startswith("[")

    @property
    def user(self) -> str:
        """The local part without its quotes: what it means (RFC 5321 §4.1.2)."""
        if self.local_part.startswith('"'):
            return re.sub(r"\\(.)", r"\1", self.local_part[1:-1])
        return self.local_part


@lru_cache(maxsize=4096)
def parse_address(octets: bytes) -> Address:
    """Parse `local-part@domain` (no angle brackets, no source route); AddressSyntaxError says why.

    The last @ outside quotes parts the two; %, ! and a quoted @ get no second meaning (rule 12)."""
    if len(octets) > PATH_OCTETS_MAX:
        raise AddressSyntaxError(f"longer than {PATH_OCTETS_MAX} octets")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise AddressSyntaxError("not UTF-8") from None
    if _CONTROL.search(text):
        raise AddressSyntaxError("a control character")
    local_part, at, domain = text.rpartition("@")
    if not at:
        raise AddressSyntaxError("no @ and domain")
    return Address(_parse_local_part(local_part), parse_domain(domain))


def _parse_local_part(text: str) -> str:
    if _DOT_STRING.match(text):
        return text
    if not _QUOTED.match(text):
        raise AddressSyntaxError("the local part is not a dot-string or a quoted string")
    plain = re.sub(r"\\(.)", r"\1", text[1:-1])
    if _DOT_STRING.match(plain):
        return plain  # the quotes said nothing: "anna"@ and anna@ are one mailbox (§4.1.2)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_domain(text: str) -> str:
    """A domain in lower case without a final dot, or an address literal; AddressSyntaxError."""
    if text.startswith("["):
        return _parse_literal(text)
    domain = text.lower().removesuffix(".")
    if len(domain.encode()) > DOMAIN_OCTETS_MAX or not _DOMAIN.match(domain):
        raise AddressSyntaxError("the domain is not a domain name or an address literal")
    if any(len(label.encode()) > 63 * (1 + 3 * (not label.isascii())) for label in domain.split(".")):
        raise AddressSyntaxError("a label of the domain is longer than 63 octets")
    return domain


def _parse_literal(text: str) -> str:
    inner = text[1:-1] if text.endswith("]") else ""
    try:
        if inner.lower().startswith("ipv6:"):
            return f"[IPv6:{IPv6Address(inner[5:])}]"
        return f"[{IPv4Address(inner)}]"
    except ValueError:
        raise AddressSyntaxError("not an address literal like [192.0.2.1]") from None
