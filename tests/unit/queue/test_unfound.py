"""The DNS does not find the host that the settings name: our own trouble, that counts as nobody's attempt."""

from datetime import timedelta

from cmail.delivery.agent import HostTrouble
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.mail.status import UNABLE_TO_ROUTE
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import QueueEntry, QueueFilter
from tests.unit.queue.house import House, run

WORDS = "the host smtp.isp.example of the settings does not exist (DNS)"
UNFOUND = HostTrouble(TemporaryFailure(WORDS, NotNow.HOST, UNABLE_TO_ROUTE), is_unfound=True)
DOWN = HostTrouble(TemporaryFailure("connection refused", NotNow.HOST))


async def waiting(house: House) -> list[QueueEntry]:
    found = await house.spool.select(QueueFilter(), 1000)
    return [entry for entry in found if entry.route == "relay"]


def test_it_is_asked_again_in_seconds_and_nothing_is_counted() -> None:
    """One question for all that waits, after 1, 2, 4 ... 60 s; when it is answered all moves, and the next
    trouble is asked again as soon. What waits says why."""

    async def test(house: House) -> None:
        house.smtp.ending = UNFOUND
        for _ in range(50):
            await house.send("bob@example.net")
        await house.settle_down()
        route = house.scheduler.routes["relay"]
        waits: list[float] = []
        for asked in range(1, 9):
            assert house.smtp.connections_count == asked
            waits.append(route.rest_until - house.clock.monotonic())
            await house.pass_time(seconds=waits[-1])
            await house.settle_down()
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
        entries = await waiting(house)
        assert {entry.attempts for entry in entries} == {0} and len(entries) == 50
        assert not house.log.attempts and not house.log.reports
        words = await house.why(entries[-1].queue_id, 0)
        assert WORDS in words and "It has not been tried itself" in words
        assert sum(WORDS in text for text in house.log.texts) == 1
        house.smtp.ending = None
        await house.pass_time(minutes=1)
        await house.until(lambda: not house.waiting())
        assert len(house.smtp.delivered) == 50
        house.smtp.ending = UNFOUND
        await house.send("bob@example.net")
        await house.settle_down()
        assert route.rest_until - house.clock.monotonic() == 1

    run(test)


def test_trouble_of_the_host_begins_with_its_first_wait() -> None:
    """What the DNS did not find was no failure of the host: when that fails then, it counts, and rests for as
    long as after one failure."""

    async def test(house: House) -> None:
        house.smtp.ending = UNFOUND
        await house.send("bob@example.net")
        for _ in range(4):
            await house.pass_time(seconds=8)
            await house.settle_down()
        house.smtp.ending = DOWN
        await house.pass_time(minutes=1)
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        assert [entry.attempts for entry in await waiting(house)] == [1]
        assert 200 < house.scheduler.routes["relay"].rest_until - house.clock.monotonic() <= 300

    run(test)


def test_a_name_that_is_mistyped_keeps_no_mail_for_ever() -> None:
    """Its sender is told of the delay in time, once, and gets it back when its lifetime is over. The notice
    counts no attempt either."""

    async def test(house: House) -> None:
        house.smtp.ending = UNFOUND
        await house.send("bob@example.net")
        await house.settle_down()
        for hours, kinds in ((3, []), (2, ["delayed"]), (5, ["delayed"]), (5 * 24, ["delayed", "failed"])):
            await house.pass_time(hours=hours)
            await house.scheduler.lookout.sweep()
            await house.settle_down()
            assert [kind for _, kind in house.log.reports] == kinds
            counted = [entry.attempts for entry in await waiting(house) if entry.route == "relay"]
            assert counted == ([] if "failed" in kinds else [0])
        assert not house.smtp.attempts_count

    run(test)


def test_ten_periods_are_chances_here_too() -> None:
    """A line that is up for a moment each day: in ten link-up periods the name was not found, and its lifetime
    is over. What came later had fewer."""

    async def test(house: House) -> None:
        house.smtp.ending = UNFOUND
        bob = await house.send("bob@example.net")
        for period in range(1, 11):
            await house.settle_down()
            await house.pass_time(seconds=20)
            await house.settle_down()
            await house.scheduler.lookout.sweep()
            await house.settle_down()
            kinds = [kind for queue_id, kind in house.log.reports if queue_id == bob]
            assert kinds == ["delayed"] * (period >= 3) + ["failed"] * (period >= 10), period
            house.clock.link_down()
            house.scheduler.link_changed()
            await house.pass_time(days=1)
            if period == 5:
                await house.send("eve@example.net")
            house.clock.link_up()
            house.scheduler.link_changed()
        assert [entry.forward_path for entry in await waiting(house)] == ["eve@example.net"]

    run(test, settings=QueueSettings(lifetime=timedelta(days=5), delay_notice=timedelta(minutes=1)))
