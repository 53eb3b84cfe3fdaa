"""The scheduler: what comes goes at once, nothing is sent twice, nothing is forgotten, memory is bounded."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from cmail.mail.outcome import Delivered, TemporaryFailure
from cmail.queue import connections, route_queue
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import Change, QueuedMessage, QueueFilter, RecipientState, SpoolFullError
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run


def test_a_fresh_message_goes_at_once_and_is_gone() -> None:
    """From memory to the agent, settled in one commit, removed."""

    async def test(house: House) -> None:
        queue_id = await house.send("bob@example.net")
        await house.until(lambda: house.log.gone)
        assert house.smtp.delivered == [(queue_id, "bob@example.net")]
        assert house.log.gone == [queue_id]
        assert not house.waiting()
        assert not house.scheduler.active and not house.scheduler.octets

    run(test)


def test_a_message_that_comes_during_a_read_is_seen() -> None:
    """The read of a route began before the message was there and finds nothing: it is looked at again."""

    async def test(house: House) -> None:
        ask, is_slow = house.spool.due, True
        shown = asyncio.Event()

        async def late(found: list[QueuedMessage]) -> list[QueuedMessage]:
            await shown.wait()
            return found

        def due(*question: Any) -> "asyncio.Future[list[QueuedMessage]]":
            nonlocal is_slow
            if not is_slow:
                return ask(*question)
            is_slow = False
            return asyncio.ensure_future(late([]))

        house.spool.due = due  # type: ignore[method-assign, assignment]
        route = house.scheduler.route("relay")
        route.look_anew()
        route.refill()
        await house.send("bob@example.net")
        await house.settle_down()
        shown.set()
        await house.until(lambda: house.log.gone)

    run(test)


def test_recipients_on_one_route_share_a_transaction() -> None:
    """250 recipients at one next hop are three transactions, 100 at most in each; a mailbox is its own."""

    async def test(house: House) -> None:
        await house.send(*(f"u{n}@example.net" for n in range(250)), "you@example.org")
        await house.until(lambda: not house.waiting())
        assert sorted(map(len, house.smtp.transactions)) == [50, 100, 100]
        assert house.local.transactions == [["you@example.org"]]
        await house.until(lambda: house.log.gone)
        assert len(house.log.gone) == 1

    run(test)


def test_one_connection_carries_a_trickle() -> None:
    """A second message finds the connection of the first one idle and uses it."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 5.0
        for _ in range(5):
            await house.send("bob@example.net")
            await house.until(lambda: not house.waiting())
        assert house.smtp.connections_count == 1

    run(test)


def test_a_crowd_gets_several_connections_but_no_more_than_the_limit() -> None:
    """200 at once: 1, 2, 4 connections, and never more than four."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 1.0
        house.smtp.gate.clear()
        await asyncio.gather(*(house.send("bob@example.net") for _ in range(200)))
        for _ in range(100):  # answered one by one, so that the crowd is still there when more open
            house.smtp.gate.set()
            await asyncio.sleep(0)
            house.smtp.gate.clear()
            await house.settle_down()
            if house.smtp.open_count == 4:
                break
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting())
        assert house.smtp.open_max == 4
        assert len(house.smtp.delivered) == 200

    run(test, connections=4)


def test_a_connection_that_lost_its_call_is_no_loss() -> None:
    """A connection that asked for more and then went away does not swallow the message meant for it."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 5.0
        await house.send("bob@example.net")
        await house.until(lambda: not house.waiting())
        route = house.scheduler.routes["relay"]
        lane = next(iter(route.lanes))
        lane.more()  # nobody waits on it
        queue_id = await house.send("bob@example.net")
        await house.until(lambda: not house.waiting())
        assert house.smtp.delivered[1:] == [(queue_id, "bob@example.net")]

    run(test)


