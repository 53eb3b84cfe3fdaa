"""Figures over time: nothing twice, nothing lost, over restarts of workers, of the page and of the clock."""

import asyncio
import json
import time
from pathlib import Path
from typing import Final

import pytest

from cmail.admin import history
from cmail.admin.history import DAY_MINUTES, MINUTES_KEPT, Counts, History, Reading
from cmail.net.control import ControlError

NOON_MS: Final = int(time.mktime((2026, 3, 4, 12, 30, 20, 0, 0, -1))) * 1000
MINUTE_MS: Final = 60_000
START_MS: Final = NOON_MS - 1000


def numbers(accepted: int, delivered: int = 0, waiting: int = 0) -> dict[str, dict[str, int]]:
    """What a worker says."""
    return {
        "cmail_messages_accepted_total": {"": accepted},
        "cmail_recipients_delivered_total": {"smtp": delivered, "local": 0},
        "cmail_refusals_total": {"connect": 1, "rcpt": 2},
        "cmail_recipients_bounced_total": {"": 1},
        "cmail_recipients_expired_total": {"": 1},
        "cmail_queue_recipients": {"queued": waiting, "held": 0},
    }


class Office:
    """Workers that say what they are told to, and a clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ms = NOON_MS
        self.says: dict[str, Reading] = {}
        self.history = self.begin()

    def begin(self) -> History:
        async def look() -> dict[str, Reading]:
            if not self.says:
                raise ControlError("nobody is there")
            return self.says

        return History(str(self.path), look, lambda: self.now_ms)

    def look(self, minutes: float = 1, **workers: Reading) -> None:
        """Some time later they say this."""
        self.now_ms += int(minutes * MINUTE_MS)
        self.says.update(workers)
        asyncio.run(self.history.sample())

    def restart(self) -> None:
        """The page's process: it writes, ends, and reads."""
        asyncio.run(self.history.write())
        self.history = self.begin()
        self.history.load()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "admin" / "history.json")


def test_what_was_counted_since_the_last_look(office: Office) -> None:
    """Counters grow; a minute has the difference, of all workers together; all reasons are one sum."""
    office.look(a=Reading(START_MS, numbers(10, 4, 7)), b=Reading(START_MS, numbers(1)))
    assert office.history.last(1) == Counts(11, 4, 6, 4, 7)
    office.look(a=Reading(START_MS, numbers(15, 9, 2)))
    assert office.history.last(1) == Counts(5, 5, 0, 0, 2)
    assert office.history.today() == Counts(16, 9, 6, 4, 7)


def test_a_worker_that_was_restarted_counts_from_nothing(office: Office) -> None:
    """Its counters are smaller than before, or larger already: what it has is what is new."""
    office.look(a=Reading(START_MS, numbers(1000)), b=Reading(START_MS, numbers(1000)))
    office.look(a=Reading(office.now_ms, numbers(3)))
    assert office.history.last(1).accepted == 3
    office.look(a=Reading(office.now_ms, numbers(5)))
    assert office.history.last(1).accepted == 5


def test_a_worker_that_is_silent_loses_nothing(office: Office) -> None:
    """One look without it, or without all of them: the next one has what was counted meanwhile."""
    office.look(a=Reading(START_MS, numbers(10)))
    office.says.clear()
    office.look()
    office.look(a=Reading(START_MS, numbers(30)))
    assert office.history.today().accepted == 30


def test_restart_of_the_page(office: Office) -> None:
    """What was kept is there again; what workers counted while nobody looked is counted once."""
    office.look(a=Reading(START_MS, numbers(10)))
    office.restart()
    office.look(a=Reading(START_MS, numbers(12)))
    assert office.history.today().accepted == 12
    assert office.path.stat().st_mode & 0o777 == 0o600


def test_the_page_crashes(office: Office) -> None:
    """What was not written yet is counted again from the workers: the sum is right."""
    office.look(a=Reading(START_MS, numbers(10)))
    asyncio.run(office.history.write())
    office.look(a=Reading(START_MS, numbers(25)))
    office.history = office.begin()
    office.history.load()
    office.look(a=Reading(START_MS, numbers(30)))
    assert office.history.today().accepted == 30


@pytest.mark.parametrize("text", ["", "{", "[]", '{"minutes": [[1]], "seen": 3}', '{"minutes": [["x"]]}'])
def test_a_damaged_file(office: Office, text: str) -> None:
    """It is left, and counting begins anew; what old workers had counted long ago is not today's."""
    office.path.parent.mkdir()
    office.path.write_text(text)
    office.history.load()
    office.look(a=Reading(START_MS - 10 * MINUTE_MS, numbers(4000)))
    assert office.history.today().accepted == 0
    office.look(a=Reading(START_MS - 10 * MINUTE_MS, numbers(4001)))
    assert office.history.today().accepted == 1


