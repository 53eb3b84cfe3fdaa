"""Whom a collected message is for and from, and whether it goes round in circles: read from its header."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cmail.mail.address import Address, AddressSyntaxError, parse_address
from cmail.mail.headers import find_field, remove_fields
from cmail.mail.trace import is_looping

# Where servers write whom they were given a message for, the surest first.
FIELDS: Final = (b"delivered-to", b"x-original-to", b"envelope-to", b"x-envelope-to")
RECIPIENTS_MAX: Final = 100
ROUNDS_MAX: Final = 3  # so often may a message come through one box; then it goes round in circles
_FIELDS_MAX: Final = 200
_VALUE_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """`to` of an account: one address, or a domain."""

    text: str

    @property
    def domain(self) -> str:
        """Of a box for a whole domain; "" for that of one person."""
        return self.text[1:] if self.text.startswith("@") else ""


def recipients_of(header: bytes, domain: str) -> tuple[str, ...]:
    """Who of a domain it was for, each once; none: it does not say. To and Cc are not asked: of a mailing
    list, or of who got a blind copy, they say nothing."""
    for name in FIELDS:
        found: dict[str, None] = {}
        for value in values_of(header, name):
            for part in value.split(b","):
                address = _address(part)
                if address is not None and address.domain == domain:
                    found[address.text] = None
        if found:
            return tuple(found)[:RECIPIENTS_MAX]
    for value in values_of(header, b"received"):
        address = _received_for(value)
        if address is not None and address.domain == domain:
            return (address.text,)
    return ()


def values_of(header: bytes, name: bytes) -> list[bytes]:
    """The values of all fields of a name (lower case), unfolded, from the top."""
    found: list[bytes] = []
    is_wanted = False
    for line in header.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            if is_wanted and len(found[-1]) < _VALUE_MAX:
                found[-1] += b" " + line.strip()
            continue
        before, colon, value = line.partition(b":")
        is_wanted = bool(colon) and before.rstrip().lower() == name and len(found) < _FIELDS_MAX
        if is_wanted:
            found.append(value.strip()[:_VALUE_MAX])
    return found


def _received_for(value: bytes) -> Address | None:
    """`for <x>` of a Received field (RFC 5321 §4.4); what stands behind the semicolon is its date."""
    text = value.rpartition(b";")[0] or value
    lower = text.lower()
    at = lower.find(b" for ")
    while at >= 0:
        word = text[at + 5 :].lstrip().partition(b" ")[0]
        address = _address(word)
        if address is not None:
            return address
        at = lower.find(b" for ", at + 5)
    return None


def _address(octets: bytes) -> Address | None:
    text = octets.strip()
    begin = text.rfind(b"<")
    if begin >= 0:
        text = text[begin + 1 :].partition(b">")[0]
    if b"@" not in text or len(text) > 1000:
        return None
    try:
        return parse_address(text)
    except AddressSyntaxError:
        return None


def reverse_path_of(header: bytes) -> str:
    """What the server noted of who sent it (Return-Path); "" when it did not, or nobody did."""
    value = find_field(header, b"return-path")
    address = _address(value) if value else None
    return address.text if address is not None else ""


def is_report(header: bytes) -> bool:
    """Whether it was sent by nobody: the server noted an empty Return-Path."""
    value = find_field(header, b"return-path")
    return value is not None and value.replace(b" ", b"") == b"<>"


def circle_of(header: bytes, marks: Sequence[bytes]) -> str:
    """Why it goes round in circles, in words; "" when it does not. `marks` stand in each Received field of
    who collected it before."""
    if is_looping(header):
        return "it has more than 100 Received fields"
    rounds = sum(all(mark in value for mark in marks) for value in values_of(header, b"received"))
    return f"it has come through here {rounds} times already" if rounds >= ROUNDS_MAX else ""


def without_notes(header: bytes, names: Sequence[bytes]) -> bytes:
    """The header without what a server notes in it."""
    for name in names:
        header = remove_fields(header, name)
    return header
