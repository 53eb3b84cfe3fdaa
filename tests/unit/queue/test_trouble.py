"""The three kinds of 'not now', never mixed up; next hops that can never be; flush."""

import asyncio

import pytest

from cmail.delivery.agent import HostTrouble, RouteRefusal
from cmail.mail.outcome import Delivered, NotNow, PermanentFailure, TemporaryFailure
from cmail.mail.status import NULL_MX
from cmail.storage.spool import Change, QueueFilter
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run

DOWN = HostTrouble(TemporaryFailure("connection refused", NotNow.HOST))
OFFLINE = HostTrouble(TemporaryFailure("network is unreachable", NotNow.OFFLINE))


async def entries(house: House):
    return await house.spool.select(QueueFilter(), 1000)


async def change(house: House, what: QueueFilter, how: Change) -> None:
    changed = await house.spool.change(what, how, house.scheduler.change_times())
    house.scheduler.changed(how, changed.queue_ids)


def test_a_dead_host_rests_and_everything_moves_when_it_is_back() -> None:
    """One connection a back-off, not one a message; the first success wakes all at once."""

    async def test(house: House) -> None:
        house.smtp.ending = DOWN
        for _ in range(50):
            await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        assert house.smtp.connections_count == 1
        await house.pass_time(minutes=5)
        assert house.smtp.connections_count == 2
        await house.pass_time(minutes=5)
        assert house.smtp.connections_count == 2, "the second wait is ten minutes"
        house.smtp.ending = None
        await house.pass_time(minutes=5)
        await house.until(lambda: not house.waiting())
        assert len(house.smtp.delivered) == 50

    run(test)


def test_what_was_in_memory_is_deferred_with_the_reason() -> None:
    """Those that waited in memory are counted an attempt, and say why."""

    async def test(house: House) -> None:
        house.smtp.ending = DOWN
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        entry = (await entries(house))[0]
        assert (entry.attempts, entry.reason, entry.kind) == (1, "connection refused", NotNow.HOST)
        assert entry.due_ms == house.clock.link_ms() + 300_000
        assert "connection refused" in await house.why(entry.queue_id, 0)

    run(test)


def test_off_line_counts_nothing() -> None:
    """A delivery that finds us off line leaves everything as it was; link-up starts it all."""

    async def test(house: House) -> None:
        house.smtp.ending = OFFLINE
        await house.send("bob@example.net")
        await house.settle_down()
        entry = (await entries(house))[0]
        assert (entry.attempts, entry.due_ms, entry.reason) == (0, 0, "")
        assert not house.log.attempts
        assert "off line" in await house.why(entry.queue_id, 0)
        house.smtp.ending = None
        house.clock.link_down()
        house.scheduler.link_changed()
        house.clock.link_up()
        house.scheduler.link_changed()
        await house.until(lambda: not house.waiting())

    run(test)


def test_who_finds_us_off_line_looks_again_soon_then_seldom() -> None:
    """A line that has just come up may not reach its neighbour for a second: what waits does not lie for a
    minute because of that. Waits grow from a quarter of a second to a minute, until something is delivered."""

    async def test(house: House) -> None:
        house.smtp.ending = OFFLINE
        await house.send("bob@example.net")
        await house.settle_down()
        route = house.scheduler.routes["relay"]
        waits: list[float] = []
        for _ in range(10):
            waits.append(route.rest_until - house.clock.monotonic())
            await house.pass_time(seconds=waits[-1])
            await house.settle_down()
        assert waits == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]
        assert (await entries(house))[0].attempts == 0
        house.smtp.ending = None
        await house.pass_time(minutes=1)
        await house.until(lambda: not house.waiting())
        house.smtp.ending = OFFLINE
        await house.send("bob@example.net")
        await house.settle_down()
        assert route.rest_until - house.clock.monotonic() == 0.25

    run(test)