def test_more_than_fits_in_memory_comes_from_the_disk(monkeypatch) -> None:
    """Beyond its cap a route reads back what it left on the disk: each once, none forgotten, memory
    bounded, in memory again at the end."""
    monkeypatch.setattr(route_queue, "READY_MAX", 1000)

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        sent = [house.message("bob@example.net") for _ in range(2500)]
        for start in range(0, 2500, 100):
            await asyncio.gather(*(house.spool.accept(m) for m in sent[start : start + 100]))
        route = house.scheduler.routes["relay"]
        assert route.has_more and len(route.ready) <= route_queue.READY_MAX
        house.smtp.gate.set()
        most = 0
        while house.waiting():
            await asyncio.sleep(0)
            most = max(most, len(house.scheduler.active))
        assert most <= route_queue.READY_MAX + route_queue.REFILL_MESSAGES + 100
        assert sorted(house.smtp.delivered) == sorted((m.queue_id, "bob@example.net") for m in sent)
        await house.until(lambda: not route.has_more)
        await house.send("bob@example.net")
        await house.until(lambda: not house.waiting())
        assert len(house.smtp.delivered) == 2501

    run(test, connections=8)


def test_large_content_is_bounded_by_octets() -> None:
    """The octets of content in memory stay within a route's share, whatever the count of messages."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        big = b"Subject: big\n\n" + b"x" * 60_000 + b"\n"
        for _ in range(200):
            await house.send("bob@example.net", plain=big)
        assert house.scheduler.octets <= 2 * route_queue.OCTETS_MAX
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting(), 100_000)
        assert len(house.smtp.delivered) == 200
        await house.until(lambda: not house.scheduler.octets)

    run(test)


def test_what_a_restart_finds_is_sent() -> None:
    """A queue that was there before us goes as soon as we start."""

    async def test() -> None:
        before = House()
        for _ in range(30):
            await before.send("bob@example.net", "you@example.org")
        after = House(spool=before.spool.reopened(), clock=before.clock)
        after.scheduler.start()
        await after.until(lambda: not after.waiting())
        assert len(after.smtp.delivered) == 30 and len(after.local.delivered) == 30
        await after.scheduler.stop(0.1)

    asyncio.run(test())


def test_routes_do_not_wait_for_each_other() -> None:
    """A next hop that hangs holds nobody else."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        for _ in range(20):
            await house.send("bob@example.net")
        await house.send("you@example.org")
        await house.until(lambda: house.local.delivered)
        assert not house.smtp.delivered
        house.smtp.gate.set()
        await house.until(lambda: len(house.smtp.delivered) == 20)

    run(test)


def test_connections_are_shared_among_routes_in_turn(monkeypatch) -> None:
    """With more routes than connections each gets its turn."""
    monkeypatch.setattr(connections, "LANES_MAX", 3)

    async def test(house: House) -> None:
        house.smtp.idle_s = 0.001
        for n in range(30):
            await house.send(f"bob@d{n}.example")
            await house.send(f"bob@d{n}.example")
        await house.until(lambda: not house.waiting(), 100_000)
        assert house.smtp.open_max <= 3

    run(test, delivery="mx")


def test_other_settings_do_not_wait_for_a_connection_that_idles() -> None:
    """The only place is held by a connection that idles to the server of before: it ends with the settings, and what
    comes next goes out by a new one."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 600
        await house.send("bob@example.net")
        await house.until(lambda: len(house.smtp.delivered) == 1)
        house.scheduler.apply(house.settings, house.router)
        await house.send("carl@example.net")
        await house.until(lambda: len(house.smtp.delivered) == 2)
        assert house.smtp.connections_count == 2

    run(test, connections=1)


def test_nothing_is_begun_while_outcomes_cannot_be_recorded() -> None:
    """A full disk: the outcome stays in memory and is not tried again; the rest waits for the disk."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 0.01
        first = house.message("bob@example.net")
        await house.spool.accept(first)
        house.spool.fail_with(SpoolFullError("full"))
        await house.until(lambda: house.spool.is_blocked)
        house.spool._failure = None  # what comes is taken again, but the outcome is not recorded yet
        second = await house.send("bob@example.net")
        await house.settle_down()
        assert [queue_id for queue_id, _ in house.smtp.delivered] == [first.queue_id]
        house.spool.fail_with(None)
        await house.until(lambda: not house.waiting(), 10_000)
        assert [queue_id for queue_id, _ in house.smtp.delivered] == [first.queue_id, second]

    run(test)


