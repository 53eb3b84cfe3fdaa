"""Deadlines (RFC 2852) and releases (RFC 4865): what is returned, told, passed on; faked time."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from cmail.delivery.agent import HostTrouble
from cmail.mail.dsn import parse
from cmail.mail.envelope import Notify
from cmail.mail.outcome import Delivered, NotNow, PermanentFailure, TemporaryFailure
from cmail.storage.spool import Change, QueueFilter
from tests.unit.queue.house import House, run
from tests.unit.queue.test_reports import owed

LATER = TemporaryFailure("450 4.2.0 later", NotNow.MESSAGE)


def due_in(house: House, seconds: int, mode: str) -> dict[str, Any]:
    """The envelope of a message with a deadline."""
    return {"deliver_by_ms": house.clock.link_ms() + seconds * 1000, "by_mode": mode}


async def told(house: House) -> list[tuple[str, str]]:
    """Action and status of all reports to anna."""
    await house.until(lambda: not house.scheduler.recorder._recording)
    await house.settle_down()
    found = []
    for message in owed(house):
        report = parse(message.content.plain())
        found += [(each["action"], each["status"]) for each in report.recipients]
    return found


def test_late_mail_is_returned() -> None:
    """R: at its deadline, wherever it rests, failed with 5.4.7; and never tried again."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net", **due_in(house, 120, "R"))
        await house.until(lambda: house.log.attempts)
        await house.pass_time(119)
        assert house.waiting() == ["bob@example.net"]
        await house.pass_time(1)
        await house.until(lambda: house.log.given_up)
        assert await told(house) == [("failed", "5.4.7")]
        tried = house.smtp.attempts_count
        await house.pass_time(days=1)
        assert house.smtp.attempts_count == tried

    run(test)


def test_a_restart_forgets_no_deadline() -> None:
    """What came before it is returned at its time, to the second, and the one behind it at its own."""

    async def test() -> None:
        before = House()
        for seconds in (120, 130):
            await before.send("bob@example.net", **due_in(before, seconds, "R"))
        house = House(spool=before.spool.reopened(), clock=before.clock)
        house.smtp.outcome = lambda t, q: LATER
        house.scheduler.start()
        await house.until(lambda: len(house.log.attempts) == 2)
        for seconds, left in ((119, 2), (1, 1), (9, 1), (1, 0)):
            await house.pass_time(seconds)
            await house.until(lambda: not house.scheduler.recorder._recording)
            await house.settle_down()
            assert len(house.waiting()) == left
        await house.scheduler.stop(0.1)

    asyncio.run(test())


def test_a_deadline_that_comes_while_another_is_seen_to() -> None:
    """Milliseconds behind it: it does not wait for the slow look, a minute later."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net", **due_in(house, 120, "R"))
        second = due_in(house, 120, "R")
        second["deliver_by_ms"] += 5
        await house.send("carl@example.net", **second)
        await house.until(lambda: len(house.log.attempts) == 2)
        late = house.spool.late

        async def and_a_moment_passes(*arguments: Any) -> Any:
            found = await late(*arguments)
            if not found:  # the last question of the walk
                setattr(house.spool, "late", late)  # noqa: B010
                house.clock.advance(0.005)
                house.scheduler.lookout.look()
            return found

        setattr(house.spool, "late", and_a_moment_passes)  # noqa: B010
        await house.pass_time(120)
        await house.until(lambda: len(house.log.given_up) == 2)

    run(test)


def test_what_was_read_before_it_was_told_is_not_told_again() -> None:
    """Many are late within moments: what one look has read another has seen to meanwhile."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net", **due_in(house, 120, "N"))
        await house.until(lambda: house.log.attempts)
        late, old = house.spool.late, list[Any]()

        async def as_it_was(*arguments: Any) -> Any:
            found = await late(*arguments)
            if not old:
                old.extend(found)
                return [replace(each, recipients=[replace(q) for q in each.recipients]) for each in found]
            setattr(house.spool, "late", late)  # noqa: B010
            return old

        await house.pass_time(119)
        setattr(house.spool, "late", as_it_was)  # noqa: B010
        await house.pass_time(1)
        await house.until(lambda: house.log.reports)
        for _ in range(3):
            await house.scheduler.lookout.deadlines.run()
            await house.settle_down()
        assert await told(house) == [("delayed", "4.4.7")]

    run(test)


