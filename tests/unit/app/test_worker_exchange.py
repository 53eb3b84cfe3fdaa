"""What a worker says when mail should go now."""

import asyncio

from cmail.app.worker_exchange import WorkerExchange
from cmail.net.control import ControlError, Fields
from tests.support.link_process import LinkProcess


def test_urgent_mail_is_told_at_once_and_not_each_of_it() -> None:
    """The first goes at once, what comes with it or soon behind is one word more."""
    is_told_again = asyncio.Event()

    def answer(_fields: Fields) -> Fields:
        if len(link.asked) == 2:
            is_told_again.set()
        return {}

    link = LinkProcess(answer)

    async def test() -> None:
        made = WorkerExchange(link)
        telling = asyncio.create_task(made.run())
        made.urgent_waits()
        await asyncio.sleep(0.01)
        assert link.asked == [("link.wants", {"urgent": 1})]
        for _ in range(50):
            made.urgent_waits()
        await asyncio.sleep(0.01)
        assert len(link.asked) == 1
        await is_told_again.wait()
        assert link.asked[1] == ("link.wants", {"urgent": 50})
        telling.cancel()

    asyncio.run(test())


def test_why_no_exchange_can_begin() -> None:
    """In the words of the link process."""

    def refused(_fields: Fields) -> Fields:
        raise ControlError("the link is down")

    assert asyncio.run(WorkerExchange(LinkProcess(lambda _: {})).begin()) == ""
    assert asyncio.run(WorkerExchange(LinkProcess(refused)).begin()) == "the link is down"
