"""Versions: the settings files that were saved before, the last twenty, with who changed what when."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from cmail.storage import durable
from cmail.web.desk import Change, Version

KEPT: Final = 20
_SUFFIX: Final = ".json"


class Versions:
    """A folder with a file each. Blocks."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def keep(self, text: str, by: str, changes: Sequence[Change]) -> None:
        """Keep a text as the newest version, unless the newest is the same; the oldest go."""
        numbers = self._numbers()
        if numbers and self.text(numbers[-1]) == text:
            return
        number = numbers[-1] + 1 if numbers else 1
        kept = {
            "wall_ms": time.time_ns() // 1_000_000,
            "by": by,
            "changes": [asdict(change) for change in changes],
            "text": text,
        }
        durable.make_folder(self._folder)
        durable.write_durably(self._path(number), json.dumps(kept).encode())
        for old in [*numbers, number][:-KEPT]:
            durable.remove(self._path(old))

    def all(self) -> list[Version]:
        """The newest first."""
        found = []
        for number in reversed(self._numbers()):
            kept = self._read(number)
            changes = [Change(**change) for change in kept["changes"]]
            found.append(Version(number, kept["wall_ms"], kept["by"], changes))
        return found

    def text(self, number: int) -> str:
        """KeyError: there is no such version."""
        return str(self._read(number)["text"])

    def _read(self, number: int) -> dict[str, Any]:
        try:
            with open(self._path(number), "rb") as file:
                kept: dict[str, Any] = json.load(file)
                return kept
        except FileNotFoundError:
            raise KeyError(number) from None

    def _numbers(self) -> list[int]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        stems = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, f"{number:06d}{_SUFFIX}")