def test_late_mail_is_told_of_once() -> None:
    """N: a notice of the delay at its deadline, once, with the status that says why; and it goes on."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net", **due_in(house, 120, "N"))
        await house.until(lambda: house.log.attempts)
        await house.pass_time(119)
        assert await told(house) == []
        await house.pass_time(1)
        await house.until(lambda: house.log.reports)
        await house.pass_time(hours=30)
        await house.scheduler.lookout.sweep()
        assert await told(house) == [("delayed", "4.4.7")]
        house.smtp.outcome = lambda t, q: Delivered("sink", "250 ok")
        await house.pass_time(hours=2)
        await house.until(lambda: "bob@example.net" not in house.waiting())

    run(test)


def test_what_came_late_is_not_told_again() -> None:
    """N with no time left: who had it when it became late has said so."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net", **due_in(house, -5, "N"))
        await house.until(lambda: house.log.attempts)
        await house.pass_time(hours=3)
        await house.scheduler.lookout.deadlines.run()
        assert await told(house) == []

    run(test)


@pytest.mark.parametrize(("notify", "count"), [(Notify.NEVER, 0), (Notify.FAILURE, 1), (Notify.SUCCESS, 0)])
def test_nobody_is_told_who_does_not_want_it(notify: Notify, count: int) -> None:
    """RFC 3461 says who hears of a failure, with a deadline too."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net", notify=notify, **due_in(house, 60, "R"))
        await house.until(lambda: house.log.attempts)
        await house.pass_time(60)
        await house.until(lambda: house.log.given_up)
        assert len(await told(house)) == count

    run(test)


def test_off_line_nothing_becomes_late() -> None:
    """The time of a deadline is link-up time."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net", **due_in(house, 600, "R"))
        await house.until(lambda: house.log.attempts)
        house.clock.link_down()
        house.scheduler.link_changed()
        await house.pass_time(days=3)
        await house.scheduler.lookout.deadlines.run()
        house.clock.link_up()
        house.scheduler.link_changed()
        await house.pass_time(599)
        await house.scheduler.lookout.deadlines.run()
        assert house.waiting() == ["bob@example.net"]
        await house.pass_time(1)
        await house.until(lambda: house.log.given_up)

    run(test)


def test_what_waits_behind_a_dead_host_is_returned_in_time() -> None:
    """Also what is in memory and has not had its turn; what has more time stays."""

    async def test(house: House) -> None:
        house.smtp.ending = HostTrouble(TemporaryFailure("connection refused", NotNow.HOST))
        for n in range(5):
            await house.send(f"r{n}@example.net", **due_in(house, 30, "R"))
            await house.send(f"s{n}@example.net")
        await house.until(lambda: house.smtp.connections_count)
        await house.settle_down()
        await house.pass_time(30)
        await house.until(lambda: len(house.log.given_up) == 5)
        assert sorted(a for a in house.waiting() if a[0] in "rs") == [f"s{n}@example.net" for n in range(5)]

    run(test)


def test_what_is_late_is_not_sent() -> None:
    """The last look is before it goes out: a deadline that nobody saw pass."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        await house.send("first@example.net")
        house.clock.advance(100)
        await house.send("late@example.net", deliver_by_ms=house.clock.link_ms() - 1, by_mode="R")
        house.smtp.gate.set()
        await house.until(lambda: ("late@example.net",) in {a[1:2] for a in house.log.attempts})
        assert [to for _, to in house.smtp.delivered if to == "late@example.net"] == []
        outcome = next(o for _, to, o in house.log.attempts if to == "late@example.net")
        assert isinstance(outcome, PermanentFailure) and str(outcome.status) == "5.4.7"

    run(test)


def test_what_becomes_late_while_it_is_sent_is_returned_at_the_end() -> None:
    """An attempt that is under way ends first; it is the last."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        house.smtp.gate.clear()
        await house.send("bob@example.net", **due_in(house, 60, "R"))
        await house.until(lambda: house.smtp.open_count)
        await house.settle_down()
        await house.pass_time(60)
        assert house.waiting() == ["bob@example.net"] and not house.log.given_up
        house.smtp.gate.set()
        await house.until(lambda: house.log.given_up)
        assert house.smtp.attempts_count == 1

    run(test)