def test_connection_that_awaits_its_last_reply_keeps_nobody_from_the_link_that_is_back() -> None:
    """A thin link has one connection a worker. When it was cut it may wait a minute for a reply; what is
    new goes on another at once, and what the first had is counted no attempt."""

    async def test(house: House) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        house.smtp.gate.clear()
        answer = house.smtp.gate.wait

        async def slow_to_leave() -> bool:
            begun.set()
            try:
                return await answer()
            except asyncio.CancelledError:
                await ended.wait()
                raise

        house.smtp.gate.wait = slow_to_leave  # type: ignore[method-assign, assignment]
        await house.send("bob@example.net")
        await house.until(begun.is_set)
        house.clock.link_down()
        house.scheduler.link_changed()
        await house.settle_down()
        house.smtp.gate.set()
        house.clock.link_up()
        house.scheduler.link_changed()
        await house.send("ann@example.net")
        await house.until(lambda: len(house.smtp.delivered) == 1)
        assert house.smtp.open_count == 2 and house.smtp.delivered[0][1] == "ann@example.net"
        ended.set()
        await house.until(lambda: not house.waiting())
        assert house.smtp.attempts_count == 2

    run(test, connections=1)


def test_off_line_in_the_middle_counts_nothing_either() -> None:
    """An outcome that says off line puts the recipient back, and the route is left alone a while."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("unreachable", NotNow.OFFLINE)
        await house.send("bob@example.net")
        await house.settle_down()
        assert (await entries(house))[0].attempts == 0
        assert house.smtp.attempts_count == 1
        house.smtp.outcome = deliver
        await house.pass_time(minutes=1)
        await house.until(lambda: not house.waiting())

    run(test)


def test_a_message_refused_for_now_has_its_own_back_off() -> None:
    """One deferred message does not hold the others of its route, and waits by the table."""

    async def test(house: House) -> None:
        later = TemporaryFailure("450 4.2.0 greylisted")
        house.smtp.outcome = lambda t, q: (
            later if q.recipient.forward_path.local_part == "grey" else deliver(t, q)
        )
        await house.send("grey@example.net")
        await house.send("bob@example.net")
        await house.until(lambda: house.waiting() == ["grey@example.net"])
        tries = []
        for _ in range(16):
            before = len(house.log.attempts)
            await house.pass_time(minutes=5)
            tries.append(len(house.log.attempts) - before)
        assert [n + 1 for n, tried in enumerate(tries) if tried] == [1, 3, 7, 15], "after 5, 10, 20, 40 min"

    run(test)


def test_who_was_put_off_together_comes_back_together() -> None:
    """Recipients of one transaction that were refused for now share the next one too."""

    async def test(house: House) -> None:
        chances = iter([0.1, 0.9, 0.4, 0.6, 0.2, 0.8])
        house.scheduler.attempts.jitter = lambda: next(chances)
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 greylisted")
        await house.send("bob@example.net", "carl@example.net", "dora@example.net")
        await house.until(lambda: len(house.log.attempts) == 3)
        await house.settle_down()
        due = {row.queued.due_ms for m in house.spool._messages.values() for row in m.waiting}
        assert len(due) == 1

    run(test)


def test_a_message_that_a_peer_hangs_up_on_does_not_stop_the_route() -> None:
    """HOST trouble with one message while others get through is that message's own: no wild circle."""

    async def test(house: House) -> None:
        lost = TemporaryFailure("connection lost", NotNow.HOST)
        house.smtp.outcome = lambda t, q: (
            lost if q.recipient.forward_path.local_part == "poison" else deliver(t, q)
        )
        await house.send("bob@example.net")
        await house.until(lambda: house.smtp.delivered)
        await house.send("poison@example.net")
        for _ in range(10):
            await house.send("bob@example.net")
        await house.until(lambda: house.waiting() == ["poison@example.net"])
        await house.settle_down()
        assert house.smtp.attempts_count == 12
        assert (await entries(house))[0].kind == NotNow.MESSAGE

    run(test)


