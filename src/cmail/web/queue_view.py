"""The queue as pages show it: what is looked for, the rows with their words, what is ticked in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from cmail.admin.overview import Overview
from cmail.admin.processes import Processes
from cmail.admin.rows import Row
from cmail.admin.why import Why, explain
from cmail.mail.queue_id import parse_queue_id

PAGE: Final = 100
POSITION_MAX: Final = 1 << 31
_DIGITS_MAX: Final = 9
_UNITS_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
STATES: Final = (("", "all"), ("queued", "waits"), ("held", "on hold"))
_STATE_WORDS: Final = {
    "queued": "waits",
    "held": "on hold",
    "delivered": "delivered",
    "failed": "failed; its sender was told",
    "expired": "given up in the end; its sender was told",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, as it was typed; the names of the fields are those of the form."""

    from_: str = ""
    to: str = ""
    domain: str = ""
    state: str = ""
    reason: str = ""
    older: str = ""  # "4h"

    @property
    def older_ms(self) -> int | None:
        """None: it is no time."""
        number, unit = self.older[:-1], self.older[-1:]
        if not self.older:
            return 0
        if unit not in _UNITS_MS or not (number.isascii() and number.isdigit()) or len(number) > _DIGITS_MAX:
            return None
        return int(number) * _UNITS_MS[unit]

    @property
    def error(self) -> str:
        """What is wrong with it, in words."""
        if self.older_ms is None:
            return f"“{self.older}” is no time. Write it as 30m, 4h or 2d."
        if self.state not in dict(STATES):
            return f"There is no state “{self.state}”."
        return ""

    def __bool__(self) -> bool:
        return any(self.fields().values())

    def fields(self) -> dict[str, str]:
        """As in the form."""
        return {
            "from": self.from_,
            "to": self.to,
            "domain": self.domain,
            "state": self.state,
            "reason": self.reason,
            "older": self.older,
        }

    def query(self, **more: str) -> str:
        """For the address of a page."""
        return urlencode({name: text for name, text in {**self.fields(), **more}.items() if text})

    def filter(self) -> dict[str, Any]:
        """For the workers (admin.entries.filter_of); empty: everything."""
        what: dict[str, Any] = {
            name: text for name, text in self.fields().items() if text and name not in ("state", "older")
        }
        if self.state:
            what["states"] = [self.state]
        if self.older_ms:
            what["older_than_ms"] = self.older_ms
        return what


def read_wanted(given: Mapping[str, Any]) -> Wanted:
    """From the query of a page, or from the hidden fields of its form."""

    def text(name: str) -> str:
        value = given.get(name, "")
        return value.strip() if isinstance(value, str) and value.isprintable() else ""

    return Wanted(text("from"), text("to"), text("domain"), text("state"), text("reason"), text("older"))


@dataclass(frozen=True, slots=True)
class Shown:
    """One recipient in a list."""

    row: Row
    why: Why
    asked_ms: int

    @property
    def pick(self) -> str:
        """What its box stands for, and where the next page begins."""
        return f"{self.row['id']}.{self.row['position']}"

    @property
    def is_due(self) -> bool:
        """Whether its next attempt is now."""
        return 0 < int(self.row["next_ms"]) <= self.asked_ms

    @property
    def is_being_sent(self) -> bool:
        """Whether a connection has it in hand."""
        return self.row.get("sent_for_ms") is not None

    @property
    def state(self) -> str:
        """In words."""
        return _STATE_WORDS.get(self.row["state"], str(self.row["state"]))


def read_pick(text: str) -> tuple[str, int]:
    """Queue id and position of a recipient; ValueError: it is none."""
    queue_id, _, position = text.partition(".")
    parse_queue_id(queue_id)
    if not (position.isascii() and position.isdigit()) or int(position[: _DIGITS_MAX + 1]) > POSITION_MAX:
        raise ValueError(f"{text!r:.40} names no recipient")
    return queue_id.upper(), int(position)


def shown(row: Row, overview: Overview) -> Shown:
    """A row with its words."""
    queue = overview.queue or {}
    told = explain(
        row,
        overview.asked_wall_ms,
        is_link_down=bool(queue.get("is_link_down")),
        is_batch=bool(queue.get("is_batch")),
        is_page=True,
    )
    return Shown(row, told, overview.asked_wall_ms)


async def find(
    processes: Processes, overview: Overview, wanted: Wanted, limit: int = PAGE, after: str = ""
) -> tuple[Sequence[Shown], str]:
    """The first recipients of what is wanted, and where the next page begins; "": there is none."""
    behind = (0, -1)
    if after:
        queue_id, position = read_pick(after)
        behind = (parse_queue_id(queue_id), position)
    rows = await processes.rows(wanted.filter(), limit + 1, behind)
    found = [shown(row, overview) for row in rows[:limit]]
    return found, found[-1].pick if len(rows) > limit else ""


def selection(picks: Sequence[object]) -> Mapping[str, Any]:
    """The filter of what is ticked. ValueError: nothing is, or not by our form."""
    chosen = [read_pick(str(pick)) for pick in picks]
    if not chosen:
        raise ValueError("nothing is ticked")
    return {"recipients": [[queue_id, position] for queue_id, position in chosen]}
