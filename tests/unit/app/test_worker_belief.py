"""What is believed of a delivery that came to nothing, by what the link process says."""

import asyncio
from typing import Any

import pytest

from cmail.app import worker_belief
from cmail.app.worker_belief import WorkerBelief
from cmail.app.worker_confirm import WorkerConfirm
from cmail.app.worker_reached import WorkerReached
from cmail.delivery.agent import HostTrouble, RouteRefusal
from cmail.link.clock import LinkView
from cmail.mail.outcome import NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.status import (
    BAD_CONNECTION,
    BAD_SYSTEM,
    DIRECTORY_FAILURE,
    LOCAL_TROUBLE,
    NO_ANSWER_FROM_HOST,
    NULL_MX,
    UNABLE_TO_ROUTE,
)
from cmail.net.control import ControlError, Fields
from tests.support.clock import FakeClock
from tests.support.link_process import LinkProcess, saying

DENIED = RouteRefusal(PermanentFailure("the domain a.example does not exist", BAD_SYSTEM))

SILENCE = HostTrouble(TemporaryFailure("timed out", NotNow.HOST, NO_ANSWER_FROM_HOST))
REFUSED = HostTrouble(TemporaryFailure("connection refused", NotNow.HOST, NO_ANSWER_FROM_HOST))


class Resolver:
    """Counts how often it forgot what failed."""

    def __init__(self) -> None:
        self.forgot_count = 0

    def forget_failures(self) -> None:
        self.forgot_count += 1


def belief(link: LinkProcess, resolver: Any = None) -> WorkerBelief:
    reached = WorkerReached(link, list, asyncio.Event())
    resolver = resolver or Resolver()
    return WorkerBelief(WorkerConfirm(link, LinkView(FakeClock()), reached), lambda: resolver)


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
def test_a_domain_that_the_dns_denies(says: str, ends: str) -> None:
    """R: it is returned; O: we are off line, and nothing is counted; H: an attempt. What is not believed is
    forgotten, and each domain is asked about by itself. Trouble of the DNS is ours when it knows nothing."""

    async def test() -> None:
        link, resolver = saying(says), Resolver()
        made = belief(link, resolver)
        for end in ends:
            ending = await made.believed(DENIED, "mx:a.example")
            if end == "R":
                assert ending is DENIED
            else:
                kind = NotNow.OFFLINE if end == "O" else NotNow.HOST
                assert isinstance(ending, HostTrouble) and ending.failure.kind is kind
        assert link.asked == [("link.confirm", {"domain": "a.example"})] * len(ends)
        assert resolver.forgot_count == len(ends.replace("R", ""))
        for detail in (DIRECTORY_FAILURE, UNABLE_TO_ROUTE):
            trouble = HostTrouble(TemporaryFailure("SERVFAIL", NotNow.HOST, detail))
            judged = await made.believed(trouble, "mx:a.example")
            is_ours = says in ("no", "dns")
            assert isinstance(judged, HostTrouble)
            assert judged.failure.kind is (NotNow.OFFLINE if is_ours else NotNow.HOST)

    asyncio.run(test())


def test_nothing_is_returned_while_the_link_process_is_away() -> None:
    """Nobody can say whether the DNS of a router lies: it is tried again. A null MX is somebody's word, and
    needs nobody else's."""

    def away(_fields: Fields) -> Fields:
        raise ControlError("nobody listens")

    async def test() -> None:
        link = LinkProcess(away)
        ending = await belief(link).believed(DENIED, "mx:a.example")
        assert isinstance(ending, HostTrouble) and ending.failure.kind is NotNow.HOST
        null_mx = RouteRefusal(PermanentFailure("a.example takes no mail", NULL_MX))
        assert await belief(link).believed(null_mx, "mx:a.example") is null_mx and len(link.asked) == 1

    asyncio.run(test())


@pytest.mark.parametrize("says", ["yes", "no", "unsure", "strange"])
def test_a_line_that_died_without_a_word_costs_nobody_an_attempt(says: str) -> None:
    """The host is silent: is it the line? What is not known counts as their trouble."""
    ending = asyncio.run(belief(saying(says)).believed(SILENCE, "mx:a.example"))
    if says == "no":
        assert isinstance(ending, HostTrouble) and ending.failure.kind is NotNow.OFFLINE
    else:
        assert ending is SILENCE


def test_a_gap_that_ends_while_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream server was silent, and is there again when it is probed: it is tried at once, and no attempt counts,
    on none of its connections. One that stays silent and is found all the same counts after a minute, and from then
    on each time; until it has answered once."""
    ends = []

    async def test() -> None:
        made = belief(saying("yes"))
        for gap_s, trouble in (
            (60.0, SILENCE),
            (60.0, SILENCE),
            (0.0, SILENCE),
            (0.0, REFUSED),
            (60.0, SILENCE),
        ):
            monkeypatch.setattr(worker_belief, "GAP_S", gap_s)
            ending = await made.believed(trouble, "relay")
            assert isinstance(ending, HostTrouble)
            ends.append("-" if trouble is REFUSED else ending.failure.kind.name[0])

    asyncio.run(test())
    assert "".join(ends) == "OOH-O"


@pytest.mark.parametrize(
    ("words", "detail", "is_asked"),
    [
        ("connection refused", NO_ANSWER_FROM_HOST, True),
        ("HTTP/1.1 400 Bad Request", BAD_CONNECTION, True),
        ("the password cannot be read", LOCAL_TROUBLE, False),
    ],
)
@pytest.mark.parametrize("route", ["relay", "mx:a.example"])
def test_a_router_that_leads_every_name_to_itself(
    route: str, words: str, detail: Any, is_asked: bool
) -> None:
    """It has lost the Internet, and refuses mail or talks of the Web: no attempt was made, says a probe. What is wrong
    here it is not asked about."""
    trouble = HostTrouble(TemporaryFailure(words, NotNow.HOST, detail))
    ending = asyncio.run(belief(saying("no")).believed(trouble, route))
    assert isinstance(ending, HostTrouble)
    assert ending.failure.kind is (NotNow.OFFLINE if is_asked else NotNow.HOST)
