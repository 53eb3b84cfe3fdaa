"""The board: checks in the background with limits, results that are kept, and what Home is told."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from cmail.admin.checks import board as board_module
from cmail.admin.checks.attention import CheckFinder
from cmail.admin.checks.board import AT_ONCE, CheckBoard, Result
from cmail.admin.checks.finding import Finding, State
from cmail.admin.checks.inquiry import Inquiry
from cmail.admin.checks.rows import Check, checks_of
from cmail.admin.checks.upstream import REFUSED
from cmail.admin.overview import Overview
from cmail.delivery.settings import SmtpSettings
from cmail.net.settings import DnsSettings
from tests.support.fake_checks import OFFICE, World, fake_board

ONLINE = Overview(0, link={"is_down": False})


def with_checks(
    monkeypatch: pytest.MonkeyPatch, checks: dict[str, Callable[[Inquiry], Awaitable[Finding]]]
) -> None:
    """A board with these checks instead of ours."""
    found = [Check(name, name, run) for name, run in checks.items()]
    monkeypatch.setattr(board_module, "checks_of", lambda subject: found)


def test_which_rows_there_are() -> None:
    """The machine's, then three for each domain; no upstream row where mail goes out by MX."""
    names = [check.name for check in checks_of(replace(OFFICE, domains=("example.org", "Example.net")))]
    machine = ["addresses", "reverse", "certificate", "port25", "clock", "disk"]
    assert names[:6] == machine
    assert names[6:] == [
        f"{kind}:{d}" for d in ("example.org", "example.net") for kind in ("mx", "spf", "dmarc")
    ]
    upstream = [c.name for c in checks_of(replace(OFFICE, smtp=SmtpSettings(host="smtp.isp.example")))]
    assert "upstream" in upstream


def test_results_are_kept_with_their_time() -> None:
    """Not checked, checking, a result; [Check again] asks the DNS anew."""

    async def main() -> None:
        world = World()
        board = fake_board(world)
        assert all(row.state is None and not row.is_running for row in board.rows())
        assert board.start(["mx:example.org", "nonsense"]) == 1
        assert [row.check.name for row in board.rows() if row.is_running] == ["mx:example.org"]
        [row] = await board.run(["mx:example.org"])
        assert row.state is State.GOOD and row.result is not None and row.result.wall_ms == 1_800_000_000_000
        assert world.dns.asked.count("MX example.org") == 1, "one that runs already is not begun twice"
        world.dns.records["example.org", "MX"] = ["0 ."]
        [row] = await board.run(["mx:example.org"])
        assert row.state is State.WRONG and world.dns.asked.count("forget") == 3

    asyncio.run(main())


def test_looking_begins_what_bothers_nobody() -> None:
    """A look begins every row but those on demand, and the same look again begins none."""

    async def main() -> None:
        board = fake_board(World())
        board.refresh(3600)
        running = {row.check.name for row in board.rows() if row.is_running}
        assert "port25" not in running and {"mx:example.org", "disk", "clock"} <= running
        await asyncio.gather(*board._running.values())
        board.refresh(3600)
        assert not any(row.is_running for row in board.rows())
        board.refresh(0, ("disk",))
        assert [row.check.name for row in board.rows() if row.is_running] == ["disk"]
        await board.close()

    asyncio.run(main())


def test_a_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more than five, and all of them in the end."""
    now, most = 0, 0

    async def busy(_: Inquiry) -> Finding:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _round in range(10):
            await asyncio.sleep(0)
        now -= 1
        return Finding(State.GOOD, "x")

    with_checks(monkeypatch, {f"c{n}": busy for n in range(20)})
    rows = asyncio.run(_run_all(fake_board(World())))
    assert most == AT_ONCE and [row.state for row in rows] == [State.GOOD] * 20


async def _run_all(board: CheckBoard) -> list[board_module.Row]:
    return await board.run([row.check.name for row in board.rows()])


def test_one_that_hangs_or_breaks_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-out and mistake of ours are both 'not known', in words."""

    async def hang(_: Inquiry) -> Finding:
        await asyncio.Event().wait()
        raise AssertionError

    async def breaks(_: Inquiry) -> Finding:
        raise ZeroDivisionError

    async def good(_: Inquiry) -> Finding:
        return Finding(State.GOOD, "x")

    monkeypatch.setattr(board_module, "CHECK_S", 0.05)
    with_checks(monkeypatch, {"hang": hang, "breaks": breaks, "good": good})
    rows = asyncio.run(_run_all(fake_board(World())))
    assert [row.state for row in rows] == [State.UNKNOWN, State.UNKNOWN, State.GOOD]
    assert [row.result.finding.found.split(" ")[0] for row in rows if row.result] == ["There", "The", "x"]


