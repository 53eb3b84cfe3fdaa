"""Links: what page and API ask and tell the link process: its state, the plan, exchange now, collect now."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cmail.admin.processes import Processes
from cmail.admin.rows import Row
from cmail.admin.sites import add_up
from cmail.net.control import ControlError

Fields = dict[str, Any]
SAY_S: Final = 30.0  # all workers know when it is answered
COUNT_S: Final = 15.0  # workers count what waits
HELD_FILTER: Final = {"states": ["held"], "reason": "cannot fit"}  # see queue.admission.cannot_fit


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What comes here, or is fetched from here, by others: mailboxes elsewhere, sites."""

    accounts: Sequence[Fields] = ()
    trouble: str = ""  # of all accounts
    left: Sequence[Fields] = ()  # messages that were not fetched whole
    sites: Sequence[Fields] = ()
    silent: Sequence[str] = field(default_factory=list)  # what is not known, in words


async def status(processes: Processes) -> Fields:
    """link.status: each link, which one carries, the exchange that goes on, the kick plan."""
    return (await processes.ask("link", "link.status")).ok


async def plan(processes: Processes) -> Fields:
    """link.plan: when the next exchange is, what will go, in which order, how long it takes."""
    return (await processes.ask("link", "link.plan", timeout_s=COUNT_S)).ok


async def history(processes: Processes) -> list[Fields]:
    """The last fifty exchanges, the newest first."""
    return list((await processes.ask("link", "link.history", timeout_s=COUNT_S)).ok["exchanges"])


async def held(processes: Processes, limit: int) -> list[Row]:
    """What is on hold because no link could ever carry it."""
    return await processes.rows(HELD_FILTER, limit)


async def elsewhere(processes: Processes) -> Elsewhere:
    """Mailboxes elsewhere and sites; who does not answer is named."""
    silent: list[str] = []
    collected, rows = await asyncio.gather(
        _try(accounts(processes), {}, silent), _try(sites(processes), [], silent)
    )
    found: list[Fields] = collected.get("accounts", [])
    has_left = any(
        each["counts"].get("previewed") or each["counts"].get("left") for each in found if "counts" in each
    )
    left: list[Fields] = await _try(not_fetched(processes), [], silent) if has_left else []
    return Elsewhere(found, str(collected.get("trouble") or ""), left, rows, silent)


async def accounts(processes: Processes) -> Fields:
    """collect.status: {accounts, trouble}."""
    return (await processes.ask("link", "collect.status")).ok


async def not_fetched(processes: Processes) -> list[Fields]:
    """collect.list: what is known at the servers and was not fetched whole."""
    return list((await processes.ask("link", "collect.list", name="")).ok["messages"])


async def sites(processes: Processes) -> list[Fields]:
    """site.list of all workers: what waits for each, when it was here last."""
    heard = await processes.ask_workers("site.list", timeout_s=COUNT_S)
    return add_up([row for answer in heard.answers for row in answer.rows])


async def _try(asked: Awaitable[Any], otherwise: Any, silent: list[str]) -> Any:
    try:
        return await asked
    except ControlError as error:
        silent.append(error.words)
        return otherwise


# Telling. Each returns when it has begun; how it ends stands in status and history.


async def say(processes: Processes, hand: str, name: str = "") -> Fields:
    """Up or down, of one link or of all; how it is then (link_words.up_words, down_words)."""
    return (await processes.ask("link", f"link.{hand}", timeout_s=SAY_S, name=name)).ok


async def exchange(processes: Processes) -> Fields:
    """One now. ControlError: the link is down."""
    return (await processes.ask("link", "link.exchange", timeout_s=COUNT_S)).ok


async def kick(processes: Processes) -> None:
    """The plan of kicks, from its beginning. ControlError: there is none, or the link is down."""
    await processes.ask("link", "link.collect", kick=True, collect=False)


async def collect(processes: Processes, names: Sequence[str] = (), *, is_kicked: bool = True) -> Fields:
    """Kick and collection together; with names these mailboxes alone. {is_kicked, collects: [names]}."""
    is_all = is_kicked and not names
    asked = await processes.ask("link", "link.collect", kick=is_all, collect=True, names=list(names))
    return asked.ok


async def fetch(processes: Processes, name: str, number: int) -> str:
    """All of a message that was too large; what becomes of it, in words."""
    asked = await processes.ask("link", "collect.fetch", name=name, id=number, is_waited_for=False)
    return str(asked.ok["told"])
