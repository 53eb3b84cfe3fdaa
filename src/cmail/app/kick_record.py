"""KickRecord: what became of each step of the kick plan the last time, and of the plan, for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cmail.link.kick_plan import KickEnding, Told
from cmail.link.settings import KickSettings

_SAID = ("sent", "nothing", "not now", "refused")  # states of kick_plan.Told: what the server said


@dataclass(slots=True)
class _Step:
    """One of them: what was said there, and what came of it."""

    plan: KickSettings
    state: str = ""
    said: str = ""
    then: str = ""
    attempt: int = 0
    at_ms: int = 0

    def fields(self) -> dict[str, Any]:
        """As they go over a control socket."""
        plan = self.plan
        return {
            "method": plan.method,
            "host": plan.host,
            "port": plan.port,
            "text": plan.text,
            "state": self.state,
            "said": self.said,
            "then": self.then,
            "attempt": self.attempt,
            "at_ms": self.at_ms,
        }


class KickRecord:
    """Kept as long as the plan of the settings stays the same."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._steps: list[_Step] = []
        self._ending: KickEnding | None = None
        self._ended_ms = 0

    def apply(self, plan: Sequence[KickSettings]) -> None:
        """Other settings, perhaps the same."""
        if [step.plan for step in self._steps] != list(plan):
            self._steps = [_Step(step) for step in plan]
            self._ending, self._ended_ms = None, 0

    def begin(self) -> None:
        """From the first step on: what was before is over."""
        self._steps = [_Step(step.plan) for step in self._steps]

    def tell(self, told: Told) -> None:
        """One line of the plan at work."""
        if told.step > len(self._steps):
            return  # other settings hold already
        step = self._steps[told.step - 1]
        words = told.words.removeprefix("kick: ")
        if told.state in _SAID:
            step.said, step.then = words, ""
        else:
            step.then = words
        step.state, step.attempt, step.at_ms = told.state, told.attempt, self._wall_ms()

    def end(self, ending: KickEnding) -> None:
        """The plan is over."""
        self._ending, self._ended_ms = ending, self._wall_ms()

    def fields(self) -> dict[str, Any]:
        """As they go over a control socket."""
        return {
            "steps": [step.fields() for step in self._steps],
            "ending": self._ending.value if self._ending is not None else "",
            "ended_ms": self._ended_ms,
        }
