"""Admission: what the orders of the link let go, goes; the rest waits uncounted, and says why."""

import asyncio
from dataclasses import replace
from typing import Any

from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.policy.order import rank_of
from cmail.policy.orders import FREE, NOTHING, Orders
from cmail.queue.admission import kept_words
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import Change, Deferral, QueueFilter, RecipientState, Settlement, Wanted
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run
from tests.unit.queue.test_reports import owed, text

MIB = 1 << 20
SMALL = Orders(size_max=MIB)
URGENT = Orders(size_max=NOTHING)
NONE = Orders(size_max=NOTHING, urgent_size_max=NOTHING)
CLOSED = Orders(is_exchange_open=False)
SATELLITE = Orders(size_max=5 * MIB, urgent_size_max=5 * MIB, rate=256, size_ever=37 * MIB)


def sent(house: House) -> list[str]:
    return [to.partition("@")[0] for _, to in house.smtp.delivered]


async def mixed(house: House) -> dict[str, Any]:
    return {
        "small": await house.send("small@example.net"),
        "large": await house.send("large@example.net", size=9 * MIB),
        "urgent": await house.send("urgent@example.net", priority=1),
        "both": await house.send("both@example.net", priority=1, size=9 * MIB),
    }


def test_why_it_would_not_go_in_an_exchange_either() -> None:
    """What waits for an exchange and for another link is not said to wait for an exchange alone."""
    closed = Orders(MIB, 5 * MIB, is_exchange_open=False, words="satellite: mail up to 1 MiB")
    rank, alone = rank_of(0, 0, 2 * MIB), "It waits for the next exchange."
    assert kept_words(closed, MIB, rank) == alone
    assert kept_words(closed, 2 * MIB, rank) == (
        "It waits for the next exchange, and is larger than what may go over the links that are up"
        " (1 MiB; satellite: mail up to 1 MiB)."
    )
    assert kept_words(closed, 2 * MIB, rank, was_too_large=True) == alone
    assert kept_words(replace(closed, size_max=NOTHING), MIB, rank) == alone


def test_only_what_the_orders_admit_goes() -> None:
    """Small and urgent mail over a link that carries just that; the rest at once when it may, whichever
    way it came: from memory, from the disk."""

    async def test(house: House) -> None:
        house.order(SMALL)
        ids = await mixed(house)
        await house.until(lambda: len(sent(house)) == 3)
        await house.settle_down()
        assert sorted(sent(house)) == ["both", "small", "urgent"]
        assert "larger than what may go over the links that are up (1 MiB)" in await house.why(
            ids["large"], 0
        )
        house.order(NONE)
        ids = await mixed(house)
        await house.settle_down()
        assert len(sent(house)) == 3
        assert "may carry no mail now" in await house.why(ids["urgent"], 0)
        house.order(URGENT)
        await house.until(lambda: len(sent(house)) == 5)
        assert "Only urgent mail goes now" in await house.why(ids["small"], 0)
        assert "it is not tried, and does not get older" in await house.why(ids["small"], 0)
        house.order(FREE)
        await house.until(lambda: not house.waiting())

    run(test)


def test_urgent_mail_that_waits_for_an_exchange_is_told_at_once() -> None:
    """It, and nothing else: not what is ordinary, too large for the link, or off line; nor what goes."""

    async def test(house: House) -> None:
        told: list[None] = []
        house.scheduler.urgent_waits = lambda: told.append(None)
        house.order(replace(CLOSED, urgent_size_max=MIB))
        await mixed(house)
        await house.settle_down()
        assert len(told) == 1
        house.order(CLOSED)
        await house.send("again@example.net", priority=1)
        await house.settle_down()
        assert len(told) == 2
        house.link(is_up=False)
        await house.send("off@example.net", priority=1)
        house.link(is_up=True)
        house.order(FREE)
        await house.send("goes@example.net", priority=1)
        await house.until(lambda: not house.waiting())
        assert len(told) == 2

    run(test)


def test_mail_for_people_here_asks_nobody() -> None:
    """Orders are for what needs the link; a smarthost on loopback needs none."""

    async def test(house: House) -> None:
        house.order(replace(NONE, is_exchange_open=False))
        queue_id = await house.send("you@example.org", "bob@example.net", size=9 * MIB)
        await house.until(lambda: not house.waiting())
        assert house.local.delivered == [(queue_id, "you@example.org")]
        assert house.smtp.delivered == [(queue_id, "bob@example.net")]

    run(test, host="127.0.0.1")


