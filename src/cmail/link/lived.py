"""Lived time: what passed while the server ran. Nobody can set it, and a sleep or a holiday is not in it.

The link-up clock is made of it: a machine that slept for two days, was switched off for a week, or was
given the right time at last has not had those days to deliver its mail in."""

import json
from typing import Any, Final, Protocol

from cmail.storage import durable
from cmail.world import Clock

AWAY_MS: Final = 600_000  # a restart is not an absence, nor is a crash since the last note
NOTE_EVERY_S: Final = 300.0  # how much lived time a crash may cost, and then it is made up for
_OCTETS_MAX: Final = 4096  # ours has 60
_MS_MAX: Final = 1 << 53  # 285,000 years: a note that says more was damaged, and no database could count on


class _Log(Protocol):
    def warned(self, text: str) -> None: ...


class LivedClock:
    """A Clock whose wall time goes with the monotonic one, from where it was left. Processes that were
    forked from the one that made it agree to the millisecond."""

    __slots__ = ("_clock", "_offset_ms")

    def __init__(self, clock: Clock, start_ms: int | None = None) -> None:
        self._clock = clock
        start = clock.wall_ms() if start_ms is None else start_ms
        self._offset_ms = start - int(clock.monotonic() * 1000)

    def wall_ms(self) -> int:
        """Lived milliseconds; at the very first start they are those since 1970."""
        return self._offset_ms + int(self._clock.monotonic() * 1000)

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        return self._clock.monotonic()

    def ahead_ms(self) -> int:
        """How far the wall clock is ahead of it, to show a lived time to people."""
        return self._clock.wall_ms() - self.wall_ms()


def resume(path: str, clock: Clock, log: _Log) -> LivedClock:
    """Go on from the last note; blocks. A moment's absence counts as lived, as a restart should; a long
    one does not, nor what the clock was set by meanwhile. Without a note that makes sense: from now."""
    try:
        with open(path, "rb") as file:
            lived_ms, wall_ms = _parse(json.loads(file.read(_OCTETS_MAX)))
    except FileNotFoundError:
        return LivedClock(clock)
    except (OSError, ValueError, RecursionError) as error:
        log.warned(f"{path}: {error}; the age of mail is counted by the wall clock")
        return LivedClock(clock)
    gap_ms = clock.wall_ms() - wall_ms
    return LivedClock(clock, lived_ms + (gap_ms if 0 < gap_ms <= AWAY_MS else 0))


def note(path: str, clock: Clock, lived: LivedClock) -> None:
    """Write down how late it is; blocks. OSError when that cannot be."""
    fields = {"lived_ms": lived.wall_ms(), "wall_ms": clock.wall_ms()}
    durable.write_durably(path, json.dumps(fields).encode() + b"\n")


def was_away(path: str, clock: Clock, up_s: float) -> bool:
    """Whether we were away for long before this start, or the machine, which is up for up_s, was switched on
    meanwhile; blocks. Nobody was away before the very first start."""
    try:
        with open(path, "rb") as file:
            _, noted_ms = _parse(json.loads(file.read(_OCTETS_MAX)))
    except (OSError, ValueError, RecursionError):
        return False
    gap_ms = clock.wall_ms() - noted_ms
    return gap_ms > AWAY_MS or gap_ms > up_s * 1000


def _parse(fields: Any) -> tuple[int, int]:
    if not isinstance(fields, dict):
        raise ValueError("not a note of the time")
    lived_ms, wall_ms = fields.get("lived_ms"), fields.get("wall_ms")
    if type(lived_ms) is not int or type(wall_ms) is not int:
        raise ValueError("not a note of the time")
    if not (0 <= lived_ms < _MS_MAX and 0 <= wall_ms < _MS_MAX):
        raise ValueError("not a note of the time: its numbers are too large, or below 0")
    return lived_ms, wall_ms
