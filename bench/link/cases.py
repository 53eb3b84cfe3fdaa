"""What is measured: the satellite, the link that flaps, the outage in the middle of a long queue."""

import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from arrivals import Arrivals
from corpus import numbered, text_mail
from ground import FAR_ADDRESS, Ground
from servers import CmailPair, Pair, PostfixPair
from wire import FAR, NEAR, Counts, Kind

SATELLITE = Kind(256, 700, 1.0)
FLAPPING = Kind(2000, 120)
OFFICE = Kind(10_000, 40)
UP_S, DOWN_S = 15.0, 10.0
FLAPPING_COUNT = 1300  # 40 s of link time at its rate: two cuts at least
OUTAGE_COUNT = 1000
OUTAGE_S = 60.0
LIMIT_S = 180.0
SETTLE_S = 1.0
ROUND_TRIPS = 4  # SYN, greeting, EHLO, and the message itself
FIRST_COUNT = 8
BULK_PORT = 2526

# The outage is a minute of real time, not an hour. Instead every time that it could touch is so short that
# the outage is three times the whole lifetime of a message; an hour is a hundredth of the usual one.
HASTY = """
[queue]
lifetime = "20s"
delay_notice = "5s"
retry = ["1s"]
"""


@dataclass
class Result:
    """One line of the table."""

    name: str
    who: str
    seconds: float = 0.0
    facts: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)
    has_goal: bool = False

    def expect(self, is_met: bool, words: str) -> None:
        """A goal."""
        self.has_goal = True
        if not is_met:
            self.misses.append(words)


def satellite(name: str) -> Result:
    """95 text messages over a satellite, from link-up to the last one's arrival."""
    mails = text_mail()
    with Ground(SATELLITE) as ground, _pair(ground, name) as pair:
        pair.queue(mails)
        arrivals, begin = _begin(ground, pair)
        is_all = arrivals.wait(len(mails), begin + LIMIT_S)
        result = Result(
            f"satellite, {SATELLITE}", pair.name, max(arrivals.at.values(), default=begin) - begin
        )
        result.facts += [_first(arrivals, begin), _carried(ground.wire.counts())]
        if not is_all:
            result.misses.append(f"{len(arrivals.at)} of {len(mails)} arrived")
        if name == "cmail":
            result.expect(result.seconds <= 26, "26 s")
            result.expect(not arrivals.duplicates, "nothing twice")
        return result


def satellite_again() -> Result:
    """The same to a host that was there before the last outage: it is known what it offers."""
    mails = numbered(text_mail(), FIRST_COUNT + len(text_mail()))
    with Ground(SATELLITE) as ground, _pair(ground, "cmail") as pair:
        for mail in mails[
            :FIRST_COUNT
        ]:  # each by a connection of its own: every worker gets to know the host
            pair.queue([mail])
        arrivals, begin = _begin(ground, pair)
        arrivals.wait(FIRST_COUNT, begin + LIMIT_S)
        time.sleep(SETTLE_S)
        ground.wire.down()
        pair.queue(mails[FIRST_COUNT:])
        before = ground.wire.counts()
        arrivals.at.clear()
        begin = ground.wire.up()
        is_all = arrivals.wait(len(mails) - FIRST_COUNT, begin + LIMIT_S)
        seconds = max(arrivals.at.values(), default=begin) - begin
        result = Result(f"satellite again, {SATELLITE}", pair.name, seconds)
        result.facts += [_first(arrivals, begin), _carried(ground.wire.counts().since(before))]
        result.expect(is_all and not arrivals.duplicates, "all arrive, nothing twice")
        result.expect(seconds <= 26, "26 s")
        return result


def bulk() -> Result:
    """The same octets in one TCP connection that carries nothing else: no mail can be faster."""
    octets = sum(len(mail.octets) for mail in text_mail())
    script = str(Path(__file__).with_name("bulk.py"))
    with Ground(SATELLITE) as ground, open(os.devnull, "wb") as log:
        taker = ground.start(FAR, [sys.executable, script, "take", FAR_ADDRESS, str(BULK_PORT)], log)
        command = [sys.executable, script, "give", FAR_ADDRESS, str(BULK_PORT), str(octets)]
        giver = ground.start(NEAR, command, log, stdin=subprocess.PIPE)
        time.sleep(SETTLE_S)
        begin = ground.wire.up()
        giver.communicate(b"go\n", LIMIT_S)
        seconds = time.monotonic() - begin
        taker.wait(10)
        return Result(f"satellite, {SATELLITE}", "bare TCP", seconds, [_carried(ground.wire.counts())])


