"""Alone: what an operator names goes though no exchange is open; the others wait, in their order."""

from dataclasses import replace

from cmail.delivery.agent import Transaction
from cmail.mail.outcome import NotNow, Outcome, TemporaryFailure
from cmail.policy.orders import FREE, NOTHING, Orders
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import Change, QueuedRecipient, QueueFilter, RecipientState
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run

MIB = 1 << 20
CLOSED = Orders(is_exchange_open=False)


def sent(house: House) -> list[str]:
    return [to.partition("@")[0] for _, to in house.smtp.delivered]


async def flush(house: House, *ids: int) -> tuple[int, int]:
    """As `cmail queue flush ID` does it in a worker: (messages that go alone, recipients that may not)."""
    what = QueueFilter(ids=ids, states=(RecipientState.QUEUED,))  # type: ignore[arg-type]
    changed = await house.spool.change(what, Change.FLUSH, house.scheduler.change_times())
    house.scheduler.changed(Change.FLUSH, changed.queue_ids)
    found = await house.scheduler.alone.let_go(changed.queue_ids)
    await house.settle_down()
    return found.messages, found.kept


def test_what_is_named_goes_alone() -> None:
    """One of three goes while no exchange is open; those before and behind it, and what comes after, wait
    untouched for the exchange, and go in it."""

    async def test(house: House) -> None:
        house.order(CLOSED)
        await house.send("first@example.net")
        named = await house.send("named@example.net")
        last = await house.send("last@example.net")
        assert await flush(house, named) == (1, 0)
        await house.until(lambda: sent(house) == ["named"])
        await house.send("later@example.net")
        await house.settle_down()
        assert sent(house) == ["named"] and len(house.waiting()) == 3
        assert "It waits for the next exchange." in await house.why(last, 0)
        assert not house.scheduler.active and not house.scheduler.octets
        house.order(FREE)
        await house.until(lambda: not house.waiting())
        assert sorted(sent(house)[1:]) == ["first", "last", "later"]

    run(test)


def test_a_message_to_many_goes_whole() -> None:
    """More recipients than a transaction has: all of them go, and two messages that are named at once."""

    async def test(house: House) -> None:
        house.order(CLOSED)
        many = await house.send(*(f"r{n}@example.net" for n in range(250)))
        one = await house.send("one@example.net")
        await house.send("waits@example.net")
        assert await flush(house, many, one) == (2, 0)
        await house.until(lambda: len(sent(house)) == 251)
        await house.settle_down()
        assert house.waiting() == ["waits@example.net"]

    run(test)


def test_urgent_mail_that_comes_while_one_goes_alone_is_told_of() -> None:
    """It begins an exchange, unless it is larger than what may go in one."""

    async def test(house: House) -> None:
        told: list[None] = []
        house.scheduler.urgent_waits = lambda: told.append(None)
        house.order(replace(CLOSED, urgent_size_max=MIB))
        named = await house.send("named@example.net")
        house.smtp.gate.clear()
        assert await flush(house, named) == (1, 0)
        await house.send("large@example.net", priority=1, size=2 * MIB)
        await house.send("ordinary@example.net")
        await house.settle_down()
        assert not told
        await house.send("urgent@example.net", priority=1)
        await house.settle_down()
        assert len(told) == 1
        house.smtp.gate.set()
        await house.until(lambda: sent(house) == ["named"])

    run(test)


def test_what_comes_while_it_is_sent_waits() -> None:
    """The gate is open for what is named alone: fresh mail does not slip through beside it."""

    async def test(house: House) -> None:
        house.order(CLOSED)
        named = await house.send("named@example.net")
        house.smtp.gate.clear()
        await flush(house, named)
        await house.until(lambda: house.smtp.open_count)
        await house.send("meanwhile@example.net")
        await house.send("urgent@example.net", priority=3)
        await house.settle_down()
        house.smtp.gate.set()
        await house.until(lambda: sent(house) == ["named"])
        await house.settle_down()
        assert len(house.waiting()) == 2 and len(sent(house)) == 1

    run(test)


def test_it_is_over_only_when_all_of_it_is() -> None:
    """The first hundred recipients are recorded before the next connection takes any: those go all the same."""

    async def test(house: House) -> None:
        house.order(CLOSED)
        many = await house.send(*(f"r{n}@example.net" for n in range(250)))

        def once(transaction: Transaction, queued: QueuedRecipient) -> Outcome:
            house.smtp.gate.clear()
            return deliver(transaction, queued)

        house.smtp.outcome = once
        await flush(house, many)
        for count in (100, 200, 250):
            await house.until(lambda count=count: len(sent(house)) == count)  # type: ignore[misc]
            await house.until(lambda: not house.scheduler.recorder._recording)
            house.smtp.gate.set()
        await house.until(lambda: not house.waiting())

    run(test, connections=1)


