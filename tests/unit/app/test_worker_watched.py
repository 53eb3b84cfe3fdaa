"""What the end of a connection says of the line."""

import asyncio
from typing import Any

import pytest

from cmail.app.worker_belief import WorkerBelief
from cmail.app.worker_confirm import WorkerConfirm
from cmail.app.worker_reached import WorkerReached
from cmail.app.worker_sight import WorkerSight
from cmail.app.worker_watched import Watcher
from cmail.delivery.agent import Ending, Finished, HostTrouble
from cmail.link.clock import LinkView
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.status import BAD_CONNECTION, DIRECTORY_FAILURE, NO_ANSWER_FROM_HOST, UNABLE_TO_ROUTE
from cmail.net.control import Fields
from tests.support.clock import FakeClock
from tests.support.link_process import LinkProcess


class Agent:
    """Each connection ends like this."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending

    async def run(self, _route: str, _work: object) -> Ending:
        return self._ending


def watcher(link: LinkProcess) -> tuple[Watcher, WorkerSight]:
    view, is_news = LinkView(FakeClock()), asyncio.Event()
    reached = WorkerReached(link, list, is_news)
    confirm = WorkerConfirm(link, view, reached)
    sight = WorkerSight(link, list, view, reached, is_news)
    resolver: Any = None
    belief = WorkerBelief(confirm, lambda: resolver)
    return Watcher(lambda route: route != "mx:[127.0.0.1]", confirm, belief, reached, sight), sight


async def told(ending: Ending, route: str) -> str:
    """What the link process is told behind a connection that ended like this."""
    is_told, kinds = asyncio.Event(), list[str]()

    def answer(fields: Fields) -> Fields:
        if "kind" in fields:
            kinds.append(fields["kind"])
            is_told.set()
        return {"says": "unsure"}

    made, sight = watcher(LinkProcess(answer))
    agents = made.watched({"relay": Agent(ending), "mx": Agent(ending)})
    await agents[route.partition(":")[0]].run(route, None)  # type: ignore[arg-type]
    telling = asyncio.create_task(sight.run())
    if sight._ended:
        await is_told.wait()
    telling.cancel()
    return "".join(kinds)


@pytest.mark.parametrize(
    ("route", "ending", "kind"),
    [
        ("relay", HostTrouble(TemporaryFailure("network unreachable", NotNow.OFFLINE)), "offline"),
        ("relay", HostTrouble(TemporaryFailure("timed out", NotNow.HOST, NO_ANSWER_FROM_HOST)), "offline"),
        ("mx:a.example", HostTrouble(TemporaryFailure("timed out", NotNow.HOST, NO_ANSWER_FROM_HOST)), "timeout"),
        ("relay", HostTrouble(TemporaryFailure("refused", NotNow.HOST, NO_ANSWER_FROM_HOST)), ""),
        ("relay", HostTrouble(TemporaryFailure("timed out", NotNow.HOST, BAD_CONNECTION)), ""),
        ("relay", HostTrouble(TemporaryFailure("timed out", NotNow.HOST, NO_ANSWER_FROM_HOST), 3), ""),
        ("mx:[127.0.0.1]", HostTrouble(TemporaryFailure("x", NotNow.OFFLINE)), ""),
        ("mx:a.example", HostTrouble(TemporaryFailure("SERVFAIL", NotNow.HOST, DIRECTORY_FAILURE)), "timeout"),
        ("relay", HostTrouble(TemporaryFailure("no such host", NotNow.HOST, UNABLE_TO_ROUTE)), "silent"),
        ("mx:a.example", HostTrouble(TemporaryFailure("no such host", NotNow.HOST, UNABLE_TO_ROUTE)), ""),
        ("relay", Finished(1), ""),
    ],
)  # fmt: skip
def test_how_a_connection_ended(route: str, ending: Ending, kind: str) -> None:
    """What is no fault of theirs, and what may be none."""
    assert asyncio.run(told(ending, route)) == kind


def test_mail_for_people_here_says_nothing_of_the_line() -> None:
    """Its agents are left as they are."""
    made, _ = watcher(LinkProcess(lambda _: {}))
    agents = {kind: Agent(Finished(1)) for kind in ("local", "lmtp", "site", "relay", "mx", "host")}
    watched = made.watched(agents)
    assert {kind for kind in agents if watched[kind] is agents[kind]} == {"local", "lmtp", "site"}
