"""The link's state: durable before it is told, the same after a crash; the kick at link-up."""

import asyncio
from pathlib import Path

import pytest

from cmail.link.clock import LinkReading
from cmail.link.state import Link, read_state
from tests.support.clock import FakeClock


class Log:
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.noted = self.warned = self.failed = self.lines.append


def link(path: Path, clock: FakeClock, told: list[LinkReading], kick=None) -> tuple[Link, Log]:
    log = Log()

    async def announce(reading: LinkReading) -> None:
        assert read_state(str(path / "link.json"), log) == reading, "durable before it is told"
        told.append(reading)

    made = Link(str(path / "link.json"), clock, log, announce, kick)
    made.open()
    return made, log


def test_a_crash_while_down_is_still_down(tmp_path: Path) -> None:
    """Down, crash, restart a day later, up: the day does not count."""

    async def test() -> None:
        clock = FakeClock()
        told: list[LinkReading] = []
        before, _ = link(tmp_path, clock, told)
        started_ms = clock.wall_ms()
        await before.down()
        clock.advance(86_400)
        after, _ = link(tmp_path, clock, told)
        assert after.reading.is_down
        await after.up()
        assert after.reading.link_ms(clock.wall_ms()) == started_ms
        assert [r.is_down for r in told] == [True, False]
        assert after.status()["periods"] == 2

    asyncio.run(test())


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b"null", b'{"is_down": 3}', b"\xff\xfe"])
def test_a_file_that_makes_no_sense_is_said_and_mail_moves(tmp_path: Path, octets: bytes) -> None:
    """Not fatal: the link counts as up."""
    (tmp_path / "link.json").write_bytes(octets)
    made, log = link(tmp_path, FakeClock(), [])
    assert not made.reading.is_down
    assert len(log.lines) == 1 and "link.json" in log.lines[0]


def test_what_cannot_be_recorded_is_not_told(tmp_path: Path) -> None:
    """A disk that refuses: the state stays, and who asked hears of it."""

    async def test() -> None:
        told: list[LinkReading] = []
        made, _ = link(tmp_path / "gone", FakeClock(), told)
        with pytest.raises(OSError):
            await made.down()
        assert not made.reading.is_down and not told

    asyncio.run(test())


def test_up_again_is_told_again(tmp_path: Path) -> None:
    """`link up` when it counts as up: it is told to all once more, the clock and the period go on."""

    async def test() -> None:
        told: list[LinkReading] = []
        made, _ = link(tmp_path, FakeClock(), told)
        before = made.reading
        await made.up()
        assert told == [before] and made.reading == before

    asyncio.run(test())


def test_link_up_kicks_and_keeps_the_result(tmp_path: Path) -> None:
    """Each `link up` kicks, also when it was up; the words stand in status and log."""

    async def test() -> None:
        kicks = []

        async def kick() -> str:
            kicks.append(1)
            return "kick: done"

        made, log = link(tmp_path, FakeClock(), [], kick)
        await made.up()
        await made.down()
        await made.up()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(kicks) == 2 and made.status()["last_kick"] == "kick: done"
        assert log.lines.count("kick: done") == 2
        await made.close()

    asyncio.run(test())