def test_the_file_is_bounded(office: Office) -> None:
    """Three days of minutes: 48 hours are kept, in memory and on the disk."""
    for minute in range(3 * DAY_MINUTES):
        office.look(a=Reading(START_MS, numbers(minute)))
    asyncio.run(office.history.write())
    assert len(json.loads(office.path.read_bytes())["minutes"]) == MINUTES_KEPT
    assert office.path.stat().st_size < 200_000


def test_a_clock_that_was_wrong(office: Office) -> None:
    """Minutes that have not come yet are forgotten when the clock is set back."""
    office.look(a=Reading(START_MS, numbers(10)))
    office.look(60 * 24 * 365, a=Reading(START_MS, numbers(20)))
    office.look(-60 * 24 * 365, a=Reading(START_MS, numbers(21)))
    assert office.history.today().accepted == 11
    office.now_ms += 60 * 24 * 365 * MINUTE_MS
    assert office.history.today().accepted == 0


def test_yesterday_is_not_today(office: Office) -> None:
    """Today begins at midnight of this machine; the last 24 hours do not."""
    office.look(a=Reading(START_MS, numbers(10)))
    office.look(12 * 60, a=Reading(START_MS, numbers(14)))
    assert office.history.today().accepted == 4
    assert office.history.last(DAY_MINUTES).accepted == 14


def test_the_busiest_minute(office: Office) -> None:
    """Its messages and its time; none when nothing came."""
    assert office.history.peak() == (0, 0)
    for number in (3, 40, 41):
        office.look(a=Reading(START_MS, numbers(number)))
    most, when = office.history.peak()
    assert most == 37 and 0 < office.now_ms - when < 3 * MINUTE_MS


def test_hours_and_chart_have_gaps(office: Office) -> None:
    """Where nobody counted stands nothing, and not a zero."""
    office.look(a=Reading(START_MS, numbers(10, 3, 5)))
    hours = office.history.hours()
    assert len(hours) == 24 and hours[0][1] is not None and hours[0][1].accepted == 10
    assert hours[1][1] is None and hours[0][0] - hours[1][0] == 3_600_000
    chart = office.history.chart()
    assert len({len(line) for line in chart.values()}) == 1
    assert chart["in"][-1] == 10 and chart["waiting"][-1] == 5 and chart["in"][0] is None
    assert chart["time"][-1] is not None and abs(chart["time"][-1] * 1000 - office.now_ms) <= 5 * MINUTE_MS


def test_it_looks_and_writes_by_itself(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a task of the process: what is there is read, workers are looked at, and now and then it is kept."""
    office.look(a=Reading(START_MS, numbers(10)))
    office.restart()
    office.says["a"] = Reading(START_MS, numbers(25))
    monkeypatch.setattr(history, "LOOK_S", 0.0)
    monkeypatch.setattr(history, "WRITE_S", 0.0)

    async def live() -> None:
        task = asyncio.create_task(office.begin().run())
        async with asyncio.timeout(60):
            while json.loads(office.path.read_bytes())["minutes"][-1][1] != 25:  # noqa: ASYNC110  # a file
                await asyncio.sleep(0)
        task.cancel()

    asyncio.run(live())


def test_a_full_disk(office: Office, tmp_path: Path) -> None:
    """What cannot be written stays in memory, and is written later."""
    (tmp_path / "admin").write_text("in the way")
    office.look(a=Reading(START_MS, numbers(10)))
    asyncio.run(office.history.write())
    assert office.history.today().accepted == 10
    (tmp_path / "admin").unlink()
    office.restart()
    assert office.history.today().accepted == 10


def test_what_came_in_a_moment_ago_is_there(office: Office) -> None:
    """Who asks to see it now sees it, once: several who ask together, and again at once, count nothing twice; workers
    that do not answer are not waited for."""
    office.look(a=Reading(START_MS, numbers(10)))
    office.says["a"] = Reading(START_MS, numbers(13))
    office.history._looked_at = -history.FRESH_S

    async def several() -> None:
        await asyncio.gather(*(office.history.refresh() for _ in range(5)))

    asyncio.run(several())
    assert office.history.today().accepted == 13
    office.says["a"] = Reading(START_MS, numbers(14))
    asyncio.run(office.history.refresh())
    assert office.history.today().accepted == 13, "that was looked at just now"


def test_a_worker_that_hangs_does_not_hold_up_who_looks(tmp_path: Path) -> None:
    """What is known is shown."""

    async def look() -> dict[str, Reading]:
        await asyncio.sleep(3600)
        return {}

    figures = History(str(tmp_path / "history.json"), look)

    async def ask() -> None:
        async with asyncio.timeout(30):
            await figures.refresh()

    asyncio.run(ask())
    assert figures.today() == Counts()
