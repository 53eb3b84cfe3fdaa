"""The owner of the link's state: durable before it is told when people say it; the same after a crash."""

import asyncio
import json
from pathlib import Path

import pytest

from cmail.link.clock import LinkReading
from cmail.link.judging import Hand
from cmail.link.links import Links, UnknownLinkError
from cmail.link.lived import LivedClock
from cmail.link.settings import LinkSettings, ViaSettings
from cmail.link.state import Link, read_state
from cmail.policy.orders import Orders
from tests.support.clock import FakeClock
from tests.support.fake_kernel import FakeKernel

Told = list[tuple[LinkReading, Orders, bool]]
LINE = LinkSettings()
VIAS = LinkSettings(via=(ViaSettings("fibre", ("eth0",)), ViaSettings("sat", ("wwan0",), use="small")))


class Log:
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.noted = self.warned = self.failed = self.lines.append


def link(path: Path, clock: FakeClock, told: Told, settings: LinkSettings = LINE) -> tuple[Link, Log]:
    log = Log()

    async def announce(reading: LinkReading, orders: Orders, is_said_again: bool) -> None:
        told.append((reading, orders, is_said_again))

    made = Link(str(path / "link.json"), clock, clock, log, Links(settings), announce)
    made.open()
    return made, log


def test_a_crash_while_down_is_still_down(tmp_path: Path) -> None:
    """Down by hand, crash, restart a day later, up: the day does not count."""

    async def test() -> None:
        clock = FakeClock()
        told: Told = []
        before, _ = link(tmp_path, clock, told)
        started_ms = clock.wall_ms()
        await before.say("", Hand.DOWN)
        clock.advance(86_400)
        after, _ = link(tmp_path, clock, told)
        await after.look(FakeKernel().whole("eth0").facts())
        assert after.reading.is_down
        await after.say("", Hand.UP)
        assert after.reading.link_ms(clock.wall_ms()) == started_ms
        assert [reading.is_down for reading, *_ in told] == [True, False]
        assert after.reading.periods == 2

    asyncio.run(test())


def test_what_people_say_is_durable_before_it_is_told(tmp_path: Path) -> None:
    """The file has the very reading that the workers hear."""

    async def test() -> None:
        log = Log()

        async def announce(reading: LinkReading, orders: Orders, is_said_again: bool) -> None:
            assert read_state(str(tmp_path / "link.json"), log) == (reading, orders)
            heard.append(reading.is_down)

        heard: list[bool] = []
        clock = FakeClock()
        made = Link(str(tmp_path / "link.json"), clock, clock, log, Links(LinkSettings()), announce)
        await made.say("", Hand.DOWN)
        await made.say("", Hand.UP)
        assert heard == [True, False]

    asyncio.run(test())


def test_what_the_kernel_shows_is_told_and_kept(tmp_path: Path) -> None:
    """Carrier gone, carrier back: the workers hear at once, the file follows, people read why."""

    async def test() -> None:
        told: Told = []
        made, log = link(tmp_path, FakeClock(), told)
        turns: list[bool] = []
        made.turned.append(turns.append)
        kernel = FakeKernel().whole("eth0")
        await made.look(kernel.facts())
        assert not told, "it was up, and is"
        await made.look(kernel.device("eth0", carrier=False).facts())
        await made.look(kernel.device("eth0", carrier=False).facts())
        await made.look(kernel.device("eth0").facts())
        await made.close()
        assert [reading.is_down for reading, *_ in told] == [True, False] == turns
        assert told[-1][0] == read_state(str(tmp_path / "link.json"), log)[0]
        assert log.lines == ["the link is down: eth0 has no carrier", "the link is up"]

    asyncio.run(test())


def test_orders_are_told_without_a_turn(tmp_path: Path) -> None:
    """From fibre to satellite: it is up all the time, and less may go; who reads the log sees it."""

    async def test() -> None:
        told: Told = []
        made, log = link(tmp_path, FakeClock(), told, VIAS)
        kernel = FakeKernel().whole("wwan0", "198.51.100.7").whole("eth0")
        await made.look(kernel.facts())
        kernel.device("eth0", carrier=False).way = "wwan0"
        await made.look(kernel.facts())
        (reading, orders, _) = told[-1]
        assert not reading.is_down and reading.periods == 1 and orders.size_max == 100 * 1024
        assert "link fibre is down: eth0 has no carrier" in log.lines
        made.is_exchange_open = False
        await made.look()
        assert told[-1][1].is_exchange_open is False
        await made.close()
        assert read_state(str(tmp_path / "link.json"), log) == (reading, made.orders)

    asyncio.run(test())


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b"null", b'{"is_down": 3}', b"\xff\xfe"])
def test_a_file_that_makes_no_sense_is_said_and_mail_moves(tmp_path: Path, octets: bytes) -> None:
    """Not fatal: the link counts as up."""
    (tmp_path / "link.json").write_bytes(octets)
    made, log = link(tmp_path, FakeClock(), [])
    assert not made.reading.is_down
    assert len(log.lines) == 1 and "link.json" in log.lines[0]


