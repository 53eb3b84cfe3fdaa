"""Spending: what went over a link today, and in the window or exchange that is open. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from cmail.link.settings import ViaSettings
from cmail.link.windows import open_until, parse_slots

_TURN_MAX: Final = 40  # characters


@dataclass(frozen=True, slots=True)
class Used:
    """Octets, out and in."""

    today: int = 0
    in_turn: int = 0  # of its windows, or of exchanges


FRESH: Final = Used()


def turn_of(via: ViaSettings, exchange: str, now_s: float, zone: tzinfo | None = None) -> str:
    """Which turn of a link it is: its window by the end, else the exchange; "" when neither is open. By its
    end a window is the same one after a restart, and after a link-up in it."""
    if not via.window:
        return exchange
    until_s = open_until(parse_slots(via.window), now_s, zone)
    return f"until {round(until_s)}" if until_s is not None else ""


@dataclass(slots=True)
class Spending:
    """Of one link. What goes outside of any window or exchange counts for its day alone."""

    day: str = ""
    today: int = 0
    turn: str = ""
    in_turn: int = 0

    def add(self, octets: int, day: str, turn: str) -> None:
        """So many octets went."""
        used = self.of(day, turn)
        self.day, self.today = day, used.today + octets
        if turn:
            self.turn, self.in_turn = turn, used.in_turn + octets

    def of(self, day: str, turn: str) -> Used:
        """What was used of a day and a turn."""
        return Used(self.today if self.day == day else 0, self.in_turn if turn and self.turn == turn else 0)

    def record(self) -> dict[str, Any]:
        """What of it outlives us."""
        return {"day": self.day, "used": self.today, "turn": self.turn, "used_in_turn": self.in_turn}

    def resume(self, record: Mapping[str, Any]) -> None:
        """Go on from a record; what makes no sense in it is left out."""
        day, today, turn, in_turn = (record.get(name) for name in ("day", "used", "turn", "used_in_turn"))
        if isinstance(day, str) and type(today) is int and today >= 0:
            self.day, self.today = day[:10], today
        if isinstance(turn, str) and type(in_turn) is int and in_turn >= 0:
            self.turn, self.in_turn = turn[:_TURN_MAX], in_turn
