"""Result: how a collection ended, for the log, the page and who waits for it."""

from dataclasses import dataclass, field
from typing import Any

from cmail.link.collect.box import Fault


@dataclass(slots=True)
class Result:
    """How a collection ended."""

    name: str
    is_ok: bool = True
    words: str = ""
    fault: Fault | None = None
    fetched: int = 0
    quarantined: int = 0
    previewed: int = 0
    left: int = 0
    deleted: int = 0
    octets_in: int = 0
    was_tried: bool = True
    is_silence: bool = False  # nobody answered
    notes: list[str] = field(default_factory=list)
    told: int = 0  # of what was fetched

    def fields(self) -> dict[str, Any]:
        """For who asks."""
        return {
            "name": self.name,
            "is_ok": self.is_ok,
            "words": self.words,
            "fetched": self.fetched,
            "quarantined": self.quarantined,
            "previewed": self.previewed,
            "left": self.left,
            "deleted": self.deleted,
            "octets_in": self.octets_in,
        }

    def tell(self) -> str:
        """One line for people."""
        if not self.is_ok or not self.was_tried:
            return f"{self.words} (before that {self.fetched} fetched)" if self.fetched else self.words
        said = [f"{self.fetched} fetched" if self.fetched else "nothing new"]
        said += [f"{self.quarantined} of them in quarantine"] if self.quarantined else []
        said += [f"{self.previewed} too large, previews made"] if self.previewed else []
        said += [f"{self.left} left there"] if self.left else []
        return "; ".join([", ".join(said), *self.notes])
