"""Next hops in trouble, the quick part: each cell of the table at the agents; tests/fault/peers.py is the rest."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from cmail.delivery.agent import Finished, HostTrouble
from tests.fault.peers_agent import Told, agent, faults, settings, tables, try_all
from tests.fault.peers_table import Cell
from tests.support.fake_dns import FakeResolver
from tests.support.memory_work import MemoryWork, transaction
from tests.support.sink_mx import SinkMx

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


def full_house(address: str, port: int) -> list[socket.socket]:
    """A server that takes no connection, because its backlog is full: to connect there hangs."""
    server = socket.socket()
    server.bind((address, port))
    server.listen(0)
    waiting = []
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        waiting.append(client)
    return [server, *waiting]


@pytest.mark.parametrize("kind", ["refused", "hangs"])
def test_host_that_takes_no_connection(kind: str) -> None:
    """It waits, and says so, within smtp.advanced.timeout; where there is a second host that gets it at once."""

    async def main() -> None:
        async with SinkMx(host="127.0.0.2") as good:
            sockets = full_house("127.0.0.3", good.port) if kind == "hangs" else []
            smtp = settings(good.port, host="127.0.0.3")
            smtp = replace(smtp, advanced=replace(smtp.advanced, timeout=timedelta(milliseconds=500)))
            work = MemoryWork([transaction(1)])
            ending = await asyncio.wait_for(agent(smtp).run("relay", work), 20)
            words = {"refused": "connection refused", "hangs": "connection timed out after 0.5 s"}[kind]
            assert isinstance(ending, HostTrouble) and words in ending.failure.reason
            hosts = {"mx1.example.net": ["127.0.0.3"], "mx2.example.net": ["127.0.0.2"]}
            table = {"example.net": [(10, "mx1.example.net"), (20, "mx2.example.net")]}
            both = agent(smtp, FakeResolver(table, hosts))
            assert await asyncio.wait_for(both.run("mx:example.net", work), 20) == Finished(1)
            assert len(good.taken) == 1
            for each in sockets:
                each.close()

    asyncio.run(main())