def test_one_connection_too_many_closes_the_window_not_the_route() -> None:
    """A host that refuses a further connection while others work goes on with those."""

    async def test(house: House) -> None:
        house.smtp.idle_s = 1.0
        first = house.smtp.run

        async def at_most_two(route, work):
            if house.smtp.open_count >= 2:
                return HostTrouble(TemporaryFailure("421 too many connections", NotNow.HOST))
            return await first(route, work)

        house.smtp.run = at_most_two  # type: ignore[method-assign]
        for _ in range(300):
            await house.spool.accept(house.message("bob@example.net"))
        await house.until(lambda: not house.waiting())
        assert not any(isinstance(outcome, TemporaryFailure) for _, _, outcome in house.log.attempts)

    run(test, connections=10)


def test_a_next_hop_that_can_never_be_bounces_all() -> None:
    """Null MX: what is in memory, on the disk and deferred for later is bounced; then it is forgotten."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 later")
        await house.send("carl@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        refusal = PermanentFailure("it takes no mail", detail=NULL_MX)
        house.smtp.ending = RouteRefusal(refusal)
        await house.until(lambda: not house.smtp.open_count)
        for _ in range(5):
            await house.send("bob@example.net")
        await house.until(lambda: not house.waiting())
        failed = [to for _, to, outcome in house.log.attempts if outcome == refusal]
        assert sorted(failed) == ["bob@example.net"] * 5 + ["carl@example.net"]
        assert len(house.local.delivered) == 6, "each sender got a bounce"
        house.smtp.ending, house.smtp.outcome = None, deliver
        await house.until(lambda: not house.smtp.open_count)
        await house.send("bob@example.net")
        await house.until(lambda: ("bob@example.net") in [to for _, to in house.smtp.delivered])

    run(test, delivery="mx")


@pytest.mark.parametrize("what", ["everything", "by name"])
def test_flush_forgets_that_the_next_hop_rests(what: str) -> None:
    """`cmail queue flush` tries again at once, whatever the back-off says."""

    async def test(house: House) -> None:
        house.smtp.ending = DOWN
        queue_id = await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.smtp.ending = None
        await change(house, QueueFilter(ids=(queue_id,) if what == "by name" else ()), Change.FLUSH)
        await house.until(lambda: not house.waiting())
        assert house.smtp.delivered == [(queue_id, "bob@example.net")]

    run(test)


def test_connections_that_do_nothing_are_not_opened_without_end() -> None:
    """A peer that closes each connection in order before anything is sent gets a back-off."""

    async def test(house: House) -> None:
        from cmail.delivery.agent import Finished

        house.smtp.ending = Finished(0)
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        assert house.smtp.connections_count <= 3

    run(test)


def test_an_agent_that_fails_delays_mail_and_loses_none() -> None:
    """A mistake of ours in an agent, with a message in hand: it is deferred, and goes later."""

    async def test(house: House) -> None:
        async def broken(route, work):
            work.take()
            raise ZeroDivisionError

        house.log.failed = lambda text: None  # type: ignore[method-assign]
        works, house.smtp.run = house.smtp.run, broken  # type: ignore[method-assign]
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        assert house.waiting() == ["bob@example.net"]
        house.smtp.run = works  # type: ignore[method-assign]
        await house.pass_time(minutes=6)
        await house.pass_time(minutes=6)
        await house.until(lambda: not house.waiting())
        *failed, last = (outcome for _, _, outcome in house.log.attempts)
        assert failed and all("an error of ours" in str(outcome) for outcome in failed)
        assert isinstance(last, Delivered)

    run(test)


def test_connections_that_fail_together_count_as_one_failure() -> None:
    """Four connections to a host that just died: one back-off of five minutes, not one of forty."""

    async def test(house: House) -> None:
        fails, begun = asyncio.Event(), []

        async def hang_and_fail(route, work):
            begun.append(route)
            await fails.wait()
            return DOWN

        house.smtp.run = hang_and_fail  # type: ignore[method-assign]
        await house.send("bob@example.net")
        route = house.scheduler.routes["relay"]
        route.window.size = 4
        for _ in range(50):
            await house.send("bob@example.net")
        await house.until(lambda: len(begun) == 4)
        fails.set()
        await house.until(lambda: route.rest_until and not route.lanes)
        assert route.failures == 1
        assert route.rest_until - house.clock.monotonic() == 300

    run(test)
