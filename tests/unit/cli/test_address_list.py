"""Address lists as people write them become addresses, or a sentence that says which one is wrong."""

import pytest

from cmail.cli.address_list import ADDRESSES_MAX, parse_list
from cmail.mail.address import AddressSyntaxError

LISTS = {
    "one": ("anna@example.org", ["anna@example.org"]),
    "bare name": ("anna", ["anna@example.com"]),
    "angle": ("<anna@example.org>", ["anna@example.org"]),
    "display name": ("Anna Example <anna@example.org>", ["anna@example.org"]),
    "comma in quotes": (
        '"Doe, John" <john@example.org>, bob@example.net',
        ["john@example.org", "bob@example.net"],
    ),
    "escaped quote": (r'"a \" , b" <a@b.example>', ["a@b.example"]),
    "encoded word": ("=?UTF-8?Q?J=C3=B6rg=2C?= <j@example.org>", ["j@example.org"]),
    "comment": ("anna@example.org (Anna, of sales)", ["anna@example.org"]),
    "nested comment": ("(a (b, c) \\) d) anna@example.org", ["anna@example.org"]),
    "group": (
        "Friends: a@example.org, B <b@example.org>;, c@example.org",
        ["a@example.org", "b@example.org", "c@example.org"],
    ),
    "empty group": ("undisclosed-recipients:;", []),
    "empty elements": (", a@example.org,,", ["a@example.org"]),
    "folded": ("a@example.org,\n\tb@example.org", ["a@example.org", "b@example.org"]),
    "source route": ("<@x.example,@y.example:a@example.org>", ["a@example.org"]),
    "space around @ and dots": ("anna . b @ example . org", ["anna.b@example.org"]),
    "quoted local part": ('"anna b"@example.org', ['"anna b"@example.org']),
    "quoted @": ('"a@b"@example.org', ['"a@b"@example.org']),
    "literal with colons": ("a@[IPv6:::1]", ["a@[IPv6:::1]"]),
    "semicolon": ("a@example.org; b@example.org", ["a@example.org", "b@example.org"]),
    "not ascii": ("jörg@example.org", ["jörg@example.org"]),
}
WRONG = {
    "two words": "anna example",
    "no end of quote": '"anna <a@example.org>',
    "no end of comment": "a@example.org (hello",
    "no end of angle": "Anna <a@example.org",
    "empty angle": "Anna <>",
    "no domain": "a@",
    "control": "a\x01b@example.org",
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(name: str) -> None:
    """Each way of writing gives the addresses that are meant."""
    text, expected = LISTS[name]
    assert [str(a) for a in parse_list(text, "example.com")] == expected


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    """What is none is refused."""
    with pytest.raises(AddressSyntaxError):
        parse_list(WRONG[name], "example.com")


def test_limit() -> None:
    """A list has a limit."""
    with pytest.raises(AddressSyntaxError, match="more than"):
        parse_list("a@b.example," * (ADDRESSES_MAX + 1), "example.com")
