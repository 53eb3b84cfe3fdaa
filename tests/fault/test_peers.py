"""Next hops in trouble, the quick part: each cell of the table at the agents; tests/fault/peers.py is the rest."""

import asyncio
from collections.abc import Mapping

import pytest

from tests.fault.peers_agent import Told, faults, tables, try_all
from tests.fault.peers_table import Cell

NAMES = (
    "an upstream server",
    "one that must be encrypted",
    "one that we log in to",
    "a domain with a second host",
    "a connection that was kept",
    "a large message",
    "LMTP",
    "LMTP to three",
)
Tables = Mapping[str, Mapping[Cell, Told]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """How all cells of all tables went: they are tried together, as most of them are a wait."""
    wanted = tables(tmp_path_factory.mktemp("peers"))
    assert wanted.keys() == set(NAMES)
    return asyncio.run(try_all(wanted))


@pytest.mark.parametrize("name", NAMES)
def test_each_cell_fares_as_the_table_says(told: Tables, name: str) -> None:
    """Delivered, waiting with which words, in doubt, or bounced: at each stage, in each trouble; none hangs."""
    assert faults(told[name]) == []


def test_what_bounces_has_been_refused_by_the_peer(told: Tables) -> None:
    """Whatever the table says of it: without a 5yz in its place nothing bounces."""
    refusals = ("552", "screed")
    bounced = [cell for cells in told.values() for cell, went in cells.items() if "b" in went.fates]
    assert bounced and {cell.trouble for cell in bounced} == set(refusals)


def test_nothing_is_lost_and_what_comes_twice_was_in_doubt(told: Tables) -> None:
    """What is called delivered has arrived; what arrived without being called so waits in doubt."""
    for name in ("an upstream server", "one that must be encrypted", "one that we log in to"):
        for cell, went in told[name].items():
            assert went.fates != "d" or went.arrived == 1, cell.name
            assert went.fates not in ("n", "w", "b") or not went.arrived, cell.name


def test_endless_reply_is_cut(told: Tables) -> None:
    """Of a reply without end no more is read than what the sockets hold."""
    most = max(
        sink.endless_octets for cells in told.values() for went in cells.values() for sink in went.sinks
    )
    assert 0 < most < 32 * 2**20