def test_stricter_orders_leave_to_the_disk_what_was_ready() -> None:
    """What is being sent goes on; what nobody has taken waits, and is no load to memory."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        await house.send("first@example.net", size=9 * MIB)
        await house.until(lambda: house.smtp.open_count)
        await house.settle_down()
        await mixed(house)
        house.order(SMALL)
        assert len(house.scheduler.active) == 4
        house.smtp.gate.set()
        await house.until(lambda: len(sent(house)) == 4)
        await house.settle_down()
        assert house.waiting() == ["large@example.net"]
        house.order(FREE)
        await house.until(lambda: not house.waiting())

    run(test, connections=1)


def test_what_is_not_admitted_costs_no_reading() -> None:
    """A thousand large messages on the disk: the questions to the spool are those of an empty queue."""

    async def test() -> None:
        before = House()
        for _ in range(1000):
            await before.send("large@example.net", size=9 * MIB)
        before.clock.set_orders(SMALL)
        after = House(spool=before.spool.reopened(), clock=before.clock)
        ask, found = after.spool.due, []

        def due(*question: Any) -> Any:
            answer = ask(*question)
            answer.add_done_callback(lambda done: found.append(len(done.result())))
            return answer

        after.spool.due = due  # type: ignore[assignment, method-assign]
        after.scheduler.start()
        await after.settle_down()
        assert found and not any(found) and len(found) < 5
        await after.send("small@example.net")
        await after.until(lambda: sent(after) == ["small"])
        await after.scheduler.stop(0.1)

    asyncio.run(test())


def test_between_exchanges_all_waits_and_retries_too() -> None:
    """A closed exchange holds what came and what was put off; opening it starts all of it, with what was
    put off for reasons of its own, as link-up does."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 greylisted")
        put_off = await house.send("grey@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.smtp.outcome = deliver
        house.order(CLOSED)
        fresh = await house.send("fresh@example.net", priority=5)
        await house.pass_time(hours=30)
        await house.scheduler.lookout.look_at_all()
        await house.settle_down()
        assert not sent(house) and len(house.log.attempts) == 1
        for queue_id in (put_off, fresh):
            assert "waits for the next exchange" in await house.why(queue_id, 0)
        house.order(FREE)
        await house.until(lambda: not house.waiting())
        assert sent(house)[0] == "fresh"

    run(test)


def test_an_exchange_that_closes_lets_end_what_is_being_sent() -> None:
    """Connections end with what they have in hand, and take no more."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        for name in ("a", "b"):
            await house.send(f"{name}@example.net")
            await house.settle_down()
        house.order(CLOSED)
        house.smtp.gate.set()
        await house.until(lambda: not house.smtp.open_count)
        assert sent(house) == ["a"] and house.waiting() == ["b@example.net"]
        assert not house.smtp.cancelled_count

    run(test, connections=1)


def test_an_exchange_releases_what_is_batched() -> None:
    """queue.batch alone: what came before the exchange goes, what comes after it waits for the next; the
    same when the exchange is one of a plan."""

    async def test(house: House) -> None:
        await house.send("before@example.net", "you@example.org")
        await house.settle_down()
        assert house.waiting() == ["before@example.net"]
        house.scheduler.exchange()
        await house.until(lambda: not house.waiting())
        await house.send("after@example.net")
        await house.settle_down()
        assert house.waiting() == ["after@example.net"]
        house.order(CLOSED)
        await house.settle_down()
        house.order(FREE)
        await house.until(lambda: not house.waiting())

    run(test, settings=QueueSettings(batch=True))


def test_an_exchange_while_off_line_is_made_good_at_link_up() -> None:
    """It releases; the link carries when it can."""

    async def test(house: House) -> None:
        house.link(is_up=False)
        house.order(CLOSED)
        await house.send("bob@example.net")
        house.order(FREE)
        await house.settle_down()
        assert not sent(house)
        house.link(is_up=True)
        await house.until(lambda: not house.waiting())

    run(test)


async def states(house: House) -> dict[str, tuple[RecipientState, str]]:
    return {
        entry.forward_path.partition("@")[0]: (entry.state, entry.reason)
        for entry in await house.spool.select(QueueFilter(), 100)
    }


def test_what_can_never_go_is_held_once_with_words() -> None:
    """When it comes and when orders change; an operator's release lets it be tried all the same."""

    async def test(house: House) -> None:
        house.order(NONE)
        await house.send("earlier@example.net", size=48 * MIB)
        await house.settle_down()
        house.order(SATELLITE)
        await house.settle_down()
        assert (await states(house))["earlier"][0] is RecipientState.HELD
        queue_id = await house.send("later@example.net", "you@example.org", size=48 * MIB)
        await house.send("waits@example.net", size=6 * MIB)
        await house.send("small@example.net")
        await house.until(lambda: sent(house) == ["small"] and house.local.delivered)
        await house.settle_down()
        found = await states(house)
        words = "cannot fit: 48 MiB at 256 kbit/s takes 26 minutes, and no window is longer than 20 minutes"
        assert found["earlier"] == found["later"] == (RecipientState.HELD, words)
        assert found["waits"] == (RecipientState.QUEUED, "")
        why = await house.why(queue_id, 0)
        assert "It is on hold: it cannot fit" in why and "release" in why
        assert sum("held: cannot fit" in text for text in house.log.texts) == 2
        what = QueueFilter(states=(RecipientState.HELD,))
        changed = await house.spool.change(what, Change.RELEASE, house.scheduler.change_times())
        house.scheduler.changed(Change.RELEASE, changed.queue_ids)
        await house.until(lambda: house.waiting() == ["waits@example.net"])
        assert sorted(sent(house)) == ["earlier", "later", "small"]

    run(test)


def test_what_could_not_go_goes_when_the_settings_of_the_link_let_it() -> None:
    """What still cannot is held, and says why as it is now; what an operator holds is his."""

    async def test(house: House) -> None:
        house.order(replace(SATELLITE, rate=0, size_ever=MIB))
        await house.send("middling@example.net", size=2 * MIB)
        await house.send("huge@example.net", size=9 * MIB)
        operators = await house.send("operators@example.net", size=2 * MIB)
        await house.settle_down()
        assert {state for state, _ in (await states(house)).values()} == {RecipientState.HELD}
        house.link(is_up=False)
        for change in (Change.RELEASE, Change.HOLD):
            what = QueueFilter(ids=(operators,))
            await house.spool.change(what, change, house.scheduler.change_times())
            house.scheduler.changed(change, [operators])
        await house.settle_down()
        assert "somebody (or a rule) stopped it" in await house.why(operators, 0)
        house.link(is_up=True)
        house.order(replace(SATELLITE, rate=0, size_ever=5 * MIB))
        await house.until(lambda: sent(house) == ["middling"])
        await house.settle_down()
        found = await states(house)
        assert found["huge"] == (
            RecipientState.HELD,
            "cannot fit: it has 9 MiB, and no link ever carries more than 5 MiB",
        )
        assert found["operators"][0] is RecipientState.HELD

    run(test)


def test_what_can_never_go_and_has_a_deadline_is_not_kept_from_its_sender() -> None:
    """RFC 2852: at that time it is returned (R), or its sender is told, and it is held (N)."""

    async def test(house: House) -> None:
        house.order(SATELLITE)
        for mode in "RN":
            by_ms = house.clock.link_ms() + 60_000
            to = f"{mode}@example.net"
            await house.send(to, size=48 * MIB, deliver_by_ms=by_ms, by_mode=mode)
        await house.settle_down()
        assert {state for state, _ in (await states(house)).values()} == {RecipientState.QUEUED}
        house.scheduler.admission.look_for_too_large()
        await house.pass_time(minutes=2)
        await house.until(lambda: sorted(kind for _, kind in house.log.reports) == ["delayed", "failed"])
        house.scheduler.admission.look_for_too_large()
        await house.until(lambda: any("held: cannot fit" in text for text in house.log.texts))
        await house.settle_down()
        found = await states(house)
        assert {name: state for name, (state, _) in found.items() if name in "RN"} == {
            "N": RecipientState.HELD
        }

    run(test)


def test_the_link_process_says_why_nothing_larger_fits() -> None:
    """Its words stand in the reason; without a rate, those of the sizes."""

    async def test(house: House) -> None:
        ever = "no window of satellite is longer than 20 minutes"
        house.order(replace(SATELLITE, ever_words=ever))
        await house.send("a@example.net", size=48 * MIB)
        await house.until(lambda: any(ever in text for text in house.log.texts))
        house.order(replace(SATELLITE, ever_words="satellite takes no more than 37 MiB"))
        await house.send("c@example.net", size=48 * MIB)
        await house.settle_down()
        how_long = "cannot fit: it has 48 MiB, and satellite takes no more than 37 MiB"
        assert (await states(house))["c"][1] == how_long, "its rate has nothing to do with it"
        house.order(replace(SATELLITE, rate=0, size_ever=MIB))
        await house.send("b@example.net", size=2 * MIB)
        await house.settle_down()
        assert (await states(house))["b"][
            1
        ] == "cannot fit: it has 2 MiB, and no link ever carries more than 1 MiB"

    run(test)


def test_a_next_hop_that_fails_between_costs_only_what_could_have_gone() -> None:
    """The host is down while only small mail goes: the large message has no attempt, nobody is told that
    it is late, and it is not given up, however long it lasts."""

    async def test(house: House) -> None:
        house.order(SMALL)
        large = await house.send("large@example.net", size=9 * MIB)
        house.smtp.outcome = lambda t, q: TemporaryFailure("connection timed out", NotNow.HOST)
        await house.send("small@example.net")
        for _ in range(30):
            await house.pass_time(days=1)
            await house.scheduler.lookout.sweep()
            await house.settle_down()
        assert large not in house.log.given_up and house.waiting()[0] == "large@example.net"
        assert {queue_id for queue_id, _ in house.log.reports} and large not in dict(house.log.reports)
        (entry,) = await house.spool.select(QueueFilter(ids=(large,)), 1)
        assert entry.attempts == 0
        house.order(FREE)
        await house.until(lambda: len(house.log.attempts) and house.log.attempts[-1][0] == large)
        await house.settle_down()
        assert large not in house.log.given_up, "its first attempt is not its last one"
        house.smtp.outcome = deliver
        await house.pass_time(hours=2)
        await house.until(lambda: "large" in sent(house))

    run(test)


def test_a_deadline_counts_between_exchanges_too() -> None:
    """Its sender wants it back when it is late, whatever keeps it: it goes back at that time, and one
    without a deadline stays."""

    async def test(house: House) -> None:
        house.order(CLOSED)
        by_ms = house.clock.link_ms() + 3_600_000
        late = await house.send(
            "late@example.net", sender="you@example.org", deliver_by_ms=by_ms, by_mode="R"
        )
        await house.send("other@example.net", sender="you@example.org")
        await house.pass_time(minutes=59)
        await house.scheduler.lookout.sweep()
        assert len(house.waiting()) == 2
        await house.pass_time(minutes=2)
        await house.until(lambda: house.log.reports)
        assert house.log.reports == [(late, "failed")]
        await house.until(lambda: house.waiting() == ["other@example.net"])
        (report,) = owed(house)
        assert "could not be delivered in time. It waits for the next exchange." in " ".join(
            text(report).split()
        )
        for _ in range(20):
            await house.pass_time(days=1)
            await house.scheduler.lookout.sweep()
        assert house.waiting() == ["other@example.net"]

    run(test)


def test_what_had_its_chances_is_not_given_up_while_it_is_kept() -> None:
    """Tried in ten link-up periods over a wide link, then for weeks only a narrow one is there: nobody is
    told or given up until it could go again."""

    async def test(house: House) -> None:
        house.order(SMALL)
        large = await house.send("large@example.net", sender="you@example.org", size=9 * MIB)
        tried = Deferral(0, house.clock.link_ms() + 60_000, 12, 11, 11, NotNow.MESSAGE, "450 later")
        await house.spool.settle(Settlement(large, (), (tried,)))
        for _ in range(20):
            await house.pass_time(days=1)
            await house.scheduler.lookout.sweep()
        assert not house.log.given_up and not house.log.reports
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 later")
        house.order(FREE)
        await house.until(lambda: house.log.given_up == [large])

    run(test)


def test_a_lost_address_ends_its_connections_alone() -> None:
    """A link went away with its address: what went from there is put back and goes another way."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        house.smtp.address = "192.0.2.7"
        await house.send("bob@example.net")
        await house.until(lambda: house.smtp.open_count == 1)
        await house.settle_down()
        assert house.scheduler.cut_from(["192.0.2.8", "2001:db8::7"]) == 0
        house.smtp.address = "fe80::7%ppp1"
        assert house.scheduler.cut_from(["192.0.2.7"]) == 1
        await house.until(lambda: house.smtp.cancelled_count == 1 and house.smtp.open_count == 1)
        await house.settle_down()
        assert house.scheduler.cut_from(["fe80::7"]) == 1
        house.smtp.gate.set()
        await house.until(lambda: not house.waiting())
        assert len(house.log.attempts) == 1

    run(test)


def test_what_is_wanted_follows_the_orders() -> None:
    """What fits nowhere is not wanted, whatever else the orders say."""
    house_orders = Orders(size_max=1 << 40, size_ever=10)

    async def test(house: House) -> None:
        house.order(house_orders)
        assert house.scheduler.admission.wanted == Wanted(0, 10, 10)

    run(test)
