"""Link down and up, batch and flush: what may go now, and what waits without being counted."""

from cmail.mail.outcome import NotNow, TemporaryFailure
from cmail.queue.settings import QueueSettings
from cmail.storage.spool import Change, QueueFilter
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run

BATCH = QueueSettings(batch=True)


async def flush(house: House, *ids: int) -> None:
    changed = await house.spool.change(
        QueueFilter(ids=ids),  # type: ignore[arg-type]
        Change.FLUSH,
        house.scheduler.change_times(),
    )
    house.scheduler.changed(Change.FLUSH, changed.queue_ids)


def down(house: House) -> None:
    house.clock.link_down()
    house.scheduler.link_changed()


def up(house: House) -> None:
    house.clock.link_up()
    house.scheduler.link_changed()


def test_link_down_ends_what_needs_the_link_and_nothing_else() -> None:
    """Running connections are cut, nothing is counted; mail for people here goes on."""

    async def test(house: House) -> None:
        house.smtp.gate.clear()
        queue_id = await house.send("bob@example.net")
        await house.settle_down()
        down(house)
        await house.until(lambda: not house.smtp.open_count)
        assert house.smtp.cancelled_count == 1
        await house.send("you@example.org", "carl@example.net")
        await house.until(lambda: house.local.delivered)
        assert sorted(house.waiting()) == ["bob@example.net", "carl@example.net"]
        assert "off line" in await house.why(queue_id, 0)
        house.smtp.gate.set()
        await house.pass_time(days=30)
        assert house.smtp.connections_count == 1
        up(house)
        await house.until(lambda: not house.waiting())
        assert not house.log.given_up and not house.log.reports

    run(test)


def test_link_up_starts_also_what_was_put_off() -> None:
    """Who is on line for ten minutes a day cannot wait an hour: greylisted mail goes at link-up."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 greylisted")
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.smtp.outcome = deliver
        down(house)
        await house.pass_time(hours=20)
        up(house)
        await house.until(lambda: not house.waiting())

    run(test)


def test_link_up_that_was_never_called_down_starts_all_the_same() -> None:
    """A hook says `link up` after dialling, and nobody said `down` before: what rests starts at once."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("connection timed out", NotNow.HOST)
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.smtp.outcome = deliver
        house.scheduler.start_all()
        await house.until(lambda: not house.waiting())

    run(test)


def test_another_upstream_server_does_not_inherit_the_waits() -> None:
    """The old one was down or refused for now; what waits goes to the new one at once, what waits for
    others goes on waiting."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 greylisted")
        house.local.outcome = lambda t, q: TemporaryFailure("no space")
        await house.send("bob@example.net")
        await house.send("you@example.org")
        await house.until(lambda: len(house.log.attempts) == 2)
        await house.settle_down()
        house.smtp.outcome = house.local.outcome = deliver
        house.scheduler.upstream_changed()
        await house.until(lambda: "bob@example.net" not in house.waiting())
        await house.settle_down()
        assert house.waiting() == ["you@example.org"]

    run(test)


def test_a_smarthost_on_loopback_needs_no_link() -> None:
    """127.0.0.1 is never down."""

    async def test(house: House) -> None:
        down(house)
        await house.send("bob@example.net")
        await house.until(lambda: not house.waiting())

    run(test, host="127.0.0.1")


def test_batch_holds_mail_for_the_internet_until_a_flush() -> None:
    """Also for a smarthost on loopback; local mail goes at once; flush sends what is queued then."""

    async def test(house: House) -> None:
        queue_id = await house.send("bob@example.net", "you@example.org")
        await house.until(lambda: house.local.delivered)
        await house.scheduler.lookout.look_at_all()
        await house.pass_time(hours=1)
        assert house.waiting() == ["bob@example.net"]
        assert "flush" in await house.why(queue_id, 0)
        await flush(house)
        await house.until(lambda: not house.waiting())
        await house.send("carl@example.net")
        await house.settle_down()
        assert house.waiting() == ["carl@example.net"], "it came after the flush"

    run(test, settings=BATCH, host="127.0.0.1")


def test_batch_flushes_a_thousand_through_the_disk() -> None:
    """All that was queued is sent, each once."""

    async def test(house: House) -> None:
        ids = [await house.send("bob@example.net") for _ in range(1200)]
        await flush(house)
        await house.until(lambda: not house.waiting(), 100_000)
        assert sorted(queue_id for queue_id, _ in house.smtp.delivered) == ids

    run(test, settings=BATCH)


def test_one_message_can_be_flushed_alone() -> None:
    """A flush by name sends that one; what was tried once goes on by its back-off."""

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: TemporaryFailure("450 later")
        first = await house.send("bob@example.net")
        await house.send("carl@example.net")
        await flush(house, first)
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.smtp.outcome = deliver
        await house.pass_time(minutes=6)
        await house.until(lambda: house.waiting() == ["carl@example.net"])

    run(test, settings=BATCH)


def test_batch_stays_when_the_link_comes_up() -> None:
    """Link-up alone is no exchange: batched mail waits for its flush."""

    async def test(house: House) -> None:
        await house.send("bob@example.net")
        down(house)
        up(house)
        await house.settle_down()
        assert house.waiting() == ["bob@example.net"]

    run(test, settings=BATCH)


def test_batch_can_be_switched_off_and_on() -> None:
    """New settings hold what was not tried, or let go what was held."""

    async def test(house: House) -> None:
        await house.send("bob@example.net")
        await house.settle_down()
        house.scheduler.apply(QueueSettings(), house.router)
        await house.until(lambda: not house.waiting())
        house.scheduler.apply(BATCH, house.router)
        await house.send("carl@example.net")
        await house.settle_down()
        assert house.waiting() == ["carl@example.net"]

    run(test, settings=BATCH)
