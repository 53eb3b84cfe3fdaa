"""Exchanging: what goes is paid for by the link and its window or exchange; a budget that is used ends all of it."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.app import config
from cmail.app.exchanging import POLL_NEAR_S, POLL_OPEN_S, Exchanging
from cmail.link.clock import LinkReading
from cmail.link.history import Entry, History
from cmail.link.links import Links
from cmail.link.state import Link
from cmail.policy.orders import Orders
from tests.support.clock import FakeClock
from tests.support.fake_kernel import FakeKernel
from tests.support.intake import ListLog

KIB: Final = 1024
PLAIN: Final = '[[link.via]]\nname = "sat"\ndevice = ["eth0"]\n'
VIA: Final = '[[link.via]]\nname = "sat"\ndevice = ["eth0"]\nwindow_budget = "100KiB"\n'
PLANNED: Final = VIA + '[exchange]\nevery = "1h"\n'
BATCH: Final = VIA + "[queue]\nbatch = true\n"
WINDOW: Final = VIA + 'window = ["00:00-23:59"]\n'
SPENT: Final = "the 100 KiB of this exchange are used"


class FakeWorkers:
    """One worker, with much that waits."""

    def __init__(self) -> None:
        self.gone = {"messages_out": 0, "octets_out": 0, "messages_in": 0, "octets_in": 0}
        self.count = 1

    async def ask(self, question: str, **_: Any) -> dict[str, dict[str, int]]:
        if question == "link.octets":
            return {"worker-0": dict(self.gone)}
        waits = {"messages": 9, "octets": 900_000, "admitted_messages": 9, "admitted_octets": 900_000}
        return {"worker-0": waits}

    async def begin_exchange(self) -> None:
        return None


class House:
    """The parts of a link process that this is about, on a link that is up."""

    def __init__(self, folder: Path, text: str) -> None:
        settings = config.load_text(text, is_machine_checked=False)
        self.path, self.clock, self.workers = folder / "link.json", FakeClock(), FakeWorkers()
        self.links = Links(settings.link)
        self.links.show(FakeKernel().whole("eth0").facts(""))
        log = self.log = ListLog()
        self.link = Link(str(self.path), self.clock, self.clock, log, self.links, self._announce)
        self.link.open()
        history = History(str(folder / "history.json"), log)
        self.exchanging = Exchanging(self.link, self.workers, history, self.clock)  # type: ignore[arg-type]
        self.told: list[
            tuple[bool, list[str]]
        ] = []  # workers: what orders say, and what the history says then
        self.rested: list[bool] = []
        self.exchanging.rested = self.rested.append
        self.exchanging.start(settings)

    async def _announce(self, reading: LinkReading, orders: Orders, is_again: bool) -> None:
        self.told.append((orders.is_exchange_open, [each.ended for each in self.exchanging.history.entries]))

    async def goes(self, octets: int) -> None:
        """So much goes; somebody looks."""
        self.workers.gone["octets_out"] += octets
        await self.exchanging.look()

    @property
    def used(self) -> int:
        return (
            self.links.all[0]
            .used(
                self.clock.wall_ms() / 1000, None, self.exchanging.exchanges.turn(self.clock.wall_ms() / 1000)
            )
            .in_turn
        )

    @property
    def lasted_s(self) -> float:
        """How long the exchange that goes on has lasted."""
        assert self.exchanging.entry is not None
        return (self.clock.wall_ms() - self.exchanging.entry.begin_ms) / 1000

    async def kept(self) -> Entry:
        """The last exchange, as another start would find it now."""
        await self.exchanging._saving.close()
        history = History(str(self.path.with_name("history.json")), self.log)
        history.open()
        return history.entries[-1]

    async def close(self) -> dict[str, Any]:
        """The server is stopped: what of the link is in the file."""
        await self.exchanging.close()
        await self.link.close()
        found: dict[str, Any] = json.loads(self.path.read_text())["links"]["sat"]
        return found


def test_a_plan(tmp_path: Path) -> None:
    """What is sent and what is collected counts; used, the exchange is over in words, who collects is told, and the
    orders are those of the next; none begins until its time."""

    async def scenario() -> None:
        house = House(tmp_path, PLANNED)
        await house.exchanging.look()
        assert house.exchanging.entry is not None and house.used == 0
        await house.goes(60 * KIB)
        house.exchanging.came(3, 30 * KIB)
        assert house.used == 90 * KIB
        await house.goes(0)
        assert house.link.orders.size_max < 13 * KIB and house.rested == []
        house.exchanging.came(1, 10 * KIB)
        await house.goes(0)
        assert house.exchanging.entry is None and house.exchanging.history.entries[-1].ended == SPENT
        assert house.rested == [True, False] and not house.link.reading.is_down
        assert house.link.orders.size_max == 100 * KIB and not house.link.orders.is_exchange_open
        assert house.told[-1] == (False, [SPENT]), "who hears that it is over finds out why"
        await house.goes(5 * KIB)
        assert house.exchanging.entry is None and house.used == 0
        await house.close()

    asyncio.run(scenario())


def test_batched_mail(tmp_path: Path) -> None:
    """What was let go does not go on; who collects rests until the next one begins."""

    async def scenario() -> None:
        house = House(tmp_path, BATCH)
        await house.exchanging.look()
        await house.exchanging.begin_by_hand()
        await house.goes(120 * KIB)
        assert house.exchanging.entry is None and house.exchanging.history.entries[-1].ended == SPENT
        assert house.link.orders.size_max < 0 and house.rested == [True] and not house.link.reading.is_down
        await house.goes(0)
        assert house.exchanging.entry is None and house.link.orders.size_max < 0
        house.clock.advance(1)
        await house.exchanging.begin_by_hand()
        assert house.link.orders.size_max == 100 * KIB and house.rested == [True, False]
        await house.close()

    asyncio.run(scenario())


def test_a_stop_forgets_nothing(tmp_path: Path) -> None:
    """What was counted a moment ago stands in the file, though nobody had to be told other orders for it."""

    async def scenario() -> None:
        house = House(tmp_path, WINDOW)
        await house.exchanging.look()
        await house.goes(KIB)
        await house.link.close()  # that is written
        await house.goes(KIB)
        assert (await house.close())["used_in_turn"] == 2 * KIB
        after = House(tmp_path, WINDOW)
        await after.exchanging.look()
        assert after.used == 2 * KIB

    asyncio.run(scenario())


def test_the_nearer_the_end_the_sooner(tmp_path: Path) -> None:
    """What goes fast is looked at soon again; what stands still is not."""

    async def scenario() -> None:
        house = House(tmp_path, PLANNED)
        await house.exchanging.look()
        assert house.exchanging._sleep_s() == POLL_OPEN_S
        await house.goes(99 * KIB)
        assert house.exchanging._sleep_s() == POLL_NEAR_S
        await house.goes(0)
        assert house.exchanging._sleep_s() == POLL_OPEN_S
        await house.close()

    asyncio.run(scenario())


def test_what_goes_before_we_have_looked(tmp_path: Path) -> None:
    """Mail that goes the moment the link is up stands in the history of that exchange, with its cost: workers do
    not wait for it to begin."""

    async def scenario() -> None:
        house = House(tmp_path, WINDOW + "cost = 2.0\n")
        cable = FakeKernel().whole("eth0")
        await house.exchanging.look()
        await house.goes(KIB)
        await house.link.look(cable.device("eth0", carrier=False).facts(""))
        await house.goes(0)
        assert house.exchanging.entry is None and house.link.reading.is_down
        await house.link.look(cable.device("eth0").facts(""))
        house.workers.gone["messages_out"] += 1
        await house.goes(64 * KIB)
        await house.exchanging.look()
        second, first = await house.exchanging.entries()
        assert (second["messages_out"], second["octets_out"], second["cost"]) == (1, 64 * KIB, 0.125)
        assert first["octets_out"] == KIB and first["cost"] == pytest.approx(2 / KIB)
        await house.close()

    asyncio.run(scenario())


def test_a_power_cut_in_a_long_exchange(tmp_path: Path) -> None:
    """A line that is always up is one exchange, of weeks: the file says each minute what went in it, and how long it
    has lasted. Where nothing goes it is written each five minutes."""

    async def scenario() -> None:
        house = House(tmp_path, PLAIN)
        await house.exchanging.look()
        await house.goes(64 * KIB)
        assert (await house.kept()).octets_out == 0
        for lasted_s, went, kept_s in ((60, 0, 60), (120, 0, 60), (180, KIB, 180), (480, 0, 480)):
            house.clock.advance(lasted_s - house.lasted_s)
            await house.goes(went)
            kept = await house.kept()
            assert (kept.end_ms - kept.begin_ms, kept.ended) == (kept_s * 1000, "the server was cut off")
            assert kept.octets_out == (65 * KIB if lasted_s > 120 else 64 * KIB)
        assert house.exchanging.entry is not None and not house.exchanging.entry.end_ms
        await house.close()

    asyncio.run(scenario())


def test_a_line_that_flaps_fast(tmp_path: Path) -> None:
    """Each link-up is an exchange of the history, which is written at its begin and its end: one after the other, and
    what is there last is all of them."""

    async def scenario() -> None:
        house = House(tmp_path, PLAIN)
        cable = FakeKernel().whole("eth0")
        await house.exchanging.look()
        for _ in range(20):
            for is_there in (False, True):
                await house.link.look(cable.device("eth0", carrier=is_there).facts(""))
                await house.exchanging.look()
        await house.close()
        kept = History(str(tmp_path / "history.json"), house.log)
        kept.open()
        assert kept.entries == house.exchanging.history.entries and len(kept.entries) == 21
        assert "warned" not in [name for name, _ in house.log.events]

    asyncio.run(scenario())
