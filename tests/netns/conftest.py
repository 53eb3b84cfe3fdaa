"""The networks of most tests here; who needs another has a fixture of the same name."""

from collections.abc import Iterator

import pytest

from tests.support.netns import Net


@pytest.fixture
def net() -> Iterator[Net]:
    """One wire, as most have."""
    with Net() as made:
        made.wire("wire")
        yield made


@pytest.fixture
def two() -> Iterator[Net]:
    """A fibre, and a satellite that the kernel goes by when the fibre has no carrier."""
    with Net() as made:
        made.set_here("net.ipv4.conf.all.ignore_routes_with_linkdown", "1")
        made.wire("fibre", metric=100)
        made.wire("sat0", metric=200)
        yield made
