"""A mailbox that the settings name in another way: its server by another name, or by another protocol. What was kept
there does not come again, and as little of it as can be is fetched once more."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest

from cmail.link.collect.ledger import STEPS
from tests.support.collecting import Office, pop3
from tests.support.mailboxes_elsewhere import message
from tests.support.scripted_imap import ScriptedImap
from tests.support.scripted_pop3 import ScriptedPop3

THREE = [("a", message(1)), ("b", message(2, 200_000)), ("c", message(3))]
FOURTH = ("d", message(4))
OTHER = "pop.isp.example"  # the same server by another name


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """To its end, in no time that matters."""
    asyncio.run(asyncio.wait_for(test(), 60))


def subjects(office: Office) -> list[str]:
    """What the worker has."""
    return sorted(each.partition(b"Subject: ")[2].split(b"\r")[0].decode() for each in office.contents)


ALL = ["number 1", "number 2", "number 3"]


@pytest.mark.parametrize("username", ["anna", "Anna", "anna@isp.example"])
def test_another_name_for_the_same_server(tmp_path: Path, username: str) -> None:
    """The names of the messages are the same: one of them, the smallest, is compared whole, and the others are not
    fetched. What is new there comes; and so it is the next time, and with the name of before."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            await office.collect(pop3(server.port, keep=True))
            server.messages.append(FOURTH)
            server.retrieved.clear()
            for host in (OTHER, OTHER, "127.0.0.1"):
                [result] = await office.collect(pop3(server.port, keep=True, host=host, username=username))
                assert result.is_ok, result.words
            assert subjects(office) == [*ALL, "number 4"]
            assert server.retrieved[:2] in (["a", "d"], ["c", "d"]) and len(server.retrieved) == 3
            assert not office.left_over()

    run(test)


def test_another_protocol(tmp_path: Path) -> None:
    """Other names for all of them: each is known by what is in it; what is new there comes."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            await office.collect(pop3(server.port, keep=True))
        contents = dict(enumerate([octets for _, octets in (*THREE, FOURTH)], 7))
        async with ScriptedImap(contents) as server:
            for _ in range(2):
                [result] = await office.collect(pop3(server.port, keep=True, protocol="imap"))
                assert result.is_ok, result.words
            assert subjects(office) == [*ALL, "number 4"]
            assert len([each for each in server.heard if "BODY.PEEK[]" in each]) == 4

    run(test)


def test_what_is_not_kept_is_deleted_by_its_new_name(tmp_path: Path) -> None:
    """`keep` no more: all that was had is deleted there, and nothing comes twice."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            await office.collect(pop3(server.port, keep=True))
            [result] = await office.collect(pop3(server.port, host=OTHER))
            assert result.is_ok and result.deleted == 3 and not server.messages
            assert subjects(office) == ALL

    run(test)


def test_other_messages_with_the_same_names(tmp_path: Path) -> None:
    """A server that numbers its messages from 1, at another provider: each of them is another message, and comes."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("1", message(1)), ("2", message(2))]) as server:
            await office.collect(pop3(server.port, keep=True))
        async with ScriptedPop3([("1", message(3)), ("2", message(4))]) as server:
            [result] = await office.collect(pop3(server.port, keep=True, host=OTHER))
            assert result.is_ok and result.fetched == 2, result
        assert len(subjects(office)) == 4

    run(test)


def test_two_mailboxes_at_the_same_time(tmp_path: Path) -> None:
    """A copy in each of them, of users with the same name at two providers: both are wanted; and so they are when one
    of the two has gone from the settings since."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as one, ScriptedPop3(list(THREE)) as other:
            first = pop3(one.port, keep=True)
            second = pop3(other.port, keep=True, host=OTHER, name="second")
            await office.collect(first, second)
            assert subjects(office) == sorted([*ALL, *ALL])
            one.messages.append(FOURTH)
            office.clock.advance(86_400)
            await office.collect(first, second)
            other.messages.append(("x", FOURTH[1]))
            office.clock.advance(86_400)
            await office.collect(second)
            assert subjects(office).count("number 4") == 2

    run(test)


def test_a_mailbox_of_somebody_else(tmp_path: Path) -> None:
    """Another user name: a copy of the same message is for somebody else."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            await office.collect(pop3(server.port, keep=True))
            [result] = await office.collect(pop3(server.port, keep=True, username="bert"))
            assert result.fetched == 3

    run(test)


def test_a_ledger_from_before(tmp_path: Path) -> None:
    """One without the column of when a box was named first: what it knows holds, and its box may be renamed too."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            await office.collect(pop3(server.port, keep=True))
            with contextlib.closing(apsw.Connection(str(tmp_path / "collect.sqlite3"))) as ledger:
                ledger.execute("ALTER TABLE box DROP COLUMN since_ms")
                ledger.pragma("user_version", len(STEPS) - 1)
            for host in ("127.0.0.1", OTHER):
                await office.collect(pop3(server.port, keep=True, host=host))
            assert subjects(office) == ALL

    run(test)
