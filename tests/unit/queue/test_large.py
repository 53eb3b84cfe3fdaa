"""Large mail never holds up small mail: the last connection is not for it, and it stands aside."""

from cmail.delivery.agent import HostTrouble, Transaction
from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.policy.orders import Orders
from cmail.queue import pausing, thin_line
from cmail.queue.lane import Lane
from tests.unit.queue.house import House, run

MIB = 1 << 20
THIN = Orders(rate=256)


def sent(house: House) -> list[str]:
    return [to.partition("@")[0] for _, to in house.smtp.delivered]


async def large_under_way(house: House, count: int = 1) -> None:
    """So many large messages wait, of which as many as may are under way."""
    house.smtp.large_gate.clear()
    for number in range(count):
        await house.send(f"large{number}@example.net", size=9 * MIB)
    await house.until(lambda: house.smtp.open_count)
    await house.settle_down()


def test_the_last_connection_is_not_for_large_mail() -> None:
    """Ten large messages wait, four connections are allowed: three carry large ones, and small mail that
    comes goes at once, in its order."""

    async def test(house: House) -> None:
        for number in range(8):  # the next hop is known to take several
            await house.send(f"known{number}@example.net")
        await house.until(lambda: not house.waiting())
        route = house.scheduler.route("relay")
        route.window.size = 4
        await large_under_way(house, 10)
        await house.until(lambda: route.large_count == 3)
        await house.settle_down()
        for number in range(20):
            await house.send(f"small{number}@example.net")
        await house.until(lambda: sent(house)[8:] == [f"small{n}" for n in range(20)])
        assert route.large_count == 3 and house.smtp.open_max <= 4 and len(route.ready) == 7
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())
        order = sent(house)[28:]
        assert len(order) == 10 and not route.large_count
        assert all(abs(order.index(f"large{n}") - n) < 3 for n in range(10)), "neighbours overtake each other"

    run(test, connections=4)


def test_waiting_large_mail_costs_no_turns() -> None:
    """A connection that may take none of what is ready sleeps until there is something."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 30.0
        await house.send("known@example.net")
        await house.until(lambda: not house.waiting())
        await large_under_way(house, 3)
        route, looks = house.scheduler.routes["relay"], 0
        count = route.next_transaction

        def counted(lane: Lane) -> Transaction | None:
            nonlocal looks
            looks += 1
            return count(lane)

        assert route.large_count == 1
        type(route).next_transaction, before = lambda self, lane: counted(lane), type(route).next_transaction  # type: ignore[method-assign]
        try:
            for _ in range(20):
                await house.settle_down()
        finally:
            type(route).next_transaction = before  # type: ignore[method-assign]
        assert looks < 5
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test, connections=2)


def test_with_one_connection_small_mail_gets_another_for_itself() -> None:
    """The large content stands aside while small mail is sent beside it, goes on then, and afterwards one
    connection is enough again."""

    async def test(house: House) -> None:
        await large_under_way(house, 2)
        assert house.smtp.open_count == 1
        house.smtp.gate.clear()
        for number in range(5):
            await house.send(f"small{number}@example.net")
        await house.until(lambda: house.smtp.open_count == 2 and house.smtp.paused_count == 1)
        assert house.scheduler.routes["relay"].large_count == 1
        house.smtp.gate.set()
        await house.until(lambda: len(sent(house)) == 5)
        await house.until(lambda: not house.smtp.paused_count)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())
        assert sent(house) == [*(f"small{n}" for n in range(5)), "large0", "large1"]
        assert house.smtp.open_max == 2

    run(test, connections=1)


def test_the_other_connection_is_for_that_time_alone() -> None:
    """When the large message is through, one connection carries all that comes, though the other idles."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 30.0
        await large_under_way(house)
        await house.send("small@example.net")
        await house.until(lambda: sent(house) == ["small"])
        await house.until(lambda: not house.smtp.paused_count)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())
        house.smtp.gate.clear()
        for number in range(12):
            await house.send(f"late{number}@example.net")
            await house.settle_down()
        assert sum(bool(lane.taken) for lane in house.scheduler.routes["relay"].lanes) == 1
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting())
        house.smtp.large_gate.clear()
        await house.send("again@example.net", size=9 * MIB)
        await house.settle_down()
        await house.send("beside@example.net")
        await house.until(lambda: sent(house)[-1] == "beside")
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test, connections=1)


def test_on_a_thin_link_one_large_message_goes_at_a_time_and_stands_aside() -> None:
    """Four connections are allowed, the link carries 256 kbit/s."""

    async def test(house: House) -> None:
        house.order(THIN)
        house.smtp.idle_s = 30.0  # it is the end of the small message that ends the pause
        await large_under_way(house, 3)
        route = house.scheduler.routes["relay"]
        house.smtp.gate.clear()
        await house.send("small@example.net")
        await house.until(lambda: house.smtp.paused_count == 1)
        assert route.large_count == 1
        house.smtp.gate.set()
        await house.until(lambda: sent(house) == ["small"])
        await house.until(lambda: not house.smtp.paused_count)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test, connections=4)


def large_of_all(house: House) -> int:
    return sum(route.large_count for route in house.scheduler.routes.values())


async def large_to_hosts(house: House) -> None:
    """One for each of three hosts, by a thin link."""
    house.order(THIN)
    house.smtp.idle_s = 30.0
    house.smtp.large_gate.clear()
    for number in range(3):
        await house.send(f"large{number}@h{number}.example", size=9 * MIB)
    await house.until(lambda: house.smtp.open_count)
    await house.settle_down()


