"""Row: one thing that can stand in the way of a message, in plain words, and how it is recognised."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Whose(Enum):
    """Whose trouble it is."""

    OURS = "ours"
    THEIRS = "theirs"
    LINE = "the line's"
    RECIPIENT = "the recipient's"
    MESSAGE = "the message's"
    NOBODY = "nobody's"  # it is as somebody wanted it


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that can stand in the way."""

    name: str
    whose: Whose
    sentence: str
    advice: str  # for who looks at the page; "" when there is nothing to do but wait
    path: str = ""  # the page where it is done
    command: str = ""  # the advice for who sits at a command line, where that is another one; {id}
    phrases: Sequence[str] = ()  # parts of what is said, small letters; * is a gap
    statuses: Sequence[str] = ()  # "5.1.1"; x.1.1: of either class
    replies: Sequence[str] = ()  # "535", "5@log-in": the beginning of the code, and the stage

    def advice_for(self, *, is_page: bool) -> str:
        """What to do, there or here."""
        return self.advice if is_page else self.command or self.advice
