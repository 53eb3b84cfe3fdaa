"""History: the figures of all workers, minute by minute for 48 hours; kept over restarts of anybody.

Workers count from nothing when they are started. What was counted since the last look is the difference; of a
worker that was started meanwhile it is all that it has. So no minute is counted twice, and none is lost when
this process was away."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cmail.net.control import ControlError
from cmail.observe import maillog
from cmail.storage import durable

LOOK_S: Final = 10.0
FRESH_S: Final = 1.0  # so old it is shown without looking again
REFRESH_S: Final = 0.5  # who looks at the figures does not wait longer for a worker that is busy
WRITE_S: Final = 300.0  # a crash of this process loses nothing: see above
MINUTES_KEPT: Final = 48 * 60
_MINUTE_MS: Final = 60_000
_HOUR_S: Final = 3600
_LATE_MS: Final = 5000  # what is seen now was counted a moment ago
_YOUNG_MS: Final = 120_000  # a worker that nobody has looked at yet, and that is no older, began with us
_FILE_OCTETS_MAX: Final = 1 << 22
STEP_MINUTES: Final = 5  # of the chart
DAY_MINUTES: Final = 24 * 60

Numbers = Mapping[str, Mapping[str, int]]  # as observe.metrics has them
COUNTED: Final = ("accepted", "delivered", "refused", "bounced")
_METRICS: Final[Mapping[str, Sequence[str]]] = {
    "accepted": ("cmail_messages_accepted_total",),
    "delivered": ("cmail_recipients_delivered_total",),
    "refused": ("cmail_refusals_total",),
    "bounced": ("cmail_recipients_bounced_total", "cmail_recipients_expired_total"),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one worker says. Two with another start are two workers, though they have one name."""

    started_ms: int
    numbers: Numbers


