"""Typed settings of the queue: retries, lifetime, batch."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """[queue] Mail Queue Administration."""

    lifetime: Annotated[timedelta, "Returned when older than this and it had its chances."] = timedelta(
        days=5
    )
    batch: Annotated[
        bool, "Batch Mail for Delivery: Internet mail waits for the next exchange or a flush."
    ] = False
    retry: Annotated[tuple[timedelta, ...], "Waits between attempts; the last one repeats."] = (
        timedelta(minutes=5),
        timedelta(minutes=10),
        timedelta(minutes=20),
        timedelta(minutes=40),
        timedelta(hours=1),
    )
    delay_notice: Annotated[timedelta, "Tell the sender of a delay, once, after this long."] = timedelta(
        hours=4
    )
