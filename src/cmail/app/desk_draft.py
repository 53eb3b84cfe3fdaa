"""KeptDraft: what somebody has changed and not saved yet, in DATA/admin/draft.json: no restart loses it.

Key by key the new value and the one that the file had when it was drafted, so that a file that is edited by
hand meanwhile is merged, or asked about, and never overwritten."""

import json
import os
from collections.abc import Collection
from typing import Final

from cmail.app.desk_values import Raw, pack, unpack
from cmail.observe import maillog
from cmail.storage import durable

DRAFT_OCTETS_MAX: Final = 1 << 20


class KeptDraft:
    """`values`: as they are to be; `base`: what the file had."""

    def __init__(self, folder: str, known: Collection[str]) -> None:
        """`known`: the keys that there are; others are forgotten."""
        self._folder = folder
        self._path = os.path.join(folder, "draft.json")
        self.values: dict[str, Raw] = {}
        self.base: dict[str, Raw] = {}
        self._load(known)

    def _load(self, known: Collection[str]) -> None:
        try:
            with open(self._path, "rb") as file:
                kept = json.loads(file.read(DRAFT_OCTETS_MAX))
            draft = {key: unpack(value) for key, value in kept["draft"].items() if key in known}
            base = {key: unpack(kept["base"][key]) for key in draft}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            maillog.warned(f"the draft of the settings cannot be read and is left out: {error}")
            return
        self.values, self.base = draft, base

    def keep(self, values: dict[str, Raw], base: dict[str, Raw]) -> None:
        """This is the draft now; durable when it returns."""
        packed = {
            "draft": {key: pack(value) for key, value in values.items()},
            "base": {key: pack(value) for key, value in base.items()},
        }
        durable.make_folder(self._folder)
        durable.write_durably(self._path, json.dumps(packed).encode())
        self.values, self.base = values, base
