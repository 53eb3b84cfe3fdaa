"""Clocks that are wrong, jump, or stand still while the machine sleeps: mail has its chances all the same."""

import ssl
import time
from pathlib import Path

import pytest

from cmail.link.clock import LinkReading, LinkView
from cmail.link.lived import AWAY_MS, LivedClock, note, resume, was_away
from cmail.mail.outcome import Delivered, TemporaryFailure
from cmail.mail.queue_id import QueueIds, arrival_ms, parse_queue_id, print_queue_id
from cmail.queue import lookout
from cmail.storage import self_signed
from tests.fault import clocks
from tests.support.clock import FakeClock
from tests.unit.queue.house import House, run

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
LATER = TemporaryFailure("450 later")
STEPS = {
    "hours forward": 6 * 3_600_000,
    "hours back": -6 * 3_600_000,
    "two days of sleep": 2 * DAY_MS,
    "a month forward": 30 * DAY_MS,
    "years forward": 54 * YEAR_MS,
    "years back": -54 * YEAR_MS,
}


class Log:
    """Takes warnings."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def warned(self, text: str) -> None:
        self.words.append(text)


@pytest.mark.parametrize("to", ["bob@example.net", "you@example.org"], ids=["the Internet", "here"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_expires_nothing_and_tries_all(step: int, to: str) -> None:
    """Mail that was tried once and waits: the clock is set, or the machine slept. It is tried at once,
    and neither given up nor is its sender told of a delay; a real lifetime later it is."""

    async def test(house: House) -> None:
        agent = house.smtp if to.endswith("net") else house.local
        agent.outcome = lambda t, q: LATER
        await house.send(to)
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        tries = len(house.log.attempts)
        house.clock.set_wall_ms(house.clock.wall_ms() + step)
        await house.scheduler.lookout.look_at_all()
        await house.until(lambda: len(house.log.attempts) > tries)
        await house.scheduler.lookout.sweep()
        await house.settle_down()
        assert house.waiting() == [to] and not house.log.given_up and not house.log.reports
        for _ in range(150):  # a lifetime and more, as it passes for everybody
            await house.pass_time(hours=1)
        assert house.log.given_up and to not in house.waiting()

    run(test)


def test_the_clock_is_looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is seen by itself, within seconds; until then nothing is tried."""
    monkeypatch.setattr(lookout, "CLOCK_LOOK_S", 0.02)

    async def test(house: House) -> None:
        house.smtp.outcome = lambda t, q: LATER
        await house.send("bob@example.net")
        await house.until(lambda: house.log.attempts)
        await house.settle_down()
        house.smtp.outcome = lambda t, q: Delivered("sink", "250 ok")
        house.clock.set_wall_ms(house.clock.wall_ms() + 2 * DAY_MS)
        await house.until(lambda: not house.waiting(), turns=30_000)
        assert "or we slept, by 2 days" in " ".join(house.log.texts)

    run(test)


def test_link_down_beside_a_step() -> None:
    """Off line when the clock is set: mail for the Internet stays where it is, untried."""

    async def test(house: House) -> None:
        house.clock.link_down()
        house.scheduler.link_changed()
        await house.send("bob@example.net")
        house.clock.set_wall_ms(house.clock.wall_ms() + 54 * YEAR_MS)
        await house.scheduler.lookout.look_at_all()
        await house.settle_down()
        assert house.waiting() == ["bob@example.net"] and not house.log.attempts

    run(test)


def test_mail_for_here_ages_while_the_link_is_down() -> None:
    """A dead server of our own is told of though the link has been down for days: it needs none."""

    async def test(house: House) -> None:
        house.clock.link_down()
        house.scheduler.link_changed()
        house.local.outcome = lambda t, q: LATER
        await house.send("you@example.org")
        for _ in range(126):
            await house.pass_time(hours=1)
        assert [kind for _, kind in house.log.reports][:1] == ["delayed"] and house.log.given_up

    run(test)


ABSENCES = {  # seconds by the wall clock between the last note and the start -> lived seconds of them
    "a restart": (20, 20),
    "at most": (AWAY_MS // 1000, AWAY_MS // 1000),
    "a week off": (7 * 86_400, 0),
    "the clock went back": (-3600, 0),
    "1970": (-56 * 365 * 86_400, 0),
    "2080": (54 * 365 * 86_400, 0),
}


@pytest.mark.parametrize(("away_s", "counted_s"), ABSENCES.values(), ids=ABSENCES)
def test_lived_time_goes_on_where_it_was(tmp_path: Path, away_s: int, counted_s: int) -> None:
    """Neither an absence nor a wrong clock at the start is lived; a restart is."""
    path, log, clock = str(tmp_path / "clock.json"), Log(), FakeClock()
    first = resume(path, clock, log)
    clock.advance(1000)
    clock.set_wall_ms(clock.wall_ms() + 30 * DAY_MS)  # it counts for nothing
    note(path, clock, first)
    again = FakeClock(clock.wall_ms() + away_s * 1000)
    lived = resume(path, again, log)
    assert lived.wall_ms() - first.wall_ms() == counted_s * 1000
    again.advance(5)
    assert lived.wall_ms() - first.wall_ms() == (counted_s + 5) * 1000
    assert lived.ahead_ms() == again.wall_ms() - lived.wall_ms()
    assert log.words == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"lived_ms": 1}', '{"lived_ms": 1.5, "wall_ms": 2}'])
