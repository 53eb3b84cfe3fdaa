"""Finding: what a check says - what is, what should be, what to do, the record to copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """How it stands, in the word that is shown."""

    GOOD = "good"
    LOOK = "look at it"
    WRONG = "wrong"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Finding:
    """The end of one check."""

    state: State
    found: str  # what is
    expected: str = ""  # what should be
    advice: str = ""  # what to do; "" when there is nothing to do
    records: Sequence[str] = ()  # lines for the zone of the domain, to copy
    raw: Sequence[str] = ()  # what was said, as it was said
    is_soon: bool = False  # not wrong yet, but it will be: needs attention


class NotKnownError(Exception):
    """Ends a check from wherever it is found that it cannot be done."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.found)
        self.finding = finding


OFFLINE: Final = Finding(State.UNKNOWN, "Off line: cannot be checked now.", advice="Check again on line.")


def worst(states: Sequence[State]) -> State:
    """Of several: what is wrong first, then what is not known."""
    for state in (State.WRONG, State.LOOK, State.UNKNOWN):
        if state in states:
            return state
    return State.GOOD


def listed(values: Sequence[object]) -> str:
    """One, two and three."""
    texts = [str(value) for value in values]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
