"""The mailbox of one person here whom nobody is (any more): nothing of it is deleted at its server, and all of it comes
when somebody has the address."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.collecting import Office, pop3
from tests.support.mailboxes_elsewhere import message
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.until import until

THREE = [("a", message(1)), ("b", message(2)), ("c", message(3))]
ANNA = "anna@example.org"


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """To its end, in no time that matters."""
    asyncio.run(asyncio.wait_for(test(), 60))


def test_it_waits_until_somebody_has_the_address(tmp_path: Path) -> None:
    """One message is fetched to find out, once; it is said; then each comes once."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            office.nobody = ANNA
            for _ in range(2):
                [result] = await office.collect(pop3(server.port))
                assert (
                    not result.is_ok
                    and result.words == "nobody here is anna@example.org: nothing is fetched for it"
                )
            assert len(server.messages) == 3 and len(server.retrieved) == 1
            office.nobody = ""
            [result] = await office.collect(pop3(server.port))
            assert result.is_ok and len(office.taken) == 3 and len(server.retrieved) == 3
            assert not server.messages and not office.left_over()

    run(test)


def test_a_slip_in_the_settings(tmp_path: Path) -> None:
    """With the right address everything comes to that, what was fetched before too; for a whole domain the worker
    finds who gets it."""

    async def test() -> None:
        for number, to in enumerate(("bert@example.org", "@example.org")):
            office = Office(tmp_path / str(number))
            office.folder.mkdir()
            async with ScriptedPop3(list(THREE)) as server:
                office.nobody = ANNA
                await office.collect(pop3(server.port))
                [result] = await office.collect(pop3(server.port, to=to))
                assert result.is_ok and len(office.taken) == 3 and not server.messages
                is_for_one = not to.startswith("@")
                assert all(each["is_for_one"] is is_for_one for each in office.asked[-3:])
                assert all((each["recipients"] == [to]) is is_for_one for each in office.asked[-3:])

    run(test)


def test_it_holds_up_no_other(tmp_path: Path) -> None:
    """Another mailbox is collected meanwhile, also by a server that was started anew."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as one, ScriptedPop3([("x", message(4))]) as other:
            first, second = (
                pop3(one.port),
                pop3(other.port, name="second", username="bert", to="bert@example.org"),
            )
            office.nobody = ANNA
            for _ in range(2):
                results = {result.name: result for result in await office.collect(first, second)}
                assert results["second"].is_ok and not results["isp"].is_ok
            assert [to for to, _ in office.taken] == [("bert@example.org",)] and not other.messages
            assert len(one.messages) == 3

    run(test)


def test_it_goes_on_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has the address now: nobody needs to ask, and what is at the server comes soon."""
    for name in ("LOOK_AGAIN_S", "RECOVER_AGAIN_S"):
        monkeypatch.setattr(f"cmail.link.collect.collector.{name}", 0.05)

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3(list(THREE)) as server:
            office.nobody = ANNA
            account = pop3(server.port)
            await office.begin(account)
            office.collector.apply((account,), office.terms)  # without a plan of exchanges
            await office.collector.run_all("demand")
            assert len(server.messages) == 3
            office.nobody = ""
            await until(lambda: not server.messages)
            assert len(office.taken) == 3
            await office.collector.stop()

    run(test)
