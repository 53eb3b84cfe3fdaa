"""What a worker sees of the link in its own connections, and tells of it."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cmail.app import worker_link
from cmail.app.worker_link import WorkerLink
from cmail.delivery.agent import Ending, Finished, HostTrouble, RouteRefusal
from cmail.link.clock import LinkReading, LinkView
from cmail.link.probe import PORTAL
from cmail.mail.outcome import NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.status import (
    BAD_CONNECTION,
    BAD_SYSTEM,
    DIRECTORY_FAILURE,
    LOCAL_TROUBLE,
    NO_ANSWER_FROM_HOST,
    NULL_MX,
    SECURITY,
    UNABLE_TO_ROUTE,
)
from cmail.net.control import ControlError
from cmail.policy.orders import FREE
from tests.support.clock import FakeClock


def lane(**fields: Any) -> Any:
    usual = {"settled_count": 0, "has_delivered": False, "taken": set(), "octets": 0}
    made = type("Lane", (), {**usual, **fields})()
    made.acknowledged = lambda: made.octets
    return made


def eyes(*lanes: Any, needs_link: bool = True) -> WorkerLink:
    """A worker with these connections."""
    route = SimpleNamespace(needs_link=needs_link, lanes=set(lanes))
    scheduler: Any = SimpleNamespace(
        routes={"relay": route}, router=SimpleNamespace(needs_link=lambda name: name != "mx:[127.0.0.1]")
    )
    return WorkerLink("/nowhere", lambda: [scheduler], LinkView(FakeClock()))


def test_what_was_delivered_since_the_last_look() -> None:
    """All is well when something was; what was delivered an hour ago says nothing of now."""

    async def test() -> None:
        one = lane(has_delivered=True, settled_count=3)
        made = eyes(one)
        assert made._look() == "ok" and made._look() == ""
        one.settled_count = 4
        assert made._look() == "ok"
        assert eyes(lane(has_delivered=True, settled_count=3), needs_link=False)._look() == ""
        assert eyes(lane(settled_count=3))._look() == "", "put off, not delivered"

    asyncio.run(test())


def test_a_connection_on_which_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has something to send and settles nothing for long: silence, told once in a while; one that
    idles, or that settles, is none."""
    monkeypatch.setattr(worker_link, "STUCK_S", 0.05)

    async def test() -> None:
        one, idle = lane(taken={1}), lane()
        made = eyes(one, idle)
        assert made._look() == ""
        await asyncio.sleep(0.06)
        assert made._look() == "silent" and made._look() == ""
        await asyncio.sleep(0.06)
        one.settled_count = 1
        assert made._look() == ""

    asyncio.run(test())


def test_a_large_message_on_a_slow_line_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as its octets move the link is there, if nothing is settled for an hour; probes may fail behind
    them meanwhile."""
    monkeypatch.setattr(worker_link, "STUCK_S", 0.05)

    async def test() -> None:
        one = lane(taken={1}, octets=300)
        made = eyes(one)
        assert made._look() == "", "what was said in the handshake is no proof of now"
        for _ in range(3):
            await asyncio.sleep(0.04)
            one.octets += 1448
            assert made._look() == "ok"
        await asyncio.sleep(0.06)
        assert made._look() == "silent"

    asyncio.run(test())


@pytest.mark.parametrize(
    ("route", "ending", "kind"),
    [
        ("relay", HostTrouble(TemporaryFailure("network unreachable", NotNow.OFFLINE)), "offline"),
        ("relay", HostTrouble(TemporaryFailure("timed out", NotNow.HOST, NO_ANSWER_FROM_HOST)), "silent"),
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

    class Agent:
        async def run(self, route: str, work: object) -> Ending:
            return ending

    made = eyes()
    agents = made.watched({"relay": Agent(), "mx": Agent(), "local": Agent()})
    asyncio.run(agents[route.partition(":")[0]].run(route, None))  # type: ignore[arg-type]
    assert made._seen == kind
    assert isinstance(agents["local"], Agent), "mail for people here says nothing of the link"


@pytest.mark.parametrize(
    ("says", "kind"), [("yes", None), ("no", NotNow.OFFLINE), ("unsure", NotNow.HOST), ("nobody there", NotNow.HOST)]
)  # fmt: skip
def test_a_name_that_does_not_exist_is_believed_while_there_is_an_internet(
    says: str, kind: NotNow | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The DNS of a router that has lost the Internet says it of every name: nothing bounces before a probe
    got through; what it saw holds for a moment. A null MX is somebody's word, and needs none."""
    asked: list[str] = []

    class Client:
        def __init__(self, *_: object) -> None: ...

        async def ask(self, question: str, _fields: object) -> object:
            asked.append(question)
            if says == "nobody there":
                raise ControlError("nobody listens")
            return SimpleNamespace(ok={"says": says})

    monkeypatch.setattr(worker_link, "ControlClient", Client)

    async def test() -> None:
        made = eyes()
        refusal = RouteRefusal(PermanentFailure("the domain a.example does not exist", BAD_SYSTEM))
        for _ in range(2):
            ending = await made.believed(refusal)
            if kind is None:
                assert ending is refusal
            else:
                assert isinstance(ending, HostTrouble) and ending.failure.kind is kind
        assert asked == ["link.confirm"] * (1 if says == "yes" else 2)
        silence = HostTrouble(TemporaryFailure("timed out", NotNow.HOST, NO_ANSWER_FROM_HOST))
        ending = await made.believed(silence)
        if says == "no":  # a line that died without a word costs nobody an attempt
            assert isinstance(ending, HostTrouble) and ending.failure.kind is NotNow.OFFLINE
        else:
            assert ending is silence
        del asked[2:]
        null_mx = RouteRefusal(PermanentFailure("a.example takes no mail", NULL_MX))
        assert await made.believed(null_mx) is null_mx and len(asked) <= 2

    asyncio.run(test())


