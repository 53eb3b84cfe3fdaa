"""A plan of kicks: each step tried, repeated and given up in its turn, until mail comes. No I/O here."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from cmail.link.kicks.target import KickResult, Verdict
from cmail.link.settings import KickSettings

POLL_S: Final = 0.5  # how often we look whether mail came
LOOK_S: Final = 2.0  # it says that nothing waits: perhaps because our log-in has sent it off already
AGAIN_S: Final = 10.0  # nobody was there: a line that has just come up may need a moment


class KickEnding(Enum):
    """How a plan ended."""

    ANSWERED = "answered"  # mail came
    NOTHING = "nothing waits"  # a server said that there is nothing for us
    UNANSWERED = "unanswered"
    STOPPED = "stopped"  # the link went down, or it was begun anew


class Came(NamedTuple):
    """Messages so far: from outside, or from who was kicked; `own`: those from the kicked addresses."""

    messages: int
    own: int


@dataclass(frozen=True, slots=True)
class Told:
    """One line of a plan at work, for people and programs."""

    step: int  # from 1
    steps: int
    method: str
    host: str
    attempt: int  # of the step, from 1
    state: str  # sent, nothing, not now, refused: what the server said; answered, unanswered, stopped: then
    words: str

    def fields(self) -> dict[str, Any]:
        """As they go over a control socket."""
        return asdict(self)


class Ground(Protocol):
    """What a plan stands on."""

    async def kick(self, step: KickSettings) -> KickResult:
        """One try. Before it, whoever is kicked is watched (arrivals)."""
        ...

    async def arrivals(self, step: KickSettings) -> Came:
        """How many messages have come from who is kicked by this step, or from outside at all."""
        ...

    def answers_itself(self, step: KickSettings) -> bool:
        """Whether mail has come from the very addresses that were kicked, at an earlier kick."""
        ...

    def answered_itself(self, step: KickSettings) -> None:
        """It has."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def is_down(self) -> bool:
        """Whether the link is down, so that nothing can come."""
        ...


Tell = Callable[[Told], None]


async def run_plan(steps: Sequence[KickSettings], ground: Ground, tell: Tell) -> KickEnding:
    """All of it, in order; ends at the first step that brings mail."""
    endings = []
    for number, step in enumerate(steps, 1):
        ending = await _Step(step, number, len(steps), ground, tell).run()
        if ending in (KickEnding.ANSWERED, KickEnding.STOPPED):
            return ending
        endings.append(ending)
    return KickEnding.NOTHING if KickEnding.NOTHING in endings else KickEnding.UNANSWERED


class _Step:
    """One step of the plan."""

    def __init__(self, step: KickSettings, number: int, steps: int, ground: Ground, tell: Tell) -> None:
        self._step, self._number, self._steps = step, number, steps
        self._ground, self._tell_all = ground, tell
        self._attempt = 0
        self._came = Came(0, 0)  # what had come before the first try that was taken

    async def run(self) -> KickEnding:
        step, is_sent = self._step, False
        for attempt in range(1, step.repeat + 2):
            self._attempt = attempt
            if not is_sent:
                self._came = await self._ground.arrivals(step)
            result = await self._ground.kick(step)
            self._tell(result.verdict.value, result.words)
            is_sent = is_sent or result.is_sent
            is_last = attempt > step.repeat
            if result.verdict is Verdict.REFUSED:
                return KickEnding.UNANSWERED
            if result.verdict is Verdict.NOTHING:
                return await self._wait(LOOK_S, is_sent=True) or KickEnding.NOTHING
            if not result.is_sent and not is_sent and is_last:
                return KickEnding.UNANSWERED
            wait_s = step.wait.total_seconds()
            ending = await self._wait(wait_s if result.is_sent else min(wait_s, AGAIN_S), is_sent=is_sent)
            if ending is None and is_last and is_sent and await self._has_come(is_strict=False):
                return KickEnding.ANSWERED
            if ending is not None:
                return ending
            if result.is_sent:
                self._tell("unanswered", f"kick: no mail came within {wait_s:g} s")
        return KickEnding.UNANSWERED

    async def _wait(self, left_s: float, *, is_sent: bool) -> KickEnding | None:
        """Until mail comes, the time is over or the link is down. None: the time is over."""
        is_strict = self._attempt == 1 and self._ground.answers_itself(self._step)
        while left_s > 0:
            if is_sent and await self._has_come(is_strict=is_strict):
                return KickEnding.ANSWERED
            if self._ground.is_down():
                self._tell("stopped", "kick: the link is down, the kick ends")
                return KickEnding.STOPPED
            await self._ground.sleep(min(POLL_S, left_s))
            left_s -= POLL_S
        return KickEnding.ANSWERED if is_sent and await self._has_come(is_strict=is_strict) else None

    async def _has_come(self, *, is_strict: bool) -> bool:
        """A stranger may send something just then: of a host that has answered from its own addresses before
        that is no answer, until it was kicked once more."""
        now = await self._ground.arrivals(self._step)
        own = now.own - self._came.own
        count = own if is_strict else now.messages - self._came.messages
        if count <= 0:
            return False
        if own > 0:
            self._ground.answered_itself(self._step)
        words = "a message has come" if count == 1 else f"{count} messages have come"
        self._tell("answered", f"kick: answered: {words}")
        return True

    def _tell(self, state: str, words: str) -> None:
        step = self._step
        self._tell_all(Told(self._number, self._steps, step.method, step.host, self._attempt, state, words))
