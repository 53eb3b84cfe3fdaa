"""How long a worker believes what the link process said of the Internet."""

import asyncio
from collections.abc import Callable

import pytest

from cmail.app import worker_confirm
from cmail.app.worker_confirm import WorkerConfirm
from cmail.app.worker_reached import WorkerReached
from cmail.link.clock import LinkReading, LinkView
from tests.support.clock import FakeClock
from tests.support.link_process import LinkProcess, saying


def confirm(link: LinkProcess) -> tuple[WorkerConfirm, Callable[[bool], None]]:
    """With what makes the link go down and up."""
    view = LinkView(FakeClock())
    made = WorkerConfirm(link, view, WorkerReached(link, list, asyncio.Event()))

    def turn(is_down: bool) -> None:
        if is_down:
            made.link_is_down()
        view.changed(LinkReading(is_down=is_down))

    return made, turn


@pytest.mark.parametrize(
    ("says", "is_on_line", "asked_count"),
    [("yes", True, 1), ("unsure", True, 1), ("strange", True, 1), ("dns", True, 1), ("no", False, 3)],
)
def test_that_we_are_on_line_holds_for_a_moment(says: str, is_on_line: bool, asked_count: int) -> None:
    """Who asks meanwhile costs no probe. That we are not is asked each time: it may be over."""

    async def test() -> None:
        link = saying(says)
        made, _ = confirm(link)
        assert [await made.is_on_line() for _ in range(3)] == [is_on_line] * 3
        assert len(link.asked) == asked_count

    asyncio.run(test())


def test_it_is_asked_anew_after_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not again for as long as it is asked."""
    monkeypatch.setattr(worker_confirm, "BELIEVED_S", 0.0)

    async def test() -> None:
        link = saying("yes")
        made, _ = confirm(link)
        for _ in range(2):
            await made.is_on_line()
        assert len(link.asked) == 2

    asyncio.run(test())


def test_what_was_seen_before_a_link_down_holds_no_more() -> None:
    """While it is down nobody is asked; behind it somebody looks before mail goes by the DNS of perhaps a log-in
    page. Mail for an upstream server that was known before does not wait."""

    async def test() -> None:
        link = saying("yes")
        made, turn = confirm(link)
        assert await made.is_on_line() and not await made.must_wait("mx:a.example")
        turn(True)
        assert not await made.is_on_line() and await made.word_on("a.example") == "no"
        assert len(link.asked) == 1
        turn(False)
        assert not await made.must_wait("relay") and len(link.asked) == 1
        for _ in range(2):
            assert not await made.must_wait("mx:a.example") and len(link.asked) == 2

    asyncio.run(test())
