"""The scheduler on the real spool: drained from the disk, restarted in the middle, nothing lost or doubled."""

import asyncio
from pathlib import Path

import pytest

from cmail.mail.outcome import PermanentFailure, TemporaryFailure
from cmail.net.clock import RealClock
from cmail.policy.orders import FREE, Orders
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import Change, QueueFilter, RecipientState
from cmail.storage.spool_sqlite import SqliteSpool
from tests.support.fake_agent import deliver
from tests.support.until import until
from tests.unit.queue.house import House


class RealLink(RealClock):
    """A link that is up."""

    is_down = False
    periods = 1
    orders: Orders = FREE

    def link_ms(self) -> int:
        return self.wall_ms()

    def set_orders(self, orders: Orders) -> None:
        self.orders = orders


def open_house(folder: Path, settings: QueueSettings | None = None, orders: Orders = FREE) -> House:
    link = RealLink()
    link.orders = orders
    spool = SqliteSpool.open(str(folder), 0, link, free_space_min=0)
    return House(spool=spool, clock=link, settings=settings, connections=8)  # type: ignore[arg-type]


async def is_empty(house: House) -> bool:
    return not await house.spool.select(QueueFilter(), 1)


@pytest.mark.limit(300)
def test_a_queue_on_the_disk_is_drained_over_a_restart(tmp_path: Path) -> None:
    """4,000 queued: a restart in the middle, then the rest; each arrives once."""

    async def test() -> None:
        first = open_house(tmp_path)
        sent = []
        for start in range(0, 4000, 200):
            messages = [first.message("bob@example.net") for _ in range(200)]
            await asyncio.gather(*(first.spool.accept(m) for m in messages))
            sent += [m.queue_id for m in messages]
            assert len(sent) == start + 200
        first.smtp.idle_s = 0.01
        first.scheduler.start()
        await until(lambda: len(first.smtp.delivered) > 1000)
        await first.scheduler.stop(5.0)
        await first.spool.close()
        second = open_house(tmp_path)
        second.scheduler.start()
        await until(lambda: len(first.smtp.delivered) + len(second.smtp.delivered) >= 4000)
        arrived = [queue_id for queue_id, _ in first.smtp.delivered + second.smtp.delivered]
        assert sorted(arrived) == sent
        await until(lambda: not second.scheduler.active)
        assert await is_empty(second)
        await second.scheduler.stop(1.0)
        await second.spool.close()

    asyncio.run(test())


def test_all_ways_to_end_leave_nothing_behind(tmp_path: Path) -> None:
    """Delivered, bounced, expanded, deferred and flushed; the bounce arrives, the spool is empty."""

    async def test() -> None:
        house = open_house(tmp_path)
        house.scheduler.start()
        later = {"grey@example.net"}

        def outcome(transaction, queued):
            to = queued.recipient.forward_path.text
            if to == "gone@example.net":
                return PermanentFailure("550 5.1.1 no such user")
            return TemporaryFailure("450 later") if to in later else deliver(transaction, queued)

        house.smtp.outcome = outcome
        await house.send("gone@example.net", "bob@example.net", "grey@example.net", "you@example.org")
        await until(lambda: len(house.log.attempts) >= 5 and not house.scheduler.active)
        assert [to for _, to in house.local.delivered].count("anna@example.org") == 1
        queued = QueueFilter(states=(RecipientState.QUEUED,))
        (entry,) = await house.spool.select(queued, 10)
        assert (entry.forward_path, entry.attempts, entry.reason) == ("grey@example.net", 1, "450 later")
        later.clear()
        changed = await house.spool.change(QueueFilter(), Change.FLUSH, house.scheduler.change_times())
        house.scheduler.changed(Change.FLUSH, changed.queue_ids)
        await until(lambda: len(house.log.gone) == 2)
        assert await is_empty(house)
        await house.scheduler.stop(1.0)
        await house.spool.close()

    asyncio.run(test())


def test_orders_of_the_link_on_the_real_spool(tmp_path: Path) -> None:
    """A restart while only small mail goes: urgent first, then the small; the large ones stay, one that
    fits nowhere is held, and released all go, each once."""

    async def test() -> None:
        first = open_house(tmp_path)
        for number in range(600):
            large = number % 3 == 0
            await first.send(
                f"r{number}@example.net", size=3 << 20 if large else 0, priority=number % 50 == 1
            )
        await first.send("never@example.net", size=1 << 30)
        await first.spool.close()
        small = Orders(size_max=1 << 20, urgent_size_max=1 << 20, size_ever=1 << 29)
        house = open_house(tmp_path, orders=small)
        house.scheduler.start()
        await until(lambda: len(house.smtp.delivered) == 400)
        assert {to for _, to in house.smtp.delivered[:8]} == {
            f"r{n}@example.net" for n in range(1, 600, 50) if n % 3
        }
        held = QueueFilter(states=(RecipientState.HELD,))
        await until(lambda: any("cannot fit" in text for text in house.log.texts))
        (entry,) = await house.spool.select(held, 10)
        assert entry.forward_path == "never@example.net" and "cannot fit" in entry.reason
        changed = await house.spool.change(held, Change.RELEASE, house.scheduler.change_times())
        house.scheduler.changed(Change.RELEASE, changed.queue_ids)
        await until(lambda: len(house.smtp.delivered) == 401)
        house.order(FREE)
        await until(lambda: len(house.smtp.delivered) == 601 and not house.scheduler.active)
        assert len({queue_id for queue_id, _ in house.smtp.delivered}) == 601 and await is_empty(house)
        await house.scheduler.stop(1.0)
        await house.spool.close()

    asyncio.run(test())


def test_batch_holds_and_flushes_on_the_real_spool(tmp_path: Path) -> None:
    """What was not flushed is not read again and again, and a flush finds all of it."""

    async def test() -> None:
        house = open_house(tmp_path, QueueSettings(batch=True))
        house.scheduler.start()
        ids = [await house.send("bob@example.net") for _ in range(20)]
        await house.scheduler.lookout.look_at_all()
        await asyncio.sleep(0.02)
        assert not house.smtp.connections_count
        changed = await house.spool.change(QueueFilter(), Change.FLUSH, house.scheduler.change_times())
        house.scheduler.changed(Change.FLUSH, changed.queue_ids)
        await until(lambda: len(house.smtp.delivered) == 20)
        assert sorted(queue_id for queue_id, _ in house.smtp.delivered) == ids
        await house.scheduler.stop(1.0)
        await house.spool.close()

    asyncio.run(test())