def test_on_a_thin_link_large_mail_for_several_hosts_goes_one_at_a_time() -> None:
    """It stands aside for small mail to whichever host, and the most urgent is the next."""

    async def test(house: House) -> None:
        await large_to_hosts(house)
        assert large_of_all(house) == 1
        house.smtp.gate.clear()
        await house.send("small@h3.example")
        await house.until(lambda: house.smtp.paused_count == 1)
        house.smtp.gate.set()
        await house.until(lambda: sent(house) == ["small"])
        await house.until(lambda: not house.smtp.paused_count)
        await house.send("urgent@h4.example", size=9 * MIB, priority=4)
        await house.send("again@h0.example", size=9 * MIB)
        await house.settle_down()
        assert large_of_all(house) == 1
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())
        assert sent(house) == ["small", "large0", "urgent", "large1", "large2", "again"]
        await house.until(lambda: not house.scheduler.active)
        assert not large_of_all(house)

    run(test, delivery="mx")


def test_on_a_thin_link_a_slow_host_does_not_keep_the_turn(monkeypatch) -> None:
    """One that takes much longer than the link is not waited for: another goes beside it, whatever else waits
    for the slow one."""
    monkeypatch.setattr(thin_line, "TURN_MIN_S", 0)
    monkeypatch.setattr(thin_line, "TURN_TIMES", 0)

    async def test(house: House) -> None:
        house.order(THIN)
        house.smtp.large_gate.clear()
        for to in ("first@slow.example", "second@slow.example", "third@other.example"):
            await house.send(to, size=9 * MIB)
        await house.until(lambda: large_of_all(house) == 2)
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test, delivery="mx")


def test_on_a_thin_link_what_takes_seconds_is_large() -> None:
    """900 KiB are half a minute of it: one such message goes at a time and stands aside for small mail, with a
    deadline (RFC 2852) too. What takes less is no trouble."""

    async def test(house: House) -> None:
        house.order(THIN)
        house.smtp.large_gate.clear()
        for number in range(3):
            by_ms = house.clock.link_ms() + 3_600_000 if number else 0
            await house.send(f"large{number}@example.net", size=900 << 10, deliver_by_ms=by_ms, by_mode="N")
        await house.until(lambda: house.smtp.open_count)
        await house.settle_down()
        route = house.scheduler.routes["relay"]
        assert route.large_count == 1 and len(route.ready) == 2
        for number in range(3):
            await house.send(f"small{number}@example.net", size=80_000)
        await house.until(lambda: sent(house) == [f"small{n}" for n in range(3)])
        assert route.large_count == 1
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test, connections=4)


def test_on_a_wide_link_nothing_stands_aside() -> None:
    """Where both fit, both go."""

    async def test(house: House) -> None:
        await large_under_way(house)
        for number in range(20):
            await house.send(f"small{number}@example.net")
        await house.until(lambda: len(sent(house)) == 20)
        assert not house.smtp.pauses_count
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())

    run(test, connections=4)


def test_standing_aside_has_an_end(monkeypatch) -> None:
    """A peer that hangs with small mail does not keep the large content from going on: after its time it
    goes on for as long, then stands aside again."""
    monkeypatch.setattr(pausing, "PAUSE_MAX_S", 0.05)

    async def test(house: House) -> None:
        await large_under_way(house)
        house.smtp.gate.clear()
        await house.send("small@example.net")
        await house.until(lambda: house.smtp.paused_count == 1)
        house.clock.advance(0.06)
        await house.until(lambda: not house.smtp.paused_count, 20_000)
        for _ in range(10):
            await house.settle_down()
        assert house.smtp.pauses_count == 1, "it goes on for a while"
        house.clock.advance(0.05)
        await house.until(lambda: house.smtp.pauses_count == 2)
        house.smtp.large_gate.set()
        house.clock.advance(0.06)
        await house.until(lambda: sent(house) == ["large0"], 20_000)
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting())

    run(test, connections=1)


def test_a_second_connection_that_is_refused_is_no_trouble_of_the_next_hop() -> None:
    """A server that takes one connection from us: the large message goes on, small mail waits for its end,
    no attempt is counted, and nobody knocks again and again."""

    async def test(house: House) -> None:
        await large_under_way(house)
        refused = HostTrouble(TemporaryFailure("421 too many connections", NotNow.HOST))
        house.smtp.ending = refused
        await house.send("small@example.net")
        await house.until(lambda: house.smtp.connections_count == 2)
        for _ in range(20):
            await house.settle_down()
        assert house.smtp.connections_count == 2 and not house.log.attempts
        assert not house.scheduler.routes["relay"].rest_until and not house.smtp.paused_count
        house.smtp.ending = None
        house.smtp.large_gate.set()
        await house.until(lambda: not house.waiting())
        assert sent(house) == ["large0", "small"]

    run(test, connections=1)


def test_link_down_ends_a_pause() -> None:
    """Who stands aside is cut like the others; what it had is on the disk."""

    async def test(house: House) -> None:
        await large_under_way(house)
        house.smtp.gate.clear()
        await house.send("small@example.net")
        await house.until(lambda: house.smtp.paused_count == 1)
        house.link(is_up=False)
        await house.until(lambda: not house.smtp.open_count)
        route = house.scheduler.route("relay")
        assert not route.large_count and not route.pausing.paused and not house.scheduler.active
        house.smtp.gate.set()
        house.smtp.large_gate.set()
        house.link(is_up=True)
        await house.until(lambda: not house.waiting())

    run(test, connections=1)
