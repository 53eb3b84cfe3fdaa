"""Addresses: what parses, what it prints as, what is refused (RFC 5321 §4.1.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.mail.address import AddressSyntaxError, parse_address, parse_domain

GOOD = [
    ("plain", b"anna@example.org", "anna", "example.org"),
    ("case of the domain goes, of the local part stays", b"Anna@Example.ORG", "Anna", "example.org"),
    ("final dot of the domain goes", b"a@example.org.", "a", "example.org"),
    ("all atext", b"!#$%&'*+/=?^_`{|}~-@x.y", "!#$%&'*+/=?^_`{|}~-", "x.y"),
    ("quotes that say nothing go", b'"anna"@example.org', "anna", "example.org"),
    ("quotes that are needed stay", b'"an na"@example.org', '"an na"', "example.org"),
    ("needless escapes go", b'"an\\ na"@example.org', '"an na"', "example.org"),
    ("quoted at", b'"a@b"@example.org', '"a@b"', "example.org"),
    ("percent and bang have no meaning", b"a%b!c@example.org", "a%b!c", "example.org"),
    ("IPv4 literal", b"a@[192.0.2.1]", "a", "[192.0.2.1]"),
    ("IPv6 literal", b"a@[ipv6:2001:DB8::1]", "a", "[IPv6:2001:db8::1]"),
    ("UTF-8", "änne@bücher.example".encode(), "änne", "bücher.example"),
    ("single label", b"a@localhost", "a", "localhost"),
]
BAD = [
    ("no at", b"anna"),
    ("no local part", b"@example.org"),
    ("no domain", b"anna@"),
    ("two dots", b"a..b@example.org"),
    ("dot first", b".a@example.org"),
    ("blank", b"a b@example.org"),
    ("two ats", b"a@b@example.org"),
    ("open quote", b'"a@example.org'),
    ("label begins with a hyphen", b"a@-x.org"),
    ("empty label", b"a@x..org"),
    ("long label", b"a@" + b"x" * 64 + b".org"),
    ("long domain", b"a@" + b"x." * 128 + b"org"),
    ("long path", b"a" * 1100 + b"@x.org"),
    ("bad literal", b"a@[192.0.2.300]"),
    ("open literal", b"a@[192.0.2.1"),
    ("not UTF-8", b"\xff@example.org"),
    ("CR", b"a\r@example.org"),
    ("NUL in quotes", b'"a\0b"@example.org'),
    ("newline at the end", b"a@example.org\n"),
    ("angle bracket", b"<a@example.org"),
]


@pytest.mark.parametrize(("octets", "local_part", "domain"), [g[1:] for g in GOOD], ids=[g[0] for g in GOOD])
def test_good_addresses(octets: bytes, local_part: str, domain: str) -> None:
    """Each parses to its two parts, and what it prints parses to the same again."""
    address = parse_address(octets)
    assert (address.local_part, address.domain) == (local_part, domain)
    assert parse_address(bytes(address)) == address


@pytest.mark.parametrize("octets", [b[1] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_addresses(octets: bytes) -> None:
    """Each is refused by name, not by accident."""
    with pytest.raises(AddressSyntaxError):
        parse_address(octets)


def test_user_is_the_meaning_of_a_quoted_local_part() -> None:
    """The user of a quoted local part has no quotes and no escapes."""
    assert parse_address(rb'"a \"b\" c"@example.org').user == 'a "b" c'


@given(st.binary(max_size=80))
def test_any_octets_parse_or_are_refused(octets: bytes) -> None:
    """No octets raise anything but AddressSyntaxError; what parses is stable and has no control."""
    try:
        address = parse_address(octets)
    except AddressSyntaxError:
        return
    assert parse_address(bytes(address)) == address
    assert not any(c < " " or c == "\x7f" for c in address.text)


@given(st.text(max_size=40))
def test_any_domain_parses_or_is_refused(text: str) -> None:
    """parse_domain is idempotent where it takes a text."""
    try:
        domain = parse_domain(text)
    except AddressSyntaxError:
        return
    assert parse_domain(domain) == domain
