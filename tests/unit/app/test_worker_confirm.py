"""How long a worker believes what the link process said of the Internet."""

import asyncio
from collections.abc import Callable

import pytest

from cmail.app.worker_confirm import BELIEVED_S, WorkerConfirm
from cmail.app.worker_reached import WorkerReached
from cmail.link.clock import LinkView
from cmail.net.control import Fields
from tests.support.clock import FakeClock
from tests.support.link_process import LinkProcess, saying


def confirm(link: LinkProcess) -> tuple[WorkerConfirm, Callable[[bool], None]]:
    """With what makes the link go down and up."""
    view = LinkView(FakeClock())
    made = WorkerConfirm(link, view, WorkerReached(link, list, asyncio.Event()))

    def turn(is_down: bool) -> None:
        if is_down:
            made.link_is_down()
        view.changed(view.reading.down(0) if is_down else view.reading.up(0))

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


def test_it_is_asked_anew_after_that_moment() -> None:
    """And not a moment before."""

    async def test() -> None:
        link, loop = saying("yes"), asyncio.get_running_loop()
        made, _ = confirm(link)
        begun = loop.time()
        for seconds, asked_count in ((0.0, 1), (0.9, 1), (1.0, 2), (1.9, 2), (2.0, 3)):
            now = begun + seconds * BELIEVED_S
            loop.time = lambda now=now: now  # type: ignore[method-assign, misc]
            assert await made.is_on_line() and len(link.asked) == asked_count

    asyncio.run(test())


def test_what_is_said_behind_a_cut_of_before_it() -> None:
    """The line was there when somebody looked; it was cut and came back, perhaps elsewhere, before that was said:
    it is asked anew."""

    async def test() -> None:
        def answer(_fields: Fields) -> Fields:
            if len(link.asked) == 1:
                turn(True)
                turn(False)
                return {"says": "yes"}
            return {"says": "no"}

        link = LinkProcess(answer)
        made, turn = confirm(link)
        assert await made.must_wait("mx:a.example") is False, "nobody has to look when we start"
        assert not await made.is_on_line() and len(link.asked) == 2
        assert await made.must_wait("mx:a.example")

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
