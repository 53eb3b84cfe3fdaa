"""Doubt: whether a link that looks well carries anything; when it is probed, and what comes of it. Pure."""

from typing import Final

from cmail.link.judging import State, Verdict

FAILURES: Final = 3  # probes in a row that say down, while nothing is delivered
QUICK_S: Final = 2.0  # between those: each attempt of a message in that time would be counted
TIMEOUTS: Final = 2  # deliveries in a row that time out, to hosts that may be down themselves


class Doubt:
    """Of one link. What it found wrong is `verdict`; None: nothing, or nobody knows yet."""

    def __init__(self) -> None:
        self.is_open = False  # it is to be probed
        self.verdict: Verdict | None = None
        self._failures = 0
        self._timeouts = 0

    def begin(self) -> None:
        """Something happened that makes one look."""
        self.is_open = True

    def seen(self, *, is_ok: bool, kind: str) -> None:
        """How a delivery ended: fine, or for want of a way there ("offline"), or with no answer of the
        upstream server ("silent") or of some other ("timeout")."""
        if is_ok:
            self.end()
        elif kind in ("offline", "silent"):
            self.begin()
        elif kind == "timeout":
            self._timeouts += 1
            if self._timeouts >= TIMEOUTS:
                self._timeouts = 0
                self.begin()

    def answered(self) -> None:
        """A probe got through."""
        self.end()

    def failed(self, words: str) -> None:
        """A probe did not."""
        self._failures += 1
        if self._failures >= FAILURES:
            self.verdict = Verdict(State.DOWN, f"nothing answers: {words}")

    def trapped(self, words: str) -> None:
        """Somebody stands in between (a captive portal): sure at once."""
        self._failures = FAILURES
        self.verdict = Verdict(State.DOWN, words)

    def resume(self, words: str) -> None:
        """What the last run had found wrong is so until a probe gets through, which is tried at once: a
        restart in silence would cost every message an attempt."""
        self.begin()
        self.trapped(words)

    def end(self) -> None:
        """All is well: somebody got through, or said so, or there is nothing to be in doubt of."""
        self.is_open = False
        self.verdict = None
        self._failures = self._timeouts = 0

    def wait_s(self, probe_every_s: float) -> float:
        """Until the next probe."""
        return probe_every_s if self.verdict is not None else min(QUICK_S, probe_every_s)