def test_the_file_of_before_is_read(tmp_path: Path) -> None:
    """It had a reading alone; a server of before reads ours too."""
    before = LinkReading().down(5000)
    (tmp_path / "link.json").write_text(json.dumps(before.fields()))
    made, _ = link(tmp_path, FakeClock(), [], VIAS)
    assert made.reading == before

    async def test() -> None:
        await made.say("", Hand.UP)
        fields = json.loads((tmp_path / "link.json").read_text())
        assert before.fields().keys() <= fields.keys()

    asyncio.run(test())


def test_what_cannot_be_recorded_is_not_told(tmp_path: Path) -> None:
    """A disk that refuses: the state stays as it was, and who asked hears of it."""

    async def test() -> None:
        told: Told = []
        made, _ = link(tmp_path / "gone", FakeClock(), told, VIAS)
        with pytest.raises(OSError):
            await made.say("sat", Hand.DOWN)
        await made.look()
        assert not made.reading.is_down and not told
        assert made.links.find("sat").hand is Hand.NOTHING

    asyncio.run(test())


def test_a_full_disk_does_not_hold_up_what_the_kernel_shows(tmp_path: Path) -> None:
    """It is told; that it could not be kept is said."""

    async def test() -> None:
        told: Told = []
        made, log = link(tmp_path / "gone", FakeClock(), told)
        kernel = FakeKernel().whole("eth0")
        await made.look(kernel.facts())
        await made.look(kernel.no_route().facts())
        await made.close()
        assert told[-1][0].is_down
        assert any("cannot be written" in line for line in log.lines)

    asyncio.run(test())


def test_what_is_said_while_the_file_is_being_written(tmp_path: Path) -> None:
    """The kernel and people at once, over and over: nobody's writing fails, and the file has the last word."""

    async def test() -> None:
        made, log = link(tmp_path, FakeClock(), [])
        kernel = FakeKernel().whole("eth0")
        for n in range(20):
            await made.look(kernel.device("eth0", carrier=bool(n % 2)).facts())
            await made.say("", Hand.UP if n % 3 else Hand.DOWN)
        await made.close()
        assert read_state(str(tmp_path / "link.json"), log) == (made.reading, made.orders)
        assert not any("cannot be written" in line for line in log.lines)

    asyncio.run(test())


def test_up_again_is_told_again(tmp_path: Path) -> None:
    """`link up` when it counts as up: it is told to all once more, the clock and the period go on."""

    async def test() -> None:
        told: Told = []
        made, _ = link(tmp_path, FakeClock(), told)
        before = made.reading
        await made.say("", Hand.UP)
        assert told == [(before, made.orders, True)] and made.reading == before

    asyncio.run(test())


def test_a_name_that_nobody_has_changes_nothing(tmp_path: Path) -> None:
    """It is refused before anything is written."""

    async def test() -> None:
        made, _ = link(tmp_path, FakeClock(), [], VIAS)
        with pytest.raises(UnknownLinkError):
            await made.say("nonsense", Hand.DOWN)
        assert not (tmp_path / "link.json").exists()

    asyncio.run(test())


def test_a_hook_is_told_on_once(tmp_path: Path) -> None:
    """Up by a hook, right after the kernel has shown it: told by the kernel already. A minute later somebody
    has dialled again: told once more. Down and up again: each told; nothing of it is in the file."""

    async def test() -> None:
        told: Told = []
        clock = FakeClock()
        made, _ = link(tmp_path, clock, told)
        facts = FakeKernel().whole("eth0").facts()
        await made.look(facts)
        told.clear()
        assert not (await made.hear("eth0", Hand.UP, facts)).is_again and not told
        clock.advance(60)
        assert (await made.hear("eth0", Hand.UP, facts)).is_again
        assert not (await made.hear("eth9", Hand.UP, facts)).touched
        assert [each[2] for each in told] == [True]
        assert (await made.hear("eth0", Hand.DOWN, facts)).touched == ["line"]
        assert made.reading.is_down and made.outlook.words == "eth0 was said to be down"
        assert not (await made.hear("eth0", Hand.UP, facts)).is_again
        assert [(each[0].is_down, each[2]) for each in told[1:]] == [(True, False), (False, False)]
        await made.close()
        assert json.loads((tmp_path / "link.json").read_text())["devices_down"] == {}

    asyncio.run(test())


def test_a_hook_is_told_on_though_the_clock_was_set_back(tmp_path: Path) -> None:
    """The machine began with a clock that was a month ahead: how long the link is up is not counted by it."""

    async def test() -> None:
        clock = FakeClock()
        lived = LivedClock(clock)
        told: Told = []

        async def announce(reading: LinkReading, orders: Orders, is_said_again: bool) -> None:
            told.append((reading, orders, is_said_again))

        made = Link(str(tmp_path / "link.json"), lived, clock, Log(), Links(LINE), announce)
        facts = FakeKernel().whole("eth0").facts()
        await made.look(facts)
        clock.set_wall_ms(clock.wall_ms() - 30 * 86_400_000)
        assert not (await made.hear("eth0", Hand.UP, facts)).is_again
        clock.advance(60)
        assert (await made.hear("eth0", Hand.UP, facts)).is_again and told[-1][2]
        await made.close()

    asyncio.run(test())