def flapping(*, is_new_address: bool) -> Result:
    """A link that is there for 15 s and away for 10: what was in flight is all that is sent again."""
    kind = replace(FLAPPING, is_new_address=is_new_address)
    mails = numbered(text_mail(), FLAPPING_COUNT)
    with Ground(kind) as ground, _pair(ground, "cmail") as pair:
        pair.queue(mails)
        arrivals, begin = _begin(ground, pair)
        firsts, in_flight = _flap(ground, arrivals, len(mails), begin)
        kept = "a new address each time" if is_new_address else "the address stays"
        seconds = max(arrivals.at.values(), default=begin) - begin
        result = Result(f"flapping, {kind}, {UP_S:.0f} s up, {DOWN_S:.0f} s down, {kept}", pair.name, seconds)
        again, cuts = arrivals.duplicates, len(firsts) - 1
        result.facts += [
            f"{len(mails)} messages, {cuts} cuts",
            f"arrived twice: {again}",
            "first message after link-up: " + ", ".join(f"{first:.2f} s" for first in firsts),
            _carried(ground.wire.counts()),
        ]
        result.expect(len(arrivals.at) == len(mails), f"{len(arrivals.at)} of {len(mails)} arrived")
        result.expect(again <= in_flight, f"no more than the {in_flight} in flight at the cuts is sent again")
        soon_s = 0.3 + ROUND_TRIPS * kind.round_trip_ms / 1000
        result.expect(max(firsts) <= soon_s, f"first message within {soon_s:.2f} s")
        return result


def _flap(ground: Ground, arrivals: Arrivals, count: int, begin: float) -> tuple[list[float], int]:
    """Up and down until all is there: how soon after each link-up the first message came, and how many
    messages the link can have held at the cuts, all together."""
    firsts: list[float] = []
    in_flight = 0
    octets = sum(len(mail.octets) for mail in text_mail()) / len(text_mail())
    held = ground.kind.kbit * 125 * ground.kind.round_trip_ms / 1000 / octets
    up = begin
    while time.monotonic() < begin + LIMIT_S:
        before = len(arrivals.at)
        if arrivals.wait(before + 1, up + UP_S):
            firsts.append(max(arrivals.at.values()) - up)
        if arrivals.wait(count, up + UP_S):
            break
        ground.wire.down()
        in_flight += math.ceil(held)
        time.sleep(DOWN_S)
        arrivals.look()
        up = ground.wire.up()
    return firsts, in_flight


def outage() -> Result:
    """A link that goes while a thousand messages are on their way, and stays away for long."""
    mails = numbered(text_mail(), OUTAGE_COUNT)
    with Ground(OFFICE) as ground, contextlib.closing(CmailPair(ground, more=HASTY)) as pair:
        pair.queue(mails)
        arrivals, begin = _begin(ground, pair)
        arrivals.wait(OUTAGE_COUNT // 3, begin + LIMIT_S)
        ground.wire.down()
        time.sleep(OUTAGE_S)
        arrivals.look()
        before, waiting = len(arrivals.at), pair.waiting()
        up = ground.wire.up()
        arrivals.wait(len(mails), up + LIMIT_S)
        result = Result(f"outage of {OUTAGE_S:.0f} s, see README", pair.name, max(arrivals.at.values()) - up)
        time.sleep(SETTLE_S)
        bounced = sum(pair.log.read_text().count(f"status={word}") for word in ("bounced", "expired"))
        attempts = sum(int(row["attempts"]) for row in waiting)
        result.facts += [
            f"{before} of {len(mails)} before it; in it {len(waiting)} waiting, {attempts} attempts counted",
            f"bounced {bounced}, notices {_count_mail(pair.near)}, arrived twice {arrivals.duplicates}",
        ]
        result.expect(0 < before < len(mails), "the outage is in the middle")
        result.expect(not bounced and not _count_mail(pair.near), "0 bounced, nobody told of a delay")
        result.expect(not attempts, "0 attempts counted")
        result.expect(len(arrivals.at) == len(mails) and not pair.waiting(), "all delivered after")
        return result


@contextlib.contextmanager
def _pair(ground: Ground, name: str) -> Iterator[Pair]:
    pair: Pair = CmailPair(ground) if name == "cmail" else PostfixPair(ground)
    try:
        yield pair
    finally:
        pair.close()


def _begin(ground: Ground, pair: Pair) -> tuple[Arrivals, float]:
    """The link comes up; when that was."""
    arrivals = Arrivals(pair.mailboxes)
    time.sleep(SETTLE_S)
    begin = ground.wire.up()
    pair.go()
    return arrivals, begin


def _first(arrivals: Arrivals, begin: float) -> str:
    return f"first message after {min(arrivals.at.values(), default=begin) - begin:.2f} s"


def _carried(counts: Counts) -> str:
    return (
        f"{counts.octets_out / 1000:.0f} KB out, {counts.octets_in / 1000:.0f} KB in,"
        f" {counts.connections} connections, {counts.lost} packets lost"
    )


def _count_mail(folder: Path) -> int:
    """Messages in the mailboxes of a server: bounces and notices, on the sender's side."""
    return sum(1 for path in (folder / "data/mail").rglob("new/*") if path.is_file())