@dataclass(slots=True)
class Counts:
    """Of a span of time. `waiting` is the most that waited in it."""

    accepted: int = 0  # messages
    delivered: int = 0  # recipients
    refused: int = 0
    bounced: int = 0
    waiting: int = 0

    def add(self, other: "Counts") -> None:
        """Both spans together."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waiting = max(self.waiting, other.waiting)

    def row(self) -> list[int]:
        """For the file."""
        return [self.accepted, self.delivered, self.refused, self.bounced, self.waiting]


class History:
    """Belongs to one event loop; only reading and writing the file are done beside it."""

    def __init__(
        self,
        path: str,
        look: Callable[[], Awaitable[Mapping[str, Reading]]],
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`look` asks the workers; who does not answer is left out."""
        self._path, self._look, self._wall_ms = path, look, wall_ms
        self._minutes: dict[int, Counts] = {}  # minute since 1970 -> what was counted in it
        self._seen: dict[str, tuple[int, dict[str, int]]] = {}  # worker -> its start, its counts then
        self._is_changed = False
        self._looking = asyncio.Lock()  # two looks at once could be noted in the wrong order, and count twice
        self._looked_at = -FRESH_S  # monotonic

    # Looking.

    async def run(self) -> None:
        """As long as the process lives."""
        await asyncio.to_thread(self.load)
        written_at = time.monotonic()
        while True:
            await self.sample()
            if time.monotonic() - written_at >= WRITE_S:
                written_at = time.monotonic()
                await self.write()
            await asyncio.sleep(LOOK_S)

    async def refresh(self) -> None:
        """For who wants to see it now: count what has come since the last look, unless that was just now."""
        try:
            async with asyncio.timeout(REFRESH_S):
                await self.sample(FRESH_S)
        except TimeoutError:
            pass  # what is known is shown

    async def sample(self, age_max_s: float = 0.0) -> None:
        """Look once, unless that was done less than `age_max_s` ago. When nobody answers nothing is noted: a
        gap."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= age_max_s:
                await self._sample()
                self._looked_at = time.monotonic()

    async def _sample(self) -> None:
        try:
            readings = await self._look()
        except ControlError:
            return
        if not readings:
            return
        now_ms = self._wall_ms()
        counts = Counts(waiting=sum(map(_waiting, (each.numbers for each in readings.values()))))
        for name, reading in readings.items():
            counts.add(self._since(name, reading, now_ms))
        minute = (now_ms - _LATE_MS) // _MINUTE_MS
        self._minutes.setdefault(minute, Counts()).add(counts)
        self._forget(now_ms // _MINUTE_MS)
        self._is_changed = True

    def _since(self, name: str, reading: Reading, now_ms: int) -> Counts:
        """What a worker has counted since it was looked at."""
        now = {of: sum(sum(reading.numbers.get(m, {}).values()) for m in _METRICS[of]) for of in COUNTED}
        started_ms, before = self._seen.get(name, (0, {}))
        self._seen[name] = reading.started_ms, now
        if not started_ms and now_ms - reading.started_ms > _YOUNG_MS:
            return Counts()  # when it counted that, nobody knows
        if started_ms != reading.started_ms or any(now[of] < before.get(of, 0) for of in COUNTED):
            before = {}
        return Counts(**{of: now[of] - before.get(of, 0) for of in COUNTED})

    def _forget(self, now: int) -> None:
        """What is too old, or from a time that has not come yet (the clock was wrong)."""
        if len(self._minutes) > MINUTES_KEPT or now + 1 < max(self._minutes):
            kept = range(now - MINUTES_KEPT + 1, now + 2)
            self._minutes = {minute: counts for minute, counts in self._minutes.items() if minute in kept}

    # Telling.

    def today(self) -> Counts:
        """Since midnight, by the clock of this machine."""
        now_s = self._wall_ms() // 1000
        then = time.localtime(now_s)
        midnight = time.mktime((then.tm_year, then.tm_mon, then.tm_mday, 0, 0, 0, 0, 0, -1))
        return self._sum(int(midnight) // 60, now_s // 60 + 1)

    def last(self, minutes: int) -> Counts:
        """Of the last minutes, the one that runs included."""
        now = self._wall_ms() // _MINUTE_MS
        return self._sum(now - minutes + 1, now + 1)

    def peak(self) -> tuple[int, int]:
        """The most messages that were accepted in one minute of the last 24 hours, and when (0: none)."""
        now = self._wall_ms() // _MINUTE_MS
        recent = ((counts.accepted, minute) for minute, counts in self._within(now - DAY_MINUTES, now + 1))
        most, minute = max(recent, default=(0, 0))
        return (most, minute * _MINUTE_MS) if most else (0, 0)

    def hours(self) -> list[tuple[int, Counts | None]]:
        """The last 24, the latest first: when each began (ms); None where nobody counted."""
        now_s = self._wall_ms() // 1000
        then = time.localtime(now_s)
        begun_s = now_s - then.tm_min * 60 - then.tm_sec  # time zones with half hours too
        starts = [begun_s - hour * _HOUR_S for hour in range(24)]
        return [(start * 1000, self._of(start // 60, start // 60 + 60)) for start in starts]

    def chart(self) -> dict[str, list[int | None]]:
        """The last 24 hours in steps of 5 minutes, for the page's script."""
        end = self._wall_ms() // _MINUTE_MS + 1  # a last step that has just begun would look like a fall
        starts = range(end - DAY_MINUTES, end, STEP_MINUTES)
        steps = [self._of(start, start + STEP_MINUTES) for start in starts]

        def line(of: str) -> list[int | None]:
            return [None if step is None else getattr(step, of) for step in steps]

        return {
            "time": [start * 60 for start in starts],
            "in": line("accepted"),
            "out": line("delivered"),
            "refused": line("refused"),
            "waiting": line("waiting"),
        }

    def _of(self, start: int, end: int) -> Counts | None:
        return self._sum(start, end) if any(self._within(start, end)) else None

    def _sum(self, start: int, end: int) -> Counts:
        total = Counts()
        for _, counts in self._within(start, end):
            total.add(counts)
        return total

    def _within(self, start: int, end: int) -> Iterator[tuple[int, Counts]]:
        return ((minute, self._minutes[minute]) for minute in range(start, end) if minute in self._minutes)

    # The file.

    def load(self) -> None:
        """What was kept; blocks. A file that makes no sense is reported, and counting begins anew."""
        try:
            with open(self._path, "rb") as file:
                kept = json.loads(file.read(_FILE_OCTETS_MAX))
            minutes = {int(minute): Counts(*map(int, row)) for minute, *row in kept["minutes"]}
            seen = {
                str(name): (int(start), _ints(numbers)) for name, (start, numbers) in kept["seen"].items()
            }
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            maillog.warned(f"{self._path}: {error}; the figures begin anew")
            return
        self._minutes, self._seen = minutes, seen
        if minutes:
            self._forget(self._wall_ms() // _MINUTE_MS)

    async def write(self) -> None:
        """Keep it. On a full disk it stays in memory."""
        if not self._is_changed:
            return
        rows = [[minute, *counts.row()] for minute, counts in sorted(self._minutes.items())]
        octets = json.dumps({"minutes": rows, "seen": self._seen}).encode()
        self._is_changed = False
        try:
            await asyncio.to_thread(self._write, octets)
        except OSError as error:
            self._is_changed = True
            maillog.warned(f"{self._path} cannot be written: {error.strerror or error}")

    def _write(self, octets: bytes) -> None:
        durable.make_folder(os.path.dirname(self._path))
        durable.write_durably(self._path, octets)


def _waiting(numbers: Numbers) -> int:
    return sum(numbers.get("cmail_queue_recipients", {}).values())


def _ints(numbers: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(number) for name, number in numbers.items()}