def test_a_refusal_for_now_ends_it() -> None:
    """It is tried once: refused for now it waits for the exchange, as the others do, though its time comes
    before that; named again it is tried again."""

    async def test(house: House) -> None:
        house.order(CLOSED)
        named = await house.send("named@example.net")
        house.smtp.outcome = lambda transaction, position: TemporaryFailure("greylisted", NotNow.MESSAGE)
        await flush(house, named)
        await house.until(lambda: house.log.attempts)
        await house.pass_time(hours=2)
        assert len(house.log.attempts) == 1
        house.smtp.outcome = deliver
        await flush(house, named)
        await house.until(lambda: sent(house) == ["named"])

    run(test)


def test_off_line_it_goes_at_link_up() -> None:
    """Named while the link is down: it goes when the link is up, before any exchange; the others do not."""

    async def test(house: House) -> None:
        house.order(CLOSED)
        named = await house.send("named@example.net")
        await house.send("waits@example.net")
        house.order(replace(CLOSED, size_max=NOTHING, urgent_size_max=NOTHING))  # as they are off line
        house.link(is_up=False)
        assert await flush(house, named) == (1, 0)
        await house.settle_down()
        assert not sent(house)
        house.clock.set_orders(CLOSED)
        house.link(is_up=True)
        await house.until(lambda: sent(house) == ["named"])
        await house.settle_down()
        assert house.waiting() == ["waits@example.net"]

    run(test)


def test_the_policy_of_the_link_holds_for_it_too() -> None:
    """Too large for the link that is up: it is said to be kept, and not tried."""

    async def test(house: House) -> None:
        house.order(replace(CLOSED, size_max=MIB))
        large = await house.send("large@example.net", size=9 * MIB)
        small = await house.send("small@example.net")
        assert await flush(house, large, small) == (1, 1)
        await house.until(lambda: sent(house) == ["small"])
        house.order(replace(CLOSED, size_max=NOTHING, urgent_size_max=NOTHING))
        assert await flush(house, large) == (0, 1)
        assert not house.scheduler.active

    run(test)


def test_what_is_held_or_gone_meanwhile_is_left_out() -> None:
    """Named off line, then put on hold: link-up tries neither it nor anything else."""

    async def test(house: House) -> None:
        house.order(CLOSED)
        named = await house.send("named@example.net")
        await house.send("waits@example.net")
        house.link(is_up=False)
        await flush(house, named)
        what = QueueFilter(ids=(named,), states=(RecipientState.QUEUED,))
        changed = await house.spool.change(what, Change.HOLD, house.scheduler.change_times())
        house.scheduler.changed(Change.HOLD, changed.queue_ids)
        house.link(is_up=True)
        await house.settle_down()
        assert not sent(house) and not house.scheduler.active
        await house.send("later@example.net")
        await house.settle_down()
        assert not sent(house)
        assert not any(route.is_open for route in house.scheduler.routes.values())

    run(test)


def test_mail_for_people_here_and_batches_ask_nobody() -> None:
    """queue.batch alone: what is named goes by itself, without any of this."""

    async def test(house: House) -> None:
        named = await house.send("named@example.net")
        await house.send("waits@example.net")
        await house.settle_down()
        assert not sent(house)
        await flush(house, named)
        await house.until(lambda: sent(house) == ["named"])
        await house.settle_down()
        assert house.waiting() == ["waits@example.net"]

    run(test, settings=QueueSettings(batch=True))


def test_what_comes_while_a_batch_goes() -> None:
    """While an exchange is open what is batched goes as it comes, urgent mail first; after it, it waits
    again, and what was on its way is not lost."""

    async def test(house: House) -> None:
        await house.send("before@example.net")
        house.order(Orders(is_batch_open=True))
        house.scheduler.exchange()
        await house.until(lambda: sent(house) == ["before"])
        house.smtp.gate.clear()
        for n in range(3):
            await house.send(f"during{n}@example.net")
        await house.send("urgent@example.net", priority=3)
        await house.until(lambda: house.smtp.open_count)
        house.smtp.gate.set()
        await house.until(lambda: len(sent(house)) == 5)
        assert sent(house).index("urgent") < sent(house).index("during2")
        house.order(FREE)
        after = await house.send("after@example.net")
        await house.settle_down()
        assert house.waiting() == ["after@example.net"]
        assert "queue.batch" in await house.why(after, 0)

    run(test, settings=QueueSettings(batch=True), connections=1)
