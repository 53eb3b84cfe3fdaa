"""The order of a queue: urgent first, then by deadline, then small before large, in memory and on the disk."""

import asyncio

from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.queue import route_queue
from cmail.storage.spool import QueueFilter
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run

MIB = 1 << 20


async def behind_a_gate(house: House) -> None:
    """One message is under way, and nothing ends."""
    house.smtp.gate.clear()
    await house.send("first@example.net")
    await house.until(lambda: house.smtp.open_count == 1)
    await house.settle_down()


def who(house: House) -> list[str]:
    return [to.partition("@")[0] for _, to in house.smtp.delivered]


def test_urgent_overtakes_what_is_ready() -> None:
    """Priority, then the earlier deadline, then the smaller class; whoever came first."""

    async def test(house: House) -> None:
        await behind_a_gate(house)
        now = house.clock.link_ms()
        await house.send("large@example.net", size=9 * MIB)
        await house.send("low@example.net", priority=-2)
        await house.send("middling@example.net", size=MIB)
        await house.send("small@example.net")
        await house.send("small2@example.net")
        await house.send("by2@example.net", size=9 * MIB, deliver_by_ms=now + 2_000_000)
        await house.send("by1@example.net", deliver_by_ms=now + 1_000_000)
        await house.send("urgent@example.net", priority=3)
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting())
        assert who(house) == "first urgent by1 by2 small small2 middling large low".split()

    run(test, connections=1)


def test_urgent_comes_to_memory_while_ordinary_mail_lies_on_the_disk(monkeypatch) -> None:
    """Memory is full of ordinary mail and more of it is on the disk: urgent mail goes next, ordinary
    mail gives its place; nothing is forgotten, nothing sent twice."""
    monkeypatch.setattr(route_queue, "READY_MAX", 50)
    monkeypatch.setattr(route_queue, "REFILL_BELOW", 5)

    async def test(house: House) -> None:
        await behind_a_gate(house)
        for number in range(300):
            await house.send(f"ordinary{number}@example.net")
        route = house.scheduler.routes["relay"]
        assert route.has_more and len(route.ready) <= 50
        for number in range(60):  # more than memory has room for
            await house.send(f"urgent{number}@example.net", priority=1)
        assert len(route.ready) <= 51
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting(), 20_000)
        assert who(house)[:61] == ["first", *(f"urgent{n}" for n in range(60))]
        assert len(who(house)) == len(set(who(house))) == 361
        assert who(house)[61:] == [f"ordinary{n}" for n in range(300)]

    run(test, connections=1)


def test_what_gives_its_place_is_not_forgotten(monkeypatch) -> None:
    """Memory is just full and nothing is on the disk beyond it: who goes to the disk for urgent mail
    comes back by itself."""
    monkeypatch.setattr(route_queue, "READY_MAX", 50)

    async def test(house: House) -> None:
        await behind_a_gate(house)
        for number in range(50):
            await house.send(f"ordinary{number}@example.net")
        route = house.scheduler.routes["relay"]
        await house.until(lambda: not route.has_more)
        assert len(route.ready) == 50
        await house.send("urgent@example.net", priority=1)
        assert len(route.ready) == 50 and route.has_more
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting(), 20_000)
        assert who(house) == ["first", "urgent", *(f"ordinary{n}" for n in range(50))]

    run(test, connections=1)


def test_many_urgent_ones_that_become_due_all_go_before_what_is_ready(monkeypatch) -> None:
    """More than one reading of the disk brings, while memory is full of ordinary mail."""
    monkeypatch.setattr(route_queue, "READY_MAX", 20)
    monkeypatch.setattr(route_queue, "REFILL_BELOW", 2)

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 later", NotNow.MESSAGE)
        for number in range(80):
            await house.send(f"urgent{number}@example.net", priority=1)
        await house.until(lambda: len(house.log.attempts) == 80 and not house.scheduler.active)
        house.smtp.outcome = deliver
        await behind_a_gate(house)
        for number in range(40):
            await house.send(f"ordinary{number}@example.net")
        await house.pass_time(minutes=7)
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting(), 20_000)
        assert sorted(who(house)[1:81]) == sorted(f"urgent{n}" for n in range(80))

    run(test, connections=1)


def test_urgent_mail_on_the_disk_is_read_first(monkeypatch) -> None:
    """A queue that was there before us: by rank, and what is put off comes back before what never was
    its turn when it is urgent."""
    monkeypatch.setattr(route_queue, "READY_MAX", 40)
    monkeypatch.setattr(route_queue, "REFILL_BELOW", 5)

    async def test() -> None:
        before = House()
        for number in range(200):
            await before.send(f"ordinary{number}@example.net", size=(number % 3) * MIB)
        await before.send("urgent@example.net", priority=1)
        after = House(spool=before.spool.reopened(), clock=before.clock, connections=1)
        after.smtp.outcome = lambda t, q: (
            TemporaryFailure("450 later", NotNow.MESSAGE)
            if q.recipient.forward_path.local_part == "urgent" and not after.smtp.delivered[4:]
            else deliver(t, q)
        )
        after.smtp.gate.clear()
        after.scheduler.start()
        await after.until(lambda: after.smtp.open_count)
        for _ in range(6):
            after.smtp.gate.set()
            await asyncio.sleep(0)
            after.smtp.gate.clear()
            await after.settle_down()
        assert "urgent" not in who(after) and "urgent@example.net" in {to for _, to, _ in after.log.attempts}
        sent = len(who(after))
        await after.pass_time(minutes=7)
        after.smtp.gate.set()
        await after.until(lambda: not after.waiting(), 20_000)
        assert "urgent" in who(after)[sent : sent + 3]
        small, middling, large = ([n for n in range(200) if n % 3 == kind] for kind in range(3))
        ordinary = [name for name in who(after) if name != "urgent"]
        assert ordinary == [f"ordinary{n}" for n in (*small, *middling, *large)]
        await after.scheduler.stop(0.1)

    asyncio.run(test())


def test_alias_targets_are_as_urgent_as_the_alias() -> None:
    """Urgent mail to a list stays urgent for who is on it."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        await house.send("sales@example.org", priority=4)
        await house.until(lambda: "carl@example.net" in house.waiting())
        (entry,) = await house.spool.select(QueueFilter(to="carl@"), 1)
        (alias,) = await house.spool.select(QueueFilter(to="sales@"), 1) or (entry,)
        assert entry.rank == alias.rank < 36 << 42
        house.smtp.gate.set()

    run(test, aliases={"sales@example.org": ("carl@example.net",)})
