"""Several workers and one thin link: what each has on it, and what it does about what the others have."""

from cmail.policy.line_use import UNUSED, LineUse
from cmail.policy.orders import Orders
from tests.unit.queue.house import House, run

MIB = 1 << 20
THIN = Orders(rate=256)
BEFORE_ALL = (-100, 0)
BEHIND_ALL = (1 << 60, 0)


class Told:
    """Counts how often others are to be told."""

    def __init__(self, house: House) -> None:
        self.count = 0
        house.order(THIN)
        house.smtp.large_gate.clear()
        house.scheduler.thin_line.share(self._tell)

    def _tell(self) -> None:
        self.count += 1


def test_large_mail_begins_when_it_is_known_what_the_others_have() -> None:
    """It asks first, and begins with the answer that they have nothing; then it has its turn."""

    async def test(house: House) -> None:
        told, line = Told(house), house.scheduler.thin_line
        queue_id = await house.send("large@example.net", size=9 * MIB)
        await house.until(lambda: told.count)
        assert not house.smtp.open_count and line.use() == LineUse(waits=(line.use().waits or (9, 9)))
        place = line.use().waits
        assert place is not None and place[1] == queue_id
        line.hear(UNUSED)
        await house.until(lambda: house.smtp.open_count)
        await house.settle_down()
        assert line.use() == LineUse(large=place)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())
        await house.until(lambda: line.use() == UNUSED)

    run(test)


def test_one_large_message_of_all_workers_goes_at_a_time() -> None:
    """While another worker has one in hand none begins; small mail goes all the same, and is told."""

    async def test(house: House) -> None:
        Told(house)
        line = house.scheduler.thin_line
        line.hear(LineUse(large=BEHIND_ALL))
        await house.send("large@example.net", size=9 * MIB)
        house.smtp.gate.clear()
        await house.send("small@example.net")
        await house.until(lambda: house.smtp.open_count == 1)
        await house.settle_down()
        assert line.use().has_small and line.use().large is None
        house.smtp.gate.set()
        await house.until(lambda: len(house.waiting()) == 1)
        line.hear(LineUse(large=BEHIND_ALL))
        await house.settle_down()
        assert house.waiting() == ["large@example.net"] and line.use().large is None
        line.hear(UNUSED)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test)


def test_what_is_before_it_at_another_worker_goes_first_but_not_for_ever() -> None:
    """Ten seconds are enough for a connection to be opened; then nothing may ever come of it."""

    async def test(house: House) -> None:
        Told(house)
        line = house.scheduler.thin_line
        await house.send("large@example.net", size=9 * MIB)
        for _ in range(6):
            line.hear(LineUse(waits=BEFORE_ALL))
            await house.pass_time(1.5)
        assert not house.smtp.open_count
        for _ in range(2):
            line.hear(LineUse(waits=BEFORE_ALL))
            await house.pass_time(1.5)
        await house.until(lambda: house.smtp.open_count == 1)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test)


def test_what_is_behind_it_at_another_worker_waits() -> None:
    """It begins at once."""

    async def test(house: House) -> None:
        Told(house)
        house.scheduler.thin_line.hear(LineUse(waits=BEHIND_ALL))
        await house.send("large@example.net", size=9 * MIB)
        await house.until(lambda: house.smtp.open_count == 1)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test)


def test_large_mail_under_way_stands_aside_for_another_worker() -> None:
    """For its small mail, and for its large message that goes first; not for one that is behind it."""

    async def test(house: House) -> None:
        Told(house)
        line = house.scheduler.thin_line
        line.hear(UNUSED)
        await house.send("large@example.net", size=9 * MIB)
        await house.until(lambda: line.use().large is not None)
        for others in (LineUse(has_small=True), LineUse(large=BEFORE_ALL)):
            line.hear(others)
            await house.until(lambda: house.smtp.paused_count == 1)
            line.hear(LineUse(large=BEHIND_ALL))
            await house.until(lambda: not house.smtp.paused_count)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test)


def test_nothing_is_asked_where_the_link_is_fast() -> None:
    """There is no turn, and nobody is told anything."""

    async def test(house: House) -> None:
        told = Told(house)
        house.order(Orders())
        before = told.count
        await house.send("large@example.net", size=9 * MIB)
        await house.send("small@example.net")
        await house.until(lambda: house.smtp.open_count == 2)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())
        assert told.count == before and house.scheduler.thin_line.use() == UNUSED

    run(test)
