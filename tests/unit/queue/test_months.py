"""Months of outages, policies and exchanges with a thousand messages: nothing counted, nobody told, all there."""

import asyncio
import random
from collections.abc import Callable

from cmail.mail.outcome import Outcome, TemporaryFailure
from cmail.policy.orders import FREE, NOTHING, Orders
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import QueueFilter
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run

COUNT = 1000
MIB = 1 << 20


async def a_thousand(house: House) -> set[int]:
    """Large and small, urgent and not."""
    return {
        await house.send(
            f"r{number}@example.net",
            size=0 if number % 4 else 3 * MIB,
            priority=2 if number % 10 == 7 else 0,
        )
        for number in range(COUNT)
    }


async def a_day(house: House, hours: float = 24) -> None:
    """It passes, in pieces, with all that is done now and then."""
    for _ in range(4):
        await house.pass_time(hours=hours / 4)
    await house.scheduler.lookout.look_at_all()
    await house.scheduler.lookout.sweep()
    await house.settle_down()


def nothing_was_counted(house: House) -> None:
    assert not house.log.attempts and not house.log.given_up and not house.log.reports


async def attempts(house: House) -> set[int]:
    return {entry.attempts for entry in await house.spool.select(QueueFilter(), 2 * COUNT)}


async def all_arrive(house: House, ids: set[int]) -> None:
    await house.until(lambda: not house.waiting(), 60_000)
    arrived = [queue_id for queue_id, _ in house.smtp.delivered]
    assert len(arrived) == len(set(arrived)) == COUNT and set(arrived) == ids
    refused = {queue_id for queue_id, _, outcome in house.log.attempts if type(outcome) is TemporaryFailure}
    assert not house.log.given_up and {queue_id for queue_id, _ in house.log.reports} <= refused


def test_three_months_off_line() -> None:
    """In the middle of a thousand: none is tried, told or given up; all go when the link is back."""

    async def test(house: House) -> None:
        house.link(is_up=False)
        ids = await a_thousand(house)
        for _ in range(90):
            await a_day(house)
        nothing_was_counted(house)
        assert await attempts(house) == {0}
        house.link(is_up=True)
        await all_arrive(house, ids)

    run(test)


def test_three_months_with_a_link_that_carries_little() -> None:
    """Up all the time, for urgent mail, then for small mail: what it does not carry has no attempt and
    gets no older, until a link is there that carries it."""

    async def test(house: House) -> None:
        house.order(Orders(size_max=NOTHING, urgent_size_max=MIB))
        ids = await a_thousand(house)
        for _ in range(45):
            await a_day(house)
        urgent = sum(n % 10 == 7 and n % 4 != 0 for n in range(COUNT))
        assert len(house.smtp.delivered) == urgent
        house.order(Orders(size_max=MIB, urgent_size_max=MIB))
        for _ in range(45):
            await a_day(house)
        assert len(house.smtp.delivered) == COUNT - COUNT // 4
        assert await attempts(house) == {0}
        house.order(FREE)
        await all_arrive(house, ids)

    run(test)


def greylisting(house: House, until_s: float) -> Callable[..., Outcome]:
    """Everybody says `not yet` for so long."""
    end = house.clock.monotonic() + until_s

    def outcome(transaction: object, queued: object) -> Outcome:
        if house.clock.monotonic() < end:
            return TemporaryFailure("450 greylisted")
        return deliver(transaction, queued)  # type: ignore[arg-type]

    return outcome


def test_what_waited_for_months_is_not_given_up_at_its_first_attempt() -> None:
    """The link that carries it is there, and the first answer is `not yet`: it has its chances from now
    on, as if it had come today."""

    async def test(house: House) -> None:
        house.order(Orders(size_max=NOTHING))
        ids = {await house.send(f"r{n}@example.net") for n in range(20)}
        for _ in range(60):
            await a_day(house)
        house.smtp.outcome = greylisting(house, 3 * 86400)
        house.order(FREE)
        for _ in range(16):
            await a_day(house, 6)
        await house.until(lambda: not house.waiting(), 20_000)
        assert {queue_id for queue_id, _ in house.smtp.delivered} == ids and not house.log.given_up

    run(test)