def test_what_was_put_off_while_the_disk_was_full_is_not_forgotten() -> None:
    """A deferral that could be recorded only after its time had come is tried again at once, not by the
    slow look a minute later."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda transaction, queued: TemporaryFailure("451 4.3.0 later")
        first = house.message("bob@example.net")
        await house.spool.accept(first)
        house.spool.fail_with(SpoolFullError("full"))
        await house.until(lambda: house.spool.is_blocked)
        await house.pass_time(minutes=30)
        house.scheduler.lookout.look()
        await house.settle_down()
        house.smtp.outcome = deliver
        house.spool.fail_with(None)
        await house.settle_down()
        house.scheduler.lookout.look()
        await house.until(lambda: not house.waiting())
        assert house.smtp.delivered == [(first.queue_id, "bob@example.net")]

    run(test)


def test_what_becomes_due_while_nobody_looks_is_not_missed() -> None:
    """A due time between a read of the disk and the question when the next is due: tried at once, not by
    the slow look a minute later."""

    async def test(house: House) -> None:
        house.local.outcome = lambda transaction, queued: TemporaryFailure("4.2.2 later")
        await house.send("you@example.org")
        await house.until(lambda: house.local.attempts_count)
        await house.settle_down()
        house.local.outcome = deliver
        read = house.spool.due

        def and_a_moment_passes(*question: Any) -> Any:
            found = read(*question)
            house.clock.advance(0.002)
            return found

        wait_ms = (await house.spool.select(QueueFilter(), 1))[0].due_ms - house.clock.wall_ms()
        house.clock.advance(wait_ms / 1000)
        house.clock.set_wall_ms(house.clock.wall_ms() - 1)  # the timer was early, by the wall clock
        setattr(house.spool, "due", and_a_moment_passes)  # noqa: B010
        house.scheduler.lookout.look()
        await house.until(lambda: not house.waiting())
        assert len(house.local.delivered) == 1

    run(test)


def test_stop_puts_back_what_was_not_sent() -> None:
    """Stopping ends connections; what they had is in the spool as it was, no attempt counted."""

    async def test() -> None:
        house = House()
        house.scheduler.start()
        house.smtp.gate.clear()
        await house.send("bob@example.net")
        await house.until(lambda: house.smtp.open_count)
        await house.settle_down()
        await house.scheduler.stop(0.01)
        assert house.smtp.cancelled_count == 1 and house.smtp.open_count == 0
        assert house.waiting() == ["bob@example.net"]
        entry = (await house.spool.select(QueueFilter(), 1))[0]
        assert (entry.attempts, entry.state) == (0, RecipientState.QUEUED)

    asyncio.run(test())


def test_held_and_deleted_messages_leave_memory() -> None:
    """What an operator holds or deletes is not sent, although it was ready; the others are."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        ids = [await house.send("bob@example.net") for _ in range(20)]
        await house.settle_down()
        for change, queue_id in ((Change.HOLD, ids[-1]), (Change.DELETE, ids[-2])):
            what = QueueFilter(ids=(queue_id,))
            changed = await house.spool.change(what, change, house.scheduler.change_times())
            house.scheduler.changed(change, changed.queue_ids)
        house.smtp.gate.set()
        await house.until(lambda: len(house.smtp.delivered) == 18)
        await house.settle_down()
        assert {queue_id for queue_id, _ in house.smtp.delivered} == set(ids[:-2])
        times = house.scheduler.change_times()
        changed = await house.spool.change(QueueFilter(ids=(ids[-1],)), Change.RELEASE, times)
        house.scheduler.changed(Change.RELEASE, changed.queue_ids)
        await house.until(lambda: not house.waiting())

    run(test, connections=2)


