"""Directory: whose mailbox an address of ours means, and what an alias leads to."""

import pytest

from cmail.mail.address import parse_address
from cmail.mail.limits import ALIAS_TARGETS_MAX
from cmail.policy.rewriting import Directory, Resolution, ToAddresses, ToMailbox, Unknown

USERS = frozenset(
    ["anna@example.org", "bob@example.org", "bob@example.net", "b+b@example.org", '"a b"@example.org']
)
ALIASES = {
    "sales@example.org": ("anna@example.org", "x@outside.example"),
    "all@example.org": ("sales@example.org", "bob@example.org", "anna@example.org"),
    "bob@example.net": ("bob@example.net", "copy@outside.example"),  # a user who also forwards
    "team@example.org": ("bob@example.net",),
    "ring@example.org": ("rong@example.org",),
    "rong@example.org": ("ring@example.org", "anna@example.org"),
    "dead@example.org": ("end@example.org",),
    "end@example.org": ("dead@example.org",),
    "way@example.org": ("ring@example.org",),
    "plus@example.org": ("anna+list@example.org",),
    "typo@example.org": ("nobody@example.org",),
    "@example.net": ("anna@example.org",),
}


def directory(**changes: object) -> Directory:
    told: dict[str, object] = {
        "domains": ("example.org", "example.net"),
        "hostname": "mx.example.com",
        **changes,
    }
    return Directory(USERS, ALIASES, **told)  # type: ignore[arg-type]


def box(text: str) -> ToMailbox:
    return ToMailbox(parse_address(text.encode()))


def to(*texts: str) -> ToAddresses:
    return ToAddresses(tuple(parse_address(text.encode()) for text in texts))


FOUND: list[tuple[str, str, Resolution]] = [
    ("a user", "anna@example.org", box("anna@example.org")),
    ("case does not matter", "ANNA@example.org", box("anna@example.org")),
    ("plus addressing", "anna+x+y@example.org", box("anna@example.org")),
    ("a user with a plus of their own", "b+b@example.org", box("b+b@example.org")),
    ("a quoted user", '"A b"@example.org', box('"a b"@example.org')),
    ("nobody", "carl@example.org", Unknown()),
    ("only an extension", "+anna@example.org", Unknown()),
    ("the host name means the first domain", "anna@mx.example.com", box("anna@example.org")),
    ("an address literal too", "anna@[192.0.2.1]", box("anna@example.org")),
    ("an alias", "sales@example.org", to("anna@example.org", "x@outside.example")),
    ("an alias with an extension", "sales+q@example.org", to("anna@example.org", "x@outside.example")),
    (
        "aliases of aliases, each address once",
        "all@example.org",
        to("anna@example.org", "x@outside.example", "bob@example.org"),
    ),
    ("a copy", "bob@example.net", to("bob@example.net", "copy@outside.example")),
    ("an alias to a copy", "team@example.org", to("bob@example.net", "copy@outside.example")),
    ("a ring ends", "ring@example.org", to("anna@example.org")),
    ("a way into a ring", "way@example.org", to("anna@example.org")),
    ("a ring without an end", "dead@example.org", Unknown()),
    ("an alias to an extension", "plus@example.org", to("anna@example.org")),
    ("an alias to nobody fails there", "typo@example.org", to("nobody@example.org")),
    ("catch-all", "whoever@example.net", to("anna@example.org")),
    ("postmaster always exists", "postmaster@example.org", box("postmaster@example.org")),
    ("in any case and at the host", "PostMaster@mx.example.com", box("postmaster@example.org")),
    ("root is postmaster", "root@example.org", box("postmaster@example.org")),
    ("root at the host too", "Root@mx.example.com", box("postmaster@example.org")),
    ("catch-all before root", "root@example.net", to("anna@example.org")),
    ("catch-all before postmaster", "postmaster@example.net", to("anna@example.org")),
]


@pytest.mark.parametrize(("text", "resolution"), [row[1:] for row in FOUND], ids=[r[0] for r in FOUND])
def test_an_address_of_ours_means(text: str, resolution: Resolution) -> None:
    """Each way of writing an address leads where it should; asked twice, to the same."""
    who = directory()
    assert who.resolve(parse_address(text.encode())) == resolution
    assert who.resolve(parse_address(text.encode())) == resolution


def test_who_was_expanded_is_not_expanded_again() -> None:
    """A user who is an alias too gets the copy into the mailbox: the second look is the end of it."""
    who = directory()
    bob = parse_address(b"bob@example.net")
    assert isinstance(who.resolve(bob), ToAddresses)
    assert who.resolve(bob, is_expanded=True) == box("bob@example.net")


def test_without_refusal_unknown_users_are_postmasters() -> None:
    """Rule 13: where unknown users are not refused, postmaster has their mail."""
    who = directory(refuse_unknown_users=False)
    assert who.resolve(parse_address(b"carl@example.org")) == box("postmaster@example.org")


def test_an_lmtp_server_knows_its_own_users() -> None:
    """With LMTP and no refusal the address goes there as it came; with refusal our list counts."""
    who = directory(refuse_unknown_users=False, is_lmtp=True)
    assert who.resolve(parse_address(b"Carl@example.org")) == box("Carl@example.org")
    strict = directory(is_lmtp=True)
    assert strict.resolve(parse_address(b"carl@example.org")) == Unknown()


def test_the_separator_can_be_switched_off() -> None:
    """With an empty separator an extension makes another name."""
    who = directory(separator="")
    assert who.resolve(parse_address(b"anna+x@example.org")) == Unknown()


def test_a_huge_alias_is_cut() -> None:
    """No alias makes more recipients than the limit, however aliases are nested."""
    aliases = {
        f"l{n}@example.org": (*(f"u{n}-{i}@outside.example" for i in range(400)), f"l{n + 1}@example.org")
        for n in range(10)
    }
    who = Directory(frozenset(), aliases, domains=("example.org",), hostname="mx.example.org")
    found = who.resolve(parse_address(b"l0@example.org"))
    assert isinstance(found, ToAddresses)
    assert len(found.addresses) == ALIAS_TARGETS_MAX


def test_guessing_costs_no_memory() -> None:
    """However many names are tried, what is remembered stays bounded."""
    who = directory()
    for number in range(10_000):
        who.resolve(parse_address(b"guess%d@example.org" % number))
    assert len(who._remembered) <= 4096


def test_without_domains_the_host_name_is_ours() -> None:
    """A server that was given no domain has mailboxes at its host name."""
    who = Directory(frozenset(["anna@mx.example.com"]), {}, hostname="mx.example.com")
    assert who.primary_domain == "mx.example.com"
    assert who.resolve(parse_address(b"anna@mx.example.com")) == box("anna@mx.example.com")