def test_what_waits_in_memory_for_its_turn_is_returned_in_time() -> None:
    """Behind a message that takes long, on the one connection that there may be."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        await house.send("first@example.net")
        await house.until(lambda: house.smtp.open_count)
        await house.settle_down()
        await house.send("late@example.net", **due_in(house, 60, "R"))
        await house.send("last@example.net")
        await house.pass_time(60)
        await house.until(lambda: house.log.given_up)
        house.smtp.gate.set()
        await house.until(lambda: len(house.smtp.delivered) == 2)
        assert [to for _, to in house.smtp.delivered] == ["first@example.net", "last@example.net"]

    run(test, connections=1)


def test_what_is_left_of_its_time_goes_with_it() -> None:
    """Whole seconds, counted when it is taken; nothing where there is no deadline."""
    seen: dict[str, int | None] = {}

    async def test(house: House) -> None:
        def outcome(transaction: Any, queued: Any) -> Any:
            seen[queued.recipient.forward_path.text] = transaction.by_s
            return Delivered("sink", "250 ok")

        house.smtp.outcome = outcome
        await house.send("bob@example.net", **due_in(house, 90, "NT"))
        await house.send("late@example.net", **due_in(house, -90, "N"))
        await house.send("cleo@example.net")
        await house.until(lambda: len(seen) == 3)

    run(test)
    assert seen == {"bob@example.net": 90, "late@example.net": -90, "cleo@example.net": None}


def test_off_line_adds_nothing_to_a_deadline() -> None:
    """While its sender holds the message: what goes along is no more than he said, from its release."""
    seen: dict[str, int | None] = {}

    async def test(house: House) -> None:
        def outcome(transaction: Any, queued: Any) -> Any:
            seen[queued.recipient.forward_path.text] = transaction.by_s
            return Delivered("sink", "250 ok")

        house.smtp.outcome = outcome
        until_ms = house.clock.wall_ms() + 60_000
        await house.send("held@example.net", hold_until_ms=until_ms, **due_in(house, 60 + 90, "R"))
        house.link(is_up=False)
        await house.send("bob@example.net", **due_in(house, 60, "R"))
        house.clock.advance(120)
        house.link(is_up=True)
        await house.until(lambda: len(seen) == 2)

    run(test)
    assert seen == {"bob@example.net": 60, "held@example.net": 90}


def test_a_moment_is_no_second() -> None:
    """A deadline of the least that the next host takes gets there: what has gone of it is counted in whole
    seconds."""
    seen: list[int | None] = []

    async def test(house: House) -> None:
        def outcome(transaction: Any, queued: Any) -> Any:
            seen.append(transaction.by_s)
            return Delivered("sink", "250 ok")

        house.smtp.outcome = outcome
        house.smtp.gate.clear()
        await house.send("first@example.net")
        await house.until(lambda: house.smtp.open_count)
        await house.settle_down()
        await house.send("bob@example.net", **due_in(house, 60, "R"))
        await house.pass_time(0.3)
        house.smtp.gate.set()
        await house.until(lambda: len(seen) == 2)

    run(test, connections=1)
    assert seen == [None, 60]


@pytest.mark.parametrize(
    ("mode", "outcome", "notify", "actions"),
    [
        ("NT", Delivered("sink", "250 ok"), Notify.UNSPECIFIED, ["relayed"]),
        ("RT", Delivered("sink", "250 ok"), Notify.FAILURE, ["relayed"]),
        ("NT", Delivered("sink", "250 ok", is_by_passed_on=True), Notify.UNSPECIFIED, ["relayed"]),
        ("RT", Delivered("sink", "250 ok", is_by_passed_on=True), Notify.DELAY, ["relayed"]),
        ("RT", Delivered("sink", "250 ok", is_by_passed_on=True), Notify.NEVER, []),
        ("NT", Delivered("here", "250 ok", is_local=True), Notify.UNSPECIFIED, []),
        ("NT", Delivered("sink", "250 ok"), Notify.NEVER, []),
        ("N", Delivered("sink", "250 ok"), Notify.UNSPECIFIED, ["relayed"]),
        ("N", Delivered("sink", "250 ok"), Notify.FAILURE, ["relayed"]),
        ("N", Delivered("sink", "250 ok"), Notify.NEVER, []),
        ("N", Delivered("sink", "250 ok", is_by_passed_on=True), Notify.UNSPECIFIED, []),
        ("N", Delivered("here", "250 ok", is_local=True), Notify.UNSPECIFIED, []),
        ("N", Delivered("sink", "250 ok"), Notify.SUCCESS, ["relayed"]),
    ],
)
def test_who_is_told_where_a_deadline_went(
    mode: str, outcome: Delivered, notify: Notify, actions: list[str]
) -> None:
    """RFC 2852 §4.1.4: 'relayed' for each hop of a trace, and, with N, where the next one knows of no deadlines."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: outcome
        await house.send("bob@example.net", notify=notify, **due_in(house, 90, mode))
        await house.until(lambda: house.smtp.delivered)
        assert [action for action, _ in await told(house)] == actions

    run(test)


