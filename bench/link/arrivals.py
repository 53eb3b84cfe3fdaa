"""What has arrived on the far side, and when: the files of its mailboxes, by the numbers in their headers."""

import os
import re
import time
from pathlib import Path

from corpus import FIELD

_NUMBER = re.compile(FIELD.encode() + rb": (\d+)")
HEAD_OCTETS = 4096
LOOK_S = 0.02


class Arrivals:
    """look() now and then; `at` is when each number was first seen (monotonic)."""

    def __init__(self, mailboxes: Path) -> None:
        self._mailboxes = mailboxes
        self._seen: set[str] = set()
        self.at: dict[int, float] = {}
        self.duplicates = 0
        self.others = 0  # without a number: bounces, notices

    def look(self) -> None:
        """Read what is new."""
        now = time.monotonic()
        for folder, _, names in os.walk(self._mailboxes):
            if os.path.basename(folder) == "new":
                for name in names:
                    self._read(os.path.join(folder, name), now)

    def _read(self, path: str, now: float) -> None:
        if path in self._seen:
            return
        self._seen.add(path)
        with open(path, "rb") as file:
            found = _NUMBER.search(file.read(HEAD_OCTETS))
        if found is None:
            self.others += 1
        elif (number := int(found[1])) in self.at:
            self.duplicates += 1
        else:
            self.at[number] = now

    def wait(self, count: int, until: float) -> bool:
        """Until so many have come; False: not by then (monotonic)."""
        while True:
            self.look()
            if len(self.at) >= count:
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(LOOK_S)