@pytest.mark.parametrize(
    ("says", "kind"), [("yes", NotNow.HOST), ("no", NotNow.OFFLINE), ("unsure", NotNow.HOST)]
)
def test_a_tls_that_came_to_nothing_at_a_log_in_page(
    says: str, kind: NotNow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mail that went at link-up met its certificate before a probe did: no attempt was made then. After a link-down
    what was seen before it holds no more."""
    answers = iter(["yes", says, "no"])

    class Client:
        def __init__(self, *_: object) -> None: ...

        async def ask(self, _question: str, _fields: object) -> object:
            return SimpleNamespace(ok={"says": next(answers)})

    monkeypatch.setattr(worker_link, "ControlClient", Client)
    failure = TemporaryFailure("TLS: the certificate is not good", NotNow.HOST, SECURITY)

    async def test() -> None:
        made = eyes()
        assert await made.believed(HostTrouble(failure)) == HostTrouble(failure)
        await made._changed({**LinkReading(is_down=True).fields()})
        await made._changed({**LinkReading().fields()})
        ending = await made.believed(HostTrouble(failure))
        assert isinstance(ending, HostTrouble) and ending.failure == replace(failure, kind=kind)

    asyncio.run(test())


@pytest.mark.parametrize(
    ("words", "detail", "is_asked"),
    [
        ("connection refused", NO_ANSWER_FROM_HOST, True),
        ("HTTP/1.1 400 Bad Request", BAD_CONNECTION, True),
        ("the password cannot be read", LOCAL_TROUBLE, False),
    ],
)
def test_a_router_that_leads_every_name_to_itself(
    words: str, detail: Any, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has lost the Internet, and refuses mail or talks of the Web: no attempt was made, says a probe. What is wrong
    here it is not asked about."""

    class Client:
        def __init__(self, *_: object) -> None: ...

        async def ask(self, _question: str, _fields: object) -> object:
            return SimpleNamespace(ok={"says": "no"})

    monkeypatch.setattr(worker_link, "ControlClient", Client)

    async def test() -> None:
        for route in ("relay", "mx:a.example"):
            ending = await eyes().believed(HostTrouble(TemporaryFailure(words, NotNow.HOST, detail)), route)
            assert isinstance(ending, HostTrouble)
            assert ending.failure.kind is (NotNow.OFFLINE if is_asked else NotNow.HOST)

    asyncio.run(test())


def test_what_a_log_in_page_said_of_names_is_forgotten() -> None:
    """At the turn that shows it and at the next, whatever the words are by then; else what was answered is kept
    over a cut."""
    forgotten: list[str] = []
    resolver: Any = SimpleNamespace(
        forget=lambda: forgotten.append("all"), forget_failures=lambda: forgotten.append("failures")
    )
    clock = FakeClock()
    view = LinkView(clock)
    made = WorkerLink("/nowhere", list, view)
    view.listen_to_turns(lambda: made.turned(resolver))
    down, up = LinkReading(is_down=True), LinkReading(periods=2)
    trapped = replace(FREE, words=f"{PORTAL}: every name has the same address (192.0.2.1)")
    for reading, orders in ((down, FREE), (up, FREE), (down, trapped), (up, FREE), (down, FREE)):
        view.changed(reading, orders)
    assert forgotten == ["failures", "failures", "all", "all", "failures"]


def test_where_mail_went_is_told_until_it_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the line is in doubt, or nobody hears it, it is said again in a moment, and not in a minute: what the DNS
    denies then is asked where mail went. What a log-in page may have taken before a link-down is told no more."""
    told: list[object] = []
    answers: list[object] = [
        {"is_noted": False},
        ControlError("away"),
        {"is_noted": True},
        {"is_noted": False},
    ]

    class Client:
        def __init__(self, *_: object) -> None: ...

        async def ask(self, _question: str, fields: dict[str, object]) -> object:
            told.append(fields["names"])
            answer = answers.pop(0)
            if isinstance(answer, ControlError):
                raise answer
            return SimpleNamespace(ok=answer)

    monkeypatch.setattr(worker_link, "ControlClient", Client)

    async def test() -> None:
        made = eyes()
        made.delivered("mx:a.example")
        for _ in range(5):
            await made._tell_reached()
        assert told == [["a.example"]] * 3
        monkeypatch.setattr(worker_link, "REACHED_EVERY_S", 0.0)
        made.delivered("mx:page.example")
        await made._tell_reached()
        await made._changed({**LinkReading(is_down=True).fields()})
        await made._changed({**LinkReading().fields()})
        await made._tell_reached()
        assert told[3:] == [["page.example"]]

    asyncio.run(test())


def test_urgent_mail_is_told_at_once_and_not_each_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first goes at once, what comes with it or soon behind is one word more."""
    told: list[object] = []
    is_told_again = asyncio.Event()

    class Client:
        def __init__(self, *_: object) -> None: ...

        async def ask(self, question: str, fields: dict[str, object]) -> object:
            told.append((question, fields["urgent"]))
            if len(told) == 2:
                is_told_again.set()
            return SimpleNamespace(ok={})

    monkeypatch.setattr(worker_link, "ControlClient", Client)

    async def test() -> None:
        made = eyes()
        telling = asyncio.create_task(made.run_urgent())
        made.urgent_waits()
        await asyncio.sleep(0.01)
        assert told == [("link.wants", 1)]
        for _ in range(50):
            made.urgent_waits()
        await asyncio.sleep(0.01)
        assert len(told) == 1
        await is_told_again.wait()
        assert told[1] == ("link.wants", 50)
        telling.cancel()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("says", "ends"),
    [
        ("yes", "R"),
        ("sure", "R"),
        ("no", "OOOOO"),
        ("dns", "OOOOO"),
        ("exists", "OOOHH"),  # servers that do not agree
        ("strange", "HHHR"),  # a server that has never delivered anything
        ("unsure", "HHHHH"),
    ],
)
def test_a_domain_that_the_dns_denies(says: str, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R: it is returned; O: we are off line, and nothing is counted; H: an attempt. What is not believed is
    forgotten, and each domain is asked about by itself. Trouble of the DNS is ours when it knows nothing."""
    asked: list[object] = []

    class Client:
        def __init__(self, *_: object) -> None: ...

        async def ask(self, _question: str, fields: dict[str, object]) -> object:
            asked.append(fields["domain"])
            return SimpleNamespace(ok={"says": says})

    monkeypatch.setattr(worker_link, "ControlClient", Client)
    refusal = RouteRefusal(PermanentFailure("the domain a.example does not exist", BAD_SYSTEM))

    async def test() -> None:
        made, forgotten = eyes(), list[None]()
        made.forget = lambda: forgotten.append(None)
        for end in ends:
            ending = await made.believed(refusal, "mx:a.example")
            if end == "R":
                assert ending is refusal
            else:
                kind = NotNow.OFFLINE if end == "O" else NotNow.HOST
                assert isinstance(ending, HostTrouble) and ending.failure.kind is kind
        assert asked == ["a.example"] * len(ends)
        assert len(forgotten) == len(ends.replace("R", ""))
        for detail in (DIRECTORY_FAILURE, UNABLE_TO_ROUTE):
            trouble = HostTrouble(TemporaryFailure("SERVFAIL", NotNow.HOST, detail))
            judged = await made.believed(trouble, "mx:a.example")
            is_ours = says in ("no", "dns")
            assert isinstance(judged, HostTrouble)
            assert judged.failure.kind is (NotNow.OFFLINE if is_ours else NotNow.HOST)

    asyncio.run(test())
