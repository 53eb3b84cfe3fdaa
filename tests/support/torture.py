"""Torture: what a part of `make torture` tells, and the table of all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.support.ledger import Balance

Say = Callable[[str], None]  # the progress line: short words about where the part is


@dataclass
class Summary:
    """How one part ended. `broken` holds what should have held and did not, in words; empty: all did."""

    accepted: int = 0  # messages that got their 250
    delivered: int = 0  # of these, at their end
    in_queue: int = 0
    lost: int = 0
    duplicated: int = 0  # arrived more often than once
    notes: list[str] = field(default_factory=list)  # figures, in words
    broken: list[str] = field(default_factory=list)

    def add(self, balance: Balance) -> None:
        """Count a ledger in; a loss is broken by itself."""
        self.accepted += balance.accepted
        self.delivered += balance.delivered
        self.in_queue += balance.in_queue
        self.lost += len(balance.lost)
        self.duplicated += len(balance.duplicated)
        if balance.lost:
            self.broken.append(f"lost: {' '.join(balance.lost[:20])}")

    def expect(self, holds: object, words: str) -> None:
        """What should hold; goes on either way, so that all that is wrong is seen in one run."""
        if not holds:
            self.broken.append(words)


_HEAD: Final = ("part", "accepted", "delivered", "in queue", "lost", "duplicated", "seconds", "")


def table(rows: list[tuple[str, Summary, float]]) -> str:
    """All parts with their sums, as text; below it the figures and what broke."""
    lines = [_HEAD, *((name, *_counts(s), f"{took_s:.0f}", _verdict(s)) for name, s, took_s in rows)]
    total = [str(sum(column)) for column in zip(*(map(int, _counts(s)) for _, s, _ in rows), strict=True)]
    lines.append(("all", *total, f"{sum(took_s for _, _, took_s in rows):.0f}", ""))
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEAD))]
    text = [
        "  ".join(
            cell.ljust(width) if n in (0, 7) else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    for name, summary, _ in rows:
        text += [f"{name}: {note}" for note in summary.notes]
        text += [f"{name}: BROKEN: {words}" for words in summary.broken]
    return "\n".join(text)


def _counts(s: Summary) -> tuple[str, ...]:
    return tuple(str(n) for n in (s.accepted, s.delivered, s.in_queue, s.lost, s.duplicated))


def _verdict(summary: Summary) -> str:
    return "BROKEN" if summary.broken else "held"
