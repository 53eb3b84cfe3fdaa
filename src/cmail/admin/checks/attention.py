"""What checks say on Home: certificate about to end, disk full, clock wrong, our log-in refused."""

from collections.abc import Sequence
from typing import Final

from cmail.admin.checks.board import CheckBoard
from cmail.admin.checks.finding import Finding, State
from cmail.admin.checks.upstream import REFUSED
from cmail.admin.overview import Attention, Overview

PATH: Final = "/checks"
# How old may be what is told: kinds of checks, seconds. The clock is asked of others, so seldom.
FRESH: Final = (("disk", 60.0), ("certificate", 3600.0), ("clock", 6 * 3600.0))


class CheckFinder:
    """A finder of admin.overview: it never waits for a check."""

    def __init__(self, board: CheckBoard) -> None:
        self._board = board

    async def __call__(self, overview: Overview) -> Sequence[Attention]:
        """What is known now; what is old is checked anew meanwhile."""
        for kind, age_s in FRESH:
            if kind != "clock" or overview.is_online:
                self._board.refresh(age_s, (kind,))
        found = [self._told(name) for name in ("certificate", "disk", "clock", "upstream")]
        return [each for each in found if each is not None]

    def _told(self, name: str) -> Attention | None:
        finding = self._board.finding(name)
        if finding is None or not _is_urgent(name, finding):
            return None
        return Attention(finding.found, finding.advice, PATH)


def _is_urgent(name: str, finding: Finding) -> bool:
    if name == "upstream":
        return finding.state is State.WRONG and finding.found.startswith(REFUSED)
    return finding.state is State.WRONG or finding.is_soon