def test_a_report_is_as_urgent_as_its_message_and_knows_the_deadline() -> None:
    """RFC 6710, RFC 2852, RFC 4865."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: PermanentFailure("550 5.1.1 nobody")
        wall = house.clock.wall_ms()
        await house.send("bob@example.net", priority=5, hold_until_ms=wall + 60_000, **due_in(house, 90, "R"))
        await house.pass_time(60)
        await house.until(lambda: house.log.reports)
        await told(house)
        (report,) = owed(house)
        fields = parse(report.content.plain()).message
        assert report.envelope.priority == 5
        assert "deliver-by-date" in fields
        assert fields["future-release-request"].startswith("until; 2027-01-15T08:01:00Z")

    run(test)


def test_age_begins_with_the_release() -> None:
    """Mail held for its sender for a month is not given up at its first failure."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net", hold_until_ms=house.clock.wall_ms() + 30 * 86_400_000)
        await house.pass_time(days=30)
        await house.until(lambda: house.log.attempts)
        await house.pass_time(days=4)
        await house.scheduler.lookout.sweep()
        assert "bob@example.net" in house.waiting()
        await house.pass_time(days=1)
        await house.scheduler.lookout.sweep()
        await house.until(lambda: house.log.given_up)

    run(test)


def test_what_becomes_due_while_nobody_looks_is_not_missed() -> None:
    """A due time between the end of a read and the question when the next is due."""

    async def test(house: House) -> None:
        await house.send("you@example.org", hold_until_ms=house.clock.wall_ms() + 1000)
        await house.settle_down()
        due: Any = house.spool.due

        def and_a_moment_passes(*question: Any) -> Any:
            found = due(*question)
            house.clock.advance(0.002)
            return found

        house.clock.advance(1)
        house.clock.set_wall_ms(house.clock.wall_ms() - 1)  # the timer was early, by the wall clock
        setattr(house.spool, "due", and_a_moment_passes)  # noqa: B010
        house.scheduler.lookout.look()
        await house.until(lambda: house.local.delivered)

    run(test)


def test_a_release_is_wall_time_whatever_the_clock_of_the_route() -> None:
    """The wall clock was set back a little: due by link-up time it still waits, and then goes."""

    async def test(house: House) -> None:
        await house.send("bob@example.net", hold_until_ms=house.clock.wall_ms() + 60_000)
        await house.settle_down()
        house.clock.set_wall_ms(house.clock.wall_ms() - 10_000)
        await house.pass_time(60)
        assert not house.smtp.delivered
        await house.pass_time(10)
        await house.until(lambda: house.smtp.delivered)

    run(test)


def test_the_queue_says_whose_wish_it_is() -> None:
    """`queue why` names the sender's time; a release sends it, a flush does not."""

    async def test(house: House) -> None:
        queue_id = await house.send("bob@example.net", hold_until_ms=house.clock.wall_ms() + 7_200_000)
        await house.settle_down()
        words = await house.why(queue_id, 0)
        assert "It goes in 2 h: its sender wants it sent on " in words
        assert "ried" not in words

        async def change(kind: Change) -> None:
            changed = await house.spool.change(QueueFilter(), kind, house.scheduler.change_times())
            house.scheduler.changed(kind, changed.queue_ids)
            await house.settle_down()

        await change(Change.FLUSH)
        assert not house.smtp.delivered
        await change(Change.RELEASE)
        await house.until(lambda: house.smtp.delivered)

    run(test)
