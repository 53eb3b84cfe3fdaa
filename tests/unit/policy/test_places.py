"""Places and shares: what one client is, and what a worker may give it."""

import pytest

from cmail.policy.places import place_of, share_of

PLACES = {
    "192.0.2.1": "192.0.2.1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
    "fe80::1%eth0": "fe80::/64",
    "": "",
}


@pytest.mark.parametrize("address", PLACES)
def test_places(address: str) -> None:
    """An IPv4 address; of IPv6 the /64; a Unix socket has none."""
    assert place_of(address) == PLACES[address]


def test_shares() -> None:
    """One worker has all; more have their part and some for chance, never more than all, never nothing."""
    assert [share_of(100, workers) for workers in (1, 2, 4, 16, 64)] == [100, 65, 35, 12, 5]
    assert [share_of(1, workers) for workers in (1, 2, 64)] == [1, 1, 1]
