"""Attempts and age -> the next attempt, a notice of the delay, or give up. Pure: time and chance come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

PERIODS_TO_EXPIRE: Final = 10  # link-up periods with an attempt in them that count as its chances
PERIODS_TO_TELL: Final = 3  # the same, before its sender is told of a delay
JITTER: Final = 0.2  # waits are spread over 90-110 %, so that what failed together comes back apart
_MS: Final = timedelta(milliseconds=1)


class RetryTimes(Protocol):
    """What of the queue's settings counts here (queue.settings.QueueSettings has it)."""

    @property
    def lifetime(self) -> timedelta: ...
    @property
    def retry(self) -> tuple[timedelta, ...]: ...
    @property
    def delay_notice(self) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Age:
    """How old a message is by the wall clock, and how much of that it had to be delivered in: the server
    ran, and its link was up."""

    wall_ms: int
    link_ms: int


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Try again after so long."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It is older than its lifetime and had its chances."""


Decision = RetryAfter | GiveUp


def decide(attempts: int, age: Age, periods: int, times: RetryTimes, jitter: float) -> Decision:
    """What comes after the attempt that just failed for now. `attempts` counts it, `periods` are the
    link-up periods in which one was made."""
    if has_expired(attempts, age, periods, times):
        return GiveUp()
    return RetryAfter(wait_ms(attempts, times.retry, jitter))


def wait_ms(failures: int, retry: Sequence[timedelta], jitter: float) -> int:
    """The wait after so many failures in a row: by the table, its last entry repeats; a bit more or
    less by `jitter` (0.0 up to 1.0)."""
    wait = retry[min(max(failures, 1), len(retry)) - 1] / _MS
    return max(1000, round(wait * (1 + JITTER * (jitter - 0.5))))


def has_expired(attempts: int, age: Age, periods: int, times: RetryTimes) -> bool:
    """Whether to give up: an attempt was made, its lifetime is over by the wall clock, and it had its
    chances: as long of link-up time, or attempts in ten link-up periods."""
    lifetime = times.lifetime / _MS
    return (
        attempts >= 1
        and age.wall_ms >= lifetime
        and (age.link_ms >= lifetime or periods >= PERIODS_TO_EXPIRE)
    )


def is_delay_due(attempts: int, age: Age, periods: int, times: RetryTimes) -> bool:
    """Whether its sender is to be told now that it is late. A delay_notice of 0 switches it off."""
    delay = times.delay_notice / _MS
    return (
        delay > 0
        and attempts >= 1
        and age.wall_ms >= delay
        and (age.link_ms >= delay or periods >= PERIODS_TO_TELL)
    )


def wait_max_ms(times: RetryTimes) -> int:
    """No wait of ours is longer; a due time beyond it was written by a clock that was ahead."""
    return round(max(times.retry) / _MS * (1 + JITTER))
