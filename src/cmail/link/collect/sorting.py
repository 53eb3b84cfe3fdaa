"""Whom a collected message is for and from, and whether it goes round in circles: read from its header."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cmail.mail.address import Address, AddressSyntaxError, parse_address, parse_domain
from cmail.mail.headers import find_field, remove_fields
from cmail.mail.trace import is_looping

# Where servers write whom they were given a message for, the surest first.
FIELDS: Final = (b"delivered-to", b"x-original-to", b"envelope-to", b"x-envelope-to")
RECIPIENTS_MAX: Final = 1000  # more than any server takes for one message
ROUNDS_MAX: Final = 3  # so often may a message come through one box; then it goes round in circles
_FIELDS_MAX: Final = 1000
_VALUE_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """`to` of an account: one address, or a domain."""

    text: str

    @property
    def domain(self) -> str:
        """Of a box for a whole domain, in lower case as that of an address; "" for that of one person."""
        return parse_domain(self.text[1:]) if self.text.startswith("@") else ""


def recipients_of(header: bytes, domain: str, box: str = "") -> tuple[str, ...]:
    """Who of a domain it was for, each once; none: it does not say. To and Cc are not asked: of a mailing
    list, or of who got a blind copy, they say nothing. `box`: the log-in at its server, which often is an
    address of the same domain: that a message came into the box does not say whom it was for."""
    own = ""
    for addresses in _hints(header):
        ours = [_plain(each) for each in addresses if each.domain == domain]
        found = dict.fromkeys(each for each in ours if each.lower() != box.lower())
        if found:
            return tuple(found)[:RECIPIENTS_MAX]
        own = own or next(iter(ours), "")
    return (own,) if own else ()


def _plain(address: Address) -> str:
    """Where a server with many domains wrote example.org-anna@example.org, as qmail does: without that."""
    prefix = f"{address.domain}-"
    if address.text.lower().startswith(prefix):
        plain = _address(address.text[len(prefix) :].encode())
        return plain.text if plain is not None else address.text
    return address.text


def _hints(header: bytes) -> Iterator[list[Address]]:
    """What says whom it was for, the surest first: all fields of a name; each Received by itself."""
    for name in FIELDS:
        parts = [part for value in values_of(header, name) for part in value.split(b",")]
        yield [address for part in parts if (address := _address(part)) is not None]
    for value in values_of(header, b"received"):
        yield _received_for(value)


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


def _received_for(value: bytes) -> list[Address]:
    """`for <x>` of a Received field (RFC 5321 §4.4), or a list, as older servers write it; what stands behind
    the semicolon is its date."""
    text = value.rpartition(b";")[0] or value
    lower = text.lower()
    at = lower.find(b" for ")
    while at >= 0:
        words = text[at + 5 :].replace(b",", b" ").split()
        found: list[Address] = []
        while len(found) < len(words) and (address := _address(words[len(found)])) is not None:
            found.append(address)
        if found:
            return found
        at = lower.find(b" for ", at + 5)
    return []


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