def test_a_clock_that_was_set_back_keeps_nothing_waiting() -> None:
    """Due times that a clock ahead of its time wrote count as due now, at start and while running."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 later")
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.smtp.outcome = lambda t, q: Delivered("sink", "250 ok")
        house.clock.set_wall_ms(house.clock.wall_ms() - 10 * 86_400_000)
        await house.scheduler.lookout.look_at_all()
        await house.until(lambda: not house.waiting())
        assert [type(outcome) for _, _, outcome in house.log.attempts] == [TemporaryFailure, Delivered]

    run(test)

    async def after_restart() -> None:
        before = House()
        late = replace(before.message("bob@example.net"), due_ms=before.clock.wall_ms() + 10**10)
        await before.spool.accept(late)
        after = House(spool=before.spool.reopened(), clock=before.clock)
        after.scheduler.start()
        await after.until(lambda: not after.waiting())
        assert after.smtp.delivered == [(late.queue_id, "bob@example.net")]
        await after.scheduler.stop(0.1)

    asyncio.run(after_restart())


def test_a_message_for_later_waits_for_its_time() -> None:
    """HOLDFOR/HOLDUNTIL (RFC 4865): not before its sender said, and then at once."""

    async def test(house: House) -> None:
        await house.send("bob@example.net", hold_until_ms=house.clock.wall_ms() + 3_600_000)
        await house.settle_down()
        await house.scheduler.lookout.look_at_all()
        await house.settle_down()
        assert not house.smtp.delivered
        await house.pass_time(hours=1)
        await house.until(lambda: not house.waiting())

    run(test)


def test_nothing_is_lost_or_doubled_in_a_storm() -> None:
    """Random ends of connections and messages, caps far too small: in the end each arrived once."""

    async def storm(house: House) -> None:
        chance = random.Random(7)
        house.smtp.idle_s = 0.001

        def outcome(transaction, queued):
            if chance.random() < 0.1:
                return TemporaryFailure("450 not now")
            return Delivered("sink", "250 ok")

        house.smtp.outcome = house.local.outcome = outcome
        sent = []
        for _ in range(300):
            to = [f"u{n}@example.net" for n in range(chance.randrange(1, 4))]
            to += ["you@example.org"] * (chance.random() < 0.3)
            queue_id = await house.send(*to)
            sent += [(queue_id, address) for address in to]
            if chance.random() < 0.05:
                house.scheduler.apply(house.settings, house.router)
            if chance.random() < 0.05:
                house.clock.link_down()
                house.scheduler.link_changed()
            if chance.random() < 0.3:
                house.clock.link_up()
                house.scheduler.link_changed()
        house.clock.link_up()
        house.scheduler.link_changed()
        for _ in range(100):
            if not house.waiting():
                break
            await house.pass_time(minutes=10)
        assert not house.waiting()
        assert sorted(house.smtp.delivered + house.local.delivered) == sorted(sent)
        await house.until(lambda: not house.scheduler.active)
        assert not house.scheduler.octets

    small = {"READY_MAX": 8, "REFILL_BELOW": 3, "REFILL_MESSAGES": 5}
    kept = {name: getattr(route_queue, name) for name in small}
    try:
        for name, value in small.items():
            setattr(route_queue, name, value)
        run(storm)
    finally:
        for name, value in kept.items():
            setattr(route_queue, name, value)


def test_idle_routes_are_forgotten() -> None:
    """A thousand domains that got their mail leave nothing in memory."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 0.001
        for n in range(300):
            await house.send(f"bob@d{n}.example")
        await house.until(lambda: not house.scheduler.routes, 100_000)
        assert not house.waiting()

    run(test, delivery="mx", settings=QueueSettings())


def test_a_message_heard_of_twice_is_sent_once() -> None:
    """Reading the disk may find a fresh message before its announcement comes: one of the two counts."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        for to in (("bob@example.net",), ("bob@example.net", "you@example.org")):
            message = house.message(*to)
            await house.spool.accept(message)
            house.scheduler.fresh(message)
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting())
        assert len(house.smtp.delivered) == 2 and len(house.local.delivered) == 1

    run(test)


def test_a_due_time_beyond_every_wait_counts_as_now_whenever_it_is_seen() -> None:
    """Also when nobody knows of a clock that was set: the next look at the route finds it."""

    async def test(house: House) -> None:
        late = replace(house.message("bob@example.net"), due_ms=house.clock.link_ms() + 10**10)
        await house.spool.accept(late)
        await house.settle_down()
        assert house.waiting()
        route = house.scheduler.route("relay")
        route.look_anew()
        route.refill()
        await house.until(lambda: not house.waiting())

    run(test)
