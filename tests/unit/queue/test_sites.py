"""Routes to sites: closed while the site is away, and what that costs a message: nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from cmail.delivery.agent import Ending, Finished, Work
from cmail.mail.outcome import TemporaryFailure
from cmail.queue import sites
from cmail.queue.settings import QueueSettings
from tests.unit.queue.house import House, run
from tests.unit.queue.test_deadlines import due_in, told
from tests.unit.queue.test_reports import owed

ROUTE = "site:ship"
TO = "whoever@ship.example"


class Gate:
    """Whether the site is there."""

    def __init__(self, house: House) -> None:
        self.is_open = False
        house.table = replace(house.table, forwards={"ship.example": ROUTE})
        house.router.table = house.table
        scheduler = house.scheduler
        scheduler.connections.agents = {**scheduler.connections.agents, "site": house.smtp}
        scheduler.is_site_open = lambda route: self.is_open or not route.startswith("site:")
        self._scheduler = scheduler

    async def comes(self) -> None:
        """The site is there."""
        self.is_open = True
        await sites.begin(self._scheduler, ROUTE)

    def goes(self) -> None:
        """It has gone."""
        self.is_open = False
        sites.end(self._scheduler, ROUTE)


def test_mail_goes_when_the_site_comes_and_waits_when_it_has_gone() -> None:
    """Neither the link nor a batch matters to it; nothing is tried meanwhile; why is said."""

    async def test(house: House) -> None:
        gate = Gate(house)
        queue_id = await house.send(TO)
        await house.pass_time(days=30)
        assert house.smtp.connections_count == 0
        assert "the site ship" in await house.why(queue_id, 0)
        house.link(is_up=False)
        await gate.comes()
        await house.until(lambda: not house.waiting())
        gate.goes()
        await house.send(TO)
        await house.settle_down()
        assert house.waiting() == [TO] and house.smtp.connections_count == 1
        assert sites.is_drained(house.scheduler, ROUTE) is False
        await gate.comes()
        await house.until(lambda: not house.waiting())

    run(test, settings=QueueSettings(batch=True))


def test_what_was_put_off_goes_at_the_next_visit() -> None:
    """A site that is there for a minute cannot wait for an hour: each visit tries everything."""

    async def test(house: House) -> None:
        gate = Gate(house)
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 not now")
        await house.send(TO)
        for visit in range(1, 4):
            await gate.comes()
            await house.until(lambda count=visit: len(house.log.attempts) == count)  # type: ignore[misc]
            await house.settle_down()
            gate.goes()
            await house.pass_time(minutes=2)
        assert len(house.log.attempts) == 3

    run(test)


def test_a_month_away_is_no_chance() -> None:
    """It was tried once before; when the site is back a second refusal does not give it up, however old it is."""

    async def test(house: House) -> None:
        gate = Gate(house)
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 not now")
        await house.send(TO)
        for visit in (1, 2):
            await gate.comes()
            await house.until(lambda count=visit: len(house.log.attempts) >= count)  # type: ignore[misc]
            await house.settle_down()
            gate.goes()
            await house.pass_time(days=30)
        assert house.waiting() == [TO] and not house.log.given_up

    run(test, settings=QueueSettings(lifetime=timedelta(days=5)))


class Borrower:
    """An agent that waits for more, as one does that has borrowed a connection."""

    def __init__(self) -> None:
        self.drained: list[bool] = []
        self.house: House

    async def run(self, route: str, work: Work) -> Ending:
        """Ends when it is woken and nothing is left."""
        while work.take() is None:
            await work.more()
            self.drained.append(sites.is_drained(self.house.scheduler, route))
            if self.drained[-1]:
                break
        return Finished(0)


def test_who_has_borrowed_a_connection_hears_at_once_that_nothing_is_left() -> None:
    """No time passes: the next shard waits for it."""

    async def test(house: House) -> None:
        gate, borrower = Gate(house), Borrower()
        borrower.house = house
        house.scheduler.connections.agents = {"site": borrower}
        await gate.comes()
        assert sites.open_one(house.scheduler, ROUTE)
        await house.until(lambda: borrower.drained and borrower.drained[-1])

    run(test)


def test_nobody_is_given_up_or_told_while_the_site_is_away() -> None:
    """A month later it is still there, though it has had its chances; it goes back when the site is there and
    does not take it."""

    async def test(house: House) -> None:
        gate = Gate(house)
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 not now")
        await house.send(TO)
        for visit in range(1, 11):
            await gate.comes()
            await house.until(lambda count=visit: len(house.log.attempts) >= count)  # type: ignore[misc]
            await house.settle_down()
            gate.goes()
            await house.pass_time(minutes=1)
        await house.pass_time(days=30)
        await house.scheduler.lookout.sweep()
        await house.settle_down()
        assert house.waiting() == [TO] and not house.log.reports and not house.log.given_up
        await gate.comes()
        await house.until(lambda: house.log.given_up)
        assert TO not in house.waiting()

    run(test, settings=QueueSettings(lifetime=timedelta(days=5)))


@pytest.mark.parametrize(("mode", "said"), [("R", ("failed", "5.4.7")), ("N", ("delayed", "4.4.7"))])
def test_a_deadline_does_not_wait_for_the_site(mode: str, said: tuple[str, str]) -> None:
    """RFC 2852: we are on line, and who wants his mail back when it is late, or to be told, knows that in time."""

    async def test(house: House) -> None:
        gate = Gate(house)
        await house.send(TO, **due_in(house, 300, mode))
        await house.pass_time(299)
        assert not house.log.reports
        await house.pass_time(1)
        await house.until(lambda: house.log.reports)
        assert await told(house) == [said]
        assert house.waiting() == ([TO] if mode == "N" else [])
        assert b"has not come for its mail" in b" ".join(owed(house)[0].content.plain().split())
        await house.pass_time(days=30)
        assert len(house.log.reports) == 1
        await gate.comes()
        await house.until(lambda: not house.waiting())

    run(test)


def test_large_mail_stays_on_the_disk_until_it_was_let_go() -> None:
    """What a site does not take unasked is not sent when it comes; small mail is."""

    async def test(house: House) -> None:
        gate = Gate(house)
        house.scheduler.site_largest = lambda route: 10_000 if route == ROUTE else 0
        await house.send(TO, size=20_000)
        await house.send(TO)
        await gate.comes()
        await house.until(lambda: len(house.smtp.delivered) == 1)
        await house.settle_down()
        assert house.waiting() == [TO]

    run(test)
