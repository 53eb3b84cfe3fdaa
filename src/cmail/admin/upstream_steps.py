"""Step: one thing that a test of a connection has tried, in plain words, with what to do when it failed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

State = Literal["ok", "note", "failed", "not tried"]

LINE: Final = "Line"
NAME: Final = "Name"
MAIL_HOSTS: Final = "Mail hosts"
CONNECTION: Final = "Connection"
GREETING: Final = "Greeting"
OFFERS: Final = "What it offers"
ENCRYPTION: Final = "Encryption"
LOG_IN: Final = "Log-in"
SENDER: Final = "Sender"

_CLEAR_FIRST: Final = (CONNECTION, GREETING, OFFERS, ENCRYPTION, LOG_IN, SENDER)
_TLS_FIRST: Final = (CONNECTION, ENCRYPTION, GREETING, OFFERS, LOG_IN, SENDER)


@dataclass(frozen=True, slots=True)
class Step:
    """How one thing went."""

    name: str
    state: State
    words: str
    advice: str = ""  # what to do; "" when there is nothing to do
    raw: Sequence[str] = ()  # what was said on the line; no secret is in it


@dataclass(slots=True)
class Report:
    """Steps as they are found; one that is said again replaces what was said before."""

    found: dict[str, Step] = field(default_factory=dict)

    def say(self, name: str, state: State, words: str, advice: str = "", raw: Sequence[str] = ()) -> None:
        """One more step."""
        self.found[name] = Step(name, state, words, advice, tuple(raw))

    @property
    def has_failed(self) -> bool:
        """Whether it need not go on."""
        return any(step.state == "failed" for step in self.found.values())

    def steps(self, *, is_tls_first: bool, has_log_in: bool) -> list[Step]:
        """All of them in their order, with those that were not come to."""
        order: list[str] = [name for name in (LINE, NAME, MAIL_HOSTS) if name in self.found]
        order += _TLS_FIRST if is_tls_first else _CLEAR_FIRST
        missing = Step("", "not tried", "An earlier step has failed.")
        return [
            self.found.get(name) or Step(name, missing.state, missing.words)
            for name in order
            if name != LOG_IN or has_log_in or name in self.found
        ]


def is_fine(steps: Sequence[Step]) -> bool:
    """Whether mail would go this way."""
    return not any(step.state == "failed" for step in steps)
