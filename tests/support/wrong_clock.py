"""WrongClock: the wall clock of a server, set while it runs, by libfaketime; its monotonic clock stays true.

That is also what a machine does that sleeps: CLOCK_MONOTONIC stands still meanwhile, the wall clock has jumped."""

import datetime
import glob
import os
import time
from pathlib import Path
from typing import Final

LIBRARY: Final = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), "")


class WrongClock:
    """`RunningCmail(..., environ=clock.environ)`, then clock.set(seconds from the true time)."""

    def __init__(self, folder: Path, offset_s: int = 0) -> None:
        self._file = folder / "clock"
        self.set(offset_s)

    @property
    def environ(self) -> dict[str, str]:
        """What a server that is to have this clock is started with."""
        return {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset_s: int) -> None:
        """From now on the server's clock is off by so much."""
        self.offset_s = offset_s
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}\n")
        new.chmod(0o644)
        os.replace(new, self._file)

    def now(self) -> float:
        """What the server takes for now."""
        return time.time() + self.offset_s


def offset_to(time_of_day: str, days: int = 0) -> int:
    """Seconds from now to a time of today, or of a day after it."""
    hour, minute, second = (int(part) for part in time_of_day.split(":"))
    now = datetime.datetime.now()
    then = now.replace(hour=hour, minute=minute, second=second) + datetime.timedelta(days=days)
    return round((then - now).total_seconds())