def test_a_restart_makes_no_chances_of_the_time_in_which_it_was_kept() -> None:
    """Nine days over a link for urgent mail alone; a restart, and the first answer over a better link is
    `not yet`: it is neither given up nor told of. What was kept before is in a file of the link process."""

    async def test() -> None:
        before = House()
        before.scheduler.start()
        before.order(Orders(size_max=NOTHING))
        began_ms = before.clock.link_ms()
        ids = {await before.send(f"r{n}@example.net") for n in range(20)}
        for _ in range(9):
            await a_day(before)
        await before.scheduler.stop(0.1)
        before.clock.set_orders(FREE)
        house = House(spool=before.spool.reopened(), clock=before.clock)
        house.scheduler.admission.know([(began_ms, Orders(size_max=NOTHING))])
        house.smtp.outcome = greylisting(house, 1800)
        house.scheduler.start()
        await house.until(lambda: len(house.log.attempts) == 20)
        await house.settle_down()
        assert not house.log.given_up and not house.log.reports
        await house.pass_time(hours=1)
        await house.until(lambda: not house.waiting())
        assert {queue_id for queue_id, _ in house.smtp.delivered} == ids and not house.log.reports
        await house.scheduler.stop(0.1)

    asyncio.run(test())


def test_a_month_of_daily_exchanges() -> None:
    """A thousand come over a month; each day one exchange of an hour. Nothing is tried between them, and
    whatever is refused for now in four exchanges in a row is there after the fifth: only who was refused
    hears of a delay."""

    async def test(house: House) -> None:
        chance = random.Random(7)
        closed = Orders(is_exchange_open=False)
        house.order(closed)
        ids: set[int] = set()
        refused_until = house.clock.monotonic() + 4.5 * 86400
        house.smtp.outcome = lambda t, q: (
            TemporaryFailure("450 not yet")
            if house.clock.monotonic() < refused_until and t.message.queue_id % 3 == 0
            else deliver(t, q)
        )
        for day in range(31):
            for number in range(40 if day < 25 else 0):
                size = chance.choice((0, 0, 3 * MIB))
                ids.add(await house.send(f"d{day}n{number}@example.net", size=size))
            tried = len(house.log.attempts)
            await a_day(house, 23)
            assert len(house.log.attempts) == tried
            house.order(FREE)
            await a_day(house, 1)
            house.order(closed)
            await house.settle_down()
        await all_arrive(house, ids)
        assert {kind for _, kind in house.log.reports} == {"delayed"}

    run(test)


def test_who_is_refused_in_ten_exchanges_has_had_his_chances() -> None:
    """An hour a day is no five days of link-up time for months: attempts in ten exchanges count, too."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 never")
        house.order(Orders(is_exchange_open=False))
        queue_id = await house.send("bob@example.net")
        days = 0
        while not house.log.given_up:
            days += 1
            await a_day(house, 23.9)
            house.order(FREE)
            await a_day(house, 0.1)
            house.order(Orders(is_exchange_open=False))
            await house.settle_down()
            assert days < 13
        assert house.log.given_up == [queue_id] and days >= 10

    run(test)


def test_months_of_flapping_with_batch_and_exchanges() -> None:
    """All of it at once, at random, for two months: outages, policies, exchanges, batch. Nothing is lost,
    sent twice, told or given up."""

    async def test(house: House) -> None:
        chance = random.Random(11)
        orders = [
            FREE,
            Orders(size_max=MIB),
            Orders(size_max=NOTHING),
            Orders(size_max=NOTHING, urgent_size_max=NOTHING),
            Orders(is_exchange_open=False),
            Orders(rate=256, size_max=2 * MIB),
        ]
        ids = await a_thousand(house)
        for _ in range(60):
            house.link(is_up=chance.random() < 0.5)
            house.order(chance.choice(orders))
            if chance.random() < 0.3:
                house.scheduler.exchange()
            await a_day(house)
        house.link(is_up=True)
        house.order(Orders(is_exchange_open=False))
        house.order(FREE)
        await all_arrive(house, ids)

    run(test, settings=QueueSettings(batch=True))