def test_a_note_that_makes_no_sense(tmp_path: Path, text: str) -> None:
    """It is said, and time begins anew by the wall clock: the server starts."""
    (tmp_path / "clock.json").write_text(text)
    log, clock = Log(), FakeClock()
    assert resume(str(tmp_path / "clock.json"), clock, log).wall_ms() == clock.wall_ms()
    assert len(log.words) == 1


def test_link_up_time_is_lived_time() -> None:
    """No step of the wall clock moves the link-up clock; a sleep is not in it; while down it stands."""
    clock = FakeClock()
    view = LinkView(LivedClock(clock))
    before = view.link_ms()
    for step in STEPS.values():
        clock.set_wall_ms(clock.wall_ms() + step)
        assert view.link_ms() == before
    clock.advance(60)
    assert view.link_ms() == before + 60_000
    view.changed(LinkReading().down(view.link_ms()))
    clock.advance(60)
    assert (view.link_ms(), view.down_for_ms) == (before + 60_000, 60_000)


def test_queue_ids_of_wrong_clocks() -> None:
    """They never go back and never leave their 63 bits, whatever year the clock shows."""
    now = [0]
    ids = QueueIds(3, lambda: now[0])
    made = []
    for wall_ms in (5, 1_800_000_000_000, -5, 3_500_000_000_000, 0, 1 << 42, 1 << 50, 9_000):
        now[0] = wall_ms
        made += [ids.new() for _ in range(20_000)]
    assert made == sorted(set(made)) and made[-1] >> 63 == 0
    assert parse_queue_id(print_queue_id(made[-1])) == made[-1] and arrival_ms(made[-1]) < 1 << 42
    assert QueueIds(3, lambda: 7, made[-1]).new() > made[-1]


CERTIFICATES = {  # when it was made, when we start -> whether it is made anew
    "the same day": ("2026-11-23", "2026-11-23", False),
    "eight years later": ("2026-11-23", "2034-11-23", False),
    "at its end": ("2026-11-23", "2036-11-10", True),
    "it is of the future": ("2080-01-01", "2026-11-23", True),
    "made in 1970": ("1970-01-01", "2026-11-23", False),
    "we wake up in 1970": ("2026-11-23", "1970-01-01", False),
    "behind 2050": ("2051-01-01", "2052-01-01", False),
}


@pytest.mark.parametrize(("made", "started", "is_new"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_our_own_certificate_is_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str, started: str, is_new: bool
) -> None:
    """One that a wrong clock made, or that ends soon, is made anew at the next start; a clock from before
    there was this program is not believed."""
    for day, expected in ((made, True), (started, is_new)):
        now = ssl.cert_time_to_seconds(f"{MONTHS[day[5:7]]} {int(day[8:]):2} 12:00:00 {day[:4]} GMT")
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        assert self_signed.ensure_certificate(str(tmp_path), "mail.example.org") is expected


MONTHS = {"01": "Jan", "11": "Nov"}


@pytest.mark.needs("faketime")
@pytest.mark.limit(400)
def test_a_running_server_whose_clock_jumps(tmp_path: Path) -> None:
    """A laptop that slept for two days, then the year 1970, set while mail comes and waits and a session
    is open; then a start in 2080: all is tried at once, nothing is bounced, all arrives, once."""
    steps = (2 * clocks.DAY_S, clocks.IN_1970_S)
    summary = clocks.trial(tmp_path, lambda _: None, steps, (clocks.IN_2080_S,), clocks.upstreams()[-1])
    assert summary.broken == []
    assert (summary.lost, summary.duplicated, summary.in_queue) == (0, 0, 0)
    assert summary.accepted == summary.delivered > 20


@pytest.mark.parametrize(
    ("gap_ms", "up_s", "is_away"),
    [
        (5_000, 86_400.0, False),
        (AWAY_MS, 86_400.0, False),
        (AWAY_MS + 1, 86_400.0, True),
        (90_000, 60.0, True),
        (-3_600_000, 60.0, False),
    ],
    ids=["a restart", "ten minutes", "more", "the machine was switched on", "the clock was set back"],
)
def test_who_was_away(tmp_path: Path, gap_ms: int, up_s: float, is_away: bool) -> None:
    """A restart is no absence; a switch-off of the machine is one however short, because links come up then.
    Before the very first start nobody was away."""
    path, clock = str(tmp_path / "clock.json"), FakeClock()
    assert not was_away(path, clock, up_s)
    note(path, clock, LivedClock(clock))
    clock.set_wall_ms(clock.wall_ms() + gap_ms)
    assert was_away(path, clock, up_s) is is_away
