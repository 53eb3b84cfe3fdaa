"""Latest: who looks does not wait for an answer that takes its time."""

import asyncio

import pytest

from cmail.admin import latest as latest_module
from cmail.admin.latest import Latest
from cmail.net.control import ControlError


class Slow:
    """Answers 1, 2, 3, each when it is let."""

    def __init__(self) -> None:
        self.count = 0
        self.may = asyncio.Event()
        self.error: ControlError | None = None

    async def ask(self) -> int:
        self.count += 1
        number = self.count
        await self.may.wait()
        if self.error is not None:
            raise self.error
        return number


def test_a_quick_answer_is_new_each_time() -> None:
    """Nothing of before is shown while a new answer comes at once."""

    async def test() -> None:
        slow = Slow()
        slow.may.set()
        latest = Latest(slow.ask)
        for number in (1, 2):
            found = await latest.get()
            assert (found.value, found.is_new) == (number, True) and found.at_ms > 0

    asyncio.run(test())


def test_a_slow_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """First nothing is known, then what was known before; one question goes on, however many look. Where the last
    answer took long, a look is short."""
    monkeypatch.setattr(latest_module, "PATIENCE_S", 0.001)

    async def test() -> None:
        slow = Slow()
        latest = Latest(slow.ask)
        for _ in range(3):
            found = await latest.get()
            assert (found.value, found.is_new) == (None, False)
        assert slow.count == 1
        slow.may.set()
        await asyncio.sleep(0)
        slow.may.clear()
        for _ in range(3):
            assert (await latest.get()).value == 1
        assert slow.count <= 2
        monkeypatch.setattr(latest_module, "PATIENCE_S", 60)
        latest._took_s = 1.0
        async with asyncio.timeout(30):
            assert (await latest.get()).value == 1

    asyncio.run(test())


def test_what_goes_wrong_is_raised_to_who_waits() -> None:
    """A question that fails at once; one that fails later is asked anew by who looks then."""

    async def test() -> None:
        slow = Slow()
        slow.may.set()
        slow.error = ControlError("no")
        latest = Latest(slow.ask)
        for count in (1, 2):
            with pytest.raises(ControlError):
                await latest.get()
            assert slow.count == count
        slow.error = None
        assert (await latest.get()).value == 3

    asyncio.run(test())
