"""Routes: whose an address is, which way it goes, and which ways need the Internet."""

import pytest

from cmail.mail.address import parse_address
from cmail.policy.routing import RoutingTable, host_route, is_internet, parse_host_route

TABLE = RoutingTable(
    "mail.example.org",
    frozenset({"example.org"}),
    "maildir",
    "smarthost",
    frozenset({"[192.0.2.1]"}),
    {"branch.example.org": host_route("10.0.0.7", 2525, "none")},
)


@pytest.mark.parametrize(
    ("address", "route", "is_taken"),
    [
        ("anna@example.org", "local", True),
        ("root@mail.example.org", "local", True),
        ("anna@[192.0.2.1]", "local", True),
        ("anybody@branch.example.org", "host:10.0.0.7:2525/none", True),
        ("postmaster@Branch.Example.ORG", "host:10.0.0.7:2525/none", True),
        ("anna@sub.branch.example.org", "relay", False),
        ("bob@example.net", "relay", False),
    ],
)
def test_first_match_wins(address: str, route: str, is_taken: bool) -> None:
    """Ours, then what is forwarded to a host, then the way out; from strangers the first two are taken."""
    found = parse_address(address.encode())
    assert (TABLE.route(found), TABLE.is_taken(found.domain)) == (route, is_taken)


@pytest.mark.parametrize(
    ("host", "port", "tls"), [("mail.branch.example", 25, "required"), ("2001:db8::1", 465, "implicit")]
)
def test_a_host_route_says_all_that_there_is_to_know(host: str, port: int, tls: str) -> None:
    """Host, port and encryption come back as they went in, IPv6 too."""
    assert parse_host_route(host_route(host, port, tls)) == (host, port, tls)


@pytest.mark.parametrize(
    ("host", "needs_internet"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("10.1.2.3", False),
        ("172.31.0.1", False),
        ("172.32.0.1", True),
        ("192.168.7.2", False),
        ("169.254.1.1", False),
        ("fd00::25", False),
        ("fe80::1", False),
        ("198.51.100.4", True),
        ("2001:db8::1", True),
        ("exchange", False),
        ("localhost", False),
        ("exchange.office.lan", False),
        ("mail.local.", False),
        ("mail.home.arpa", False),
        ("lan", False),
        ("mail.example.net", True),
        ("notlan.example", True),
    ],
)
def test_what_is_within_our_walls_does_not_need_the_internet(host: str, needs_internet: bool) -> None:
    """Batch, windows and a link that is down hold mail for the Internet alone."""
    assert is_internet(host_route(host, 25, "opportunistic")) is needs_internet
