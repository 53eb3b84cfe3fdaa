"""How a worker obeys the link process."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cmail.app import worker_link
from cmail.app.worker_link import WorkerLink
from cmail.delivery.agent import Ending, HostTrouble
from cmail.link.clock import LinkReading, LinkView
from cmail.link.probe import PORTAL
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.status import SECURITY
from cmail.net.control import ControlError
from cmail.policy.orders import FREE
from tests.support.clock import FakeClock
from tests.support.link_process import LinkProcess

DOWN, UP = LinkReading(is_down=True), LinkReading(periods=2)


def resolver_that_notes(seen: list[object]) -> Any:
    return SimpleNamespace(
        forget=lambda: seen.append("all"),
        forget_failures=lambda: seen.append("failures"),
        told=lambda name, addresses: seen.append((name, addresses)),
    )


@pytest.mark.parametrize(
    ("says", "kind"), [("yes", NotNow.HOST), ("no", NotNow.OFFLINE), ("unsure", NotNow.HOST)]
)
def test_a_tls_that_came_to_nothing_at_a_log_in_page(
    says: str, kind: NotNow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mail that went at link-up met its certificate before a probe did: no attempt was made then. After a link-down
    what was seen before it holds no more."""
    answers = iter(["yes", says, "no"])
    link = LinkProcess(lambda _: {"says": next(answers)})
    monkeypatch.setattr(worker_link, "ControlClient", link)
    trouble = HostTrouble(TemporaryFailure("TLS: the certificate is not good", NotNow.HOST, SECURITY))

    class Agent:
        async def run(self, _route: str, _work: object) -> Ending:
            return trouble

    async def test() -> None:
        scheduler: Any = SimpleNamespace(routes={}, router=SimpleNamespace(needs_link=lambda _route: True))
        made = WorkerLink("/nowhere", "worker-0", lambda: [scheduler], lambda: None, LinkView(FakeClock()))  # type: ignore[arg-type, return-value]
        agent, work = made.watcher.watched({"relay": Agent()})["relay"], None
        assert await agent.run("relay", work) == trouble  # type: ignore[arg-type]
        await made._changed(DOWN.fields())
        await made._changed(UP.fields())
        ending = await agent.run("relay", work)  # type: ignore[arg-type]
        assert isinstance(ending, HostTrouble) and ending.failure == replace(trouble.failure, kind=kind)

    asyncio.run(test())


def test_what_a_log_in_page_said_of_names_is_forgotten() -> None:
    """At the turn that shows it and at the next, whatever the words are by then; else what was answered is kept
    over a cut."""
    seen: list[object] = []
    view = LinkView(FakeClock())
    made = WorkerLink("/nowhere", "worker-0", list, lambda: resolver_that_notes(seen), view)
    view.listen_to_turns(made.turned)
    trapped = replace(FREE, words=f"{PORTAL}: every name has the same address (192.0.2.1)")
    for reading, orders in ((DOWN, FREE), (UP, FREE), (DOWN, trapped), (UP, FREE), (DOWN, FREE)):
        view.changed(reading, orders)
    assert seen == ["failures", "failures", "all", "all", "failures"]


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ({}, []),
        ({"is_said_again": True}, ["failures", "started"]),
        ({"begins_exchange": True}, ["exchange"]),
        (
            {"upstream": {"name": "mx.example", "addresses": ["192.0.2.1"]}},
            [("mx.example", ["192.0.2.1"])],
        ),
    ],
)
def test_what_the_link_process_says_beside_the_state(said: Mapping[str, Any], seen: list[object]) -> None:
    """It is done at once, on every shard."""
    done: list[object] = []
    scheduler: Any = SimpleNamespace(
        start_all=lambda: done.append("started"), exchange=lambda: done.append("exchange")
    )
    view = LinkView(FakeClock())
    made = WorkerLink("/nowhere", "worker-0", lambda: [scheduler], lambda: resolver_that_notes(done), view)
    asyncio.run(made._changed({**UP.fields(), **said}))
    assert done == seen and view.reading == UP


def test_what_is_no_reading_of_the_clock_changes_nothing() -> None:
    """The link process is told so."""
    view = LinkView(FakeClock())
    made = WorkerLink("/nowhere", "worker-0", list, lambda: resolver_that_notes([]), view)
    for fields in ({"is_down": 1}, {**DOWN.fields(), "periods": 0}):
        with pytest.raises(ControlError):
            asyncio.run(made._changed(fields))
    assert view.reading == LinkReading()