def test_one_that_is_ended_before_it_began_can_begin_again() -> None:
    """close() leaves nothing behind that looks as if it ran."""

    async def main() -> None:
        board = fake_board(World())
        board.start(["disk"])
        await board.close()
        assert not any(row.is_running for row in board.rows())
        [row] = await board.run(["disk"])
        assert row.result is not None

    asyncio.run(main())


@pytest.mark.parametrize("domain", ["office.lan", "intranet"])
def test_a_domain_of_the_house_needs_no_records(domain: str) -> None:
    """Nobody outside asks for it: nothing is red, and the DNS is not asked."""
    world = World()
    rows = asyncio.run(_run_all(fake_board(world, domains=(domain,))))
    of_domain = [row for row in rows if row.check.domain]
    assert [row.state for row in of_domain] == [State.GOOD] * 3
    assert not any(domain in asked for asked in world.dns.asked)


def test_other_settings() -> None:
    """A domain that is gone takes its rows with it; other name servers are asked from then on."""

    async def main() -> None:
        world, subjects = World(), [OFFICE]
        board = CheckBoard(lambda: subjects[-1], world.reach)
        await board.run(["mx:example.org"])
        assert not world.dns.servers
        subjects.append(replace(OFFICE, domains=("example.net",), dns=DnsSettings(("192.0.2.53",))))
        assert board.rows() and board.finding("mx:example.org") is None
        await board.run(["mx:example.net"])
        assert world.dns.servers == ("192.0.2.53",)

    asyncio.run(main())


ATTENTION: list[tuple[str, str, Finding, bool]] = [
    (
        "the certificate ends",
        "certificate",
        Finding(State.LOOK, "Ends.", advice="Renew.", is_soon=True),
        True,
    ),
    ("it is self-signed", "certificate", Finding(State.LOOK, "Self-signed."), False),
    ("it has ended", "certificate", Finding(State.WRONG, "Ended."), True),
    ("the disk is full", "disk", Finding(State.WRONG, "Full."), True),
    ("the disk has little room", "disk", Finding(State.LOOK, "Little."), False),
    ("the clock is wrong", "clock", Finding(State.WRONG, "Wrong."), True),
    ("the clock is a little wrong", "clock", Finding(State.LOOK, "A little."), False),
    ("our log-in is refused", "upstream", Finding(State.WRONG, f"{REFUSED} 535"), True),
    ("the upstream is away", "upstream", Finding(State.WRONG, "Connection: nothing."), False),
    ("not known", "clock", Finding(State.UNKNOWN, "?"), False),
    ("a row of the DNS", "mx:example.org", Finding(State.WRONG, "None."), False),
]


@pytest.mark.parametrize(
    ("name", "finding", "is_told"), [r[1:] for r in ATTENTION], ids=[r[0] for r in ATTENTION]
)
def test_what_home_is_told(name: str, finding: Finding, is_told: bool) -> None:
    """Certificate, disk, clock and log-in, when it is urgent; nothing else, and without waiting."""

    async def main() -> list[Any]:
        board = fake_board(World())
        board._results[name] = Result(finding, 0)
        found = await CheckFinder(board)(Overview(0))
        await board.close()
        return list(found)

    told = asyncio.run(main())
    assert [each.words for each in told] == ([finding.found] if is_told else [])
    assert all(each.path == "/checks" for each in told)


def test_home_has_the_machine_looked_at() -> None:
    """Disk and certificate now and then; the clock only on line; nothing that others are asked for."""

    async def running(overview: Overview) -> set[str]:
        board = fake_board(World())
        await CheckFinder(board)(overview)
        names = {row.check.name for row in board.rows() if row.is_running}
        await board.close()
        return names

    assert asyncio.run(running(ONLINE)) == {"disk", "certificate", "clock"}
    assert asyncio.run(running(Overview(0, link={"is_down": True}))) == {"disk", "certificate"}
    assert asyncio.run(running(Overview(0))) == {"disk", "certificate"}
