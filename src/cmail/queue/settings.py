"""Typed settings of the queue: retries, lifetime, batch."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """[queue] Mail Queue Administration."""

    lifetime: Annotated[
        timedelta,
        "How long mail that cannot be delivered is tried; then its sender gets it back. Time off line"
        " does not count.",
    ] = timedelta(days=5)
    batch: Annotated[
        bool,
        "Mail for the Internet waits until somebody says Send now (`cmail queue flush`); mail for people"
        " here never waits.",
    ] = False
    retry: Annotated[
        tuple[timedelta, ...], "The waits between one attempt and the next; the last one repeats."
    ] = (
        timedelta(minutes=5),
        timedelta(minutes=10),
        timedelta(minutes=20),
        timedelta(minutes=40),
        timedelta(hours=1),
    )
    delay_notice: Annotated[
        timedelta, "Tell the sender, once, when mail is still not delivered after this long."
    ] = timedelta(hours=4)
