"""until(): what a test waits for that has no event: another thread's, another process's, a few turns of the loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

LONG_S: Final = 40.0  # never the point of a test
LOOK_S: Final = 0.002


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until it holds."""
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(LOOK_S)
