"""What a host refuses that has never taken mail may be said by a log-in page: it is believed when we are on line."""

import asyncio

import pytest

from cmail.mail.outcome import Delivered, NotNow, Outcome, PermanentFailure, TemporaryFailure
from cmail.storage.spool import QueueFilter
from tests.support.fake_agent import deliver
from tests.unit.queue.house import House, run

PAGE = "10.1.0.2[10.1.0.2]:25"
REFUSALS = (PermanentFailure("550 log in first", relay=PAGE), TemporaryFailure("451 not now", relay=PAGE))


async def entries(house: House) -> dict[str, int]:
    """Who waits, and how often each was tried."""
    found = await house.spool.select(QueueFilter(), 100)
    return {entry.forward_path: entry.attempts for entry in found}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_log_in_page_that_refuses_mail(refusal: Outcome) -> None:
    """We are off line: nothing is counted, nobody is told; at link-up it goes."""

    async def test(house: House) -> None:
        async def is_on_line() -> bool:
            await asyncio.sleep(0)
            return False

        house.scheduler.is_stranger = lambda relay: relay == PAGE
        house.scheduler.is_on_line = is_on_line
        house.smtp.outcome = lambda transaction, queued: refusal
        await house.send("bob@example.net", "eve@example.net")
        await house.until(lambda: house.scheduler.routes["relay"].rest_until)
        await house.settle_down()
        assert await entries(house) == {"bob@example.net": 0, "eve@example.net": 0}
        assert not (house.log.reports or house.log.attempts)
        house.smtp.outcome = deliver
        house.link(is_up=False)
        house.link(is_up=True)
        await house.until(lambda: not house.waiting())

    run(test)


@pytest.mark.parametrize(
    ("is_stranger", "count"), [(True, 1), (False, 0)], ids=["a stranger", "who has taken mail"]
)
def test_a_host_that_refuses_mail(is_stranger: bool, count: int) -> None:
    """We are on line: it is asked once for a stranger, and believed."""
    asked: list[None] = []

    async def test(house: House) -> None:
        async def is_on_line() -> bool:
            asked.append(None)
            return True

        house.scheduler.is_stranger = lambda relay: is_stranger
        house.scheduler.is_on_line = is_on_line
        house.smtp.outcome = lambda transaction, queued: REFUSALS[0]
        await house.send("bob@example.net")
        await house.until(lambda: house.log.reports)
        assert len(asked) == count

    run(test)


def test_who_takes_mail_for_one_is_believed_of_the_others() -> None:
    """In the same transaction, and later on the same connection."""

    async def test(house: House) -> None:
        async def is_on_line() -> bool:
            raise AssertionError("nobody needs to ask")

        def outcome(transaction: object, queued: object) -> Outcome:
            is_bob = "bob" in str(queued)
            return Delivered("sink", "250 ok") if is_bob else PermanentFailure("550 no", relay="sink")

        house.scheduler.is_stranger = lambda relay: True
        house.scheduler.is_on_line = is_on_line
        house.smtp.idle_s = 5.0
        house.smtp.outcome = outcome
        await house.send("bob@example.net", "eve@example.net")
        await house.until(lambda: len(house.log.reports) == 1)
        await house.send("eve@example.net")
        await house.until(lambda: len(house.log.reports) == 2)
        assert house.smtp.connections_count == 1
        assert NotNow.OFFLINE not in [getattr(each[2], "kind", None) for each in house.log.attempts]

    run(test)
