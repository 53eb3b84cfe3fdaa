"""What an operator may ask of the quarantine, for page and command: listing, looking, repairing, deciding.

All of it works on files and blocks, but releasing: that the server does, which has the spool."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cmail.admin.overview import Attention, Overview
from cmail.mail.headers import header_of
from cmail.policy.validation.rules import RULES, Defect, Does
from cmail.storage.quarantine import Kept, Plan, Quarantine

SHOWN_MAX: Final = 32 * 1024  # octets of a message that a person is shown
NOTED_ROWS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Look:
    """One message, to be looked at: letters only, nothing of it does anything."""

    kept: Kept
    header: str
    text: str
    is_cut: bool
    plan: Plan | None  # None: no repair is safe

    @property
    def header_repaired(self) -> str:
        """What the header would be after the repair."""
        return inert(self.plan.head_after) if self.plan else ""


def look_at(quarantine: Quarantine, text: str) -> Look:
    """QuarantineError: it is not there."""
    kept = quarantine.get(text)
    first = quarantine.head(text, SHOWN_MAX + 1)
    header = header_of(first[:SHOWN_MAX])
    plan = quarantine.plan(text)
    return Look(
        kept,
        inert(header),
        inert(first[len(header) : SHOWN_MAX].removeprefix(b"\r\n")),
        len(first) > SHOWN_MAX,
        plan if plan.done else None,
    )


def inert(octets: bytes) -> str:
    """Octets as text: lines stay lines, what is no letter is shown as one and does nothing."""
    text = octets.decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def row(kept: Kept) -> dict[str, Any]:
    """For `cmail quarantine list --json`."""
    return {
        "id": kept.id,
        "from": kept.envelope.reverse_path_text,
        "to": [each.forward_path.text for each in kept.envelope.recipients],
        "origin": kept.origin,
        "kept_ms": kept.kept_ms,
        "removed_ms": kept.removed_ms,
        "size": kept.size_bytes,
        "defects": [{"rule": each.rule.name, "words": each.text} for each in refusals(kept.defects)],
        "repairs": list(kept.repairs),
    }


def refusals(defects: Sequence[Defect]) -> list[Defect]:
    """Those for which it is here."""
    return [each for each in defects if each.rule.does is Does.REFUSE]


@dataclass(frozen=True, slots=True)
class NotedSender:
    """What was noted of one sender's messages, all workers together."""

    sender: str
    messages: int
    last_ms: int
    notes: Sequence[tuple[str, int]]  # in words, and how often; the most frequent first


class QuarantineFinder:
    """Says on Home that something is in quarantine (admin.overview.Finder)."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine

    async def __call__(self, _overview: Overview) -> Sequence[Attention]:
        """Nothing, when it is empty."""
        count = await asyncio.to_thread(self._quarantine.count)
        if not count:
            return []
        words = "1 message is in quarantine." if count == 1 else f"{count} messages are in quarantine."
        advice = "Look at it: release, repair or delete it. What is left alone goes after 30 days."
        return [Attention(words, advice, "/quarantine")]


def noted_senders(rows: Sequence[Mapping[str, Any]]) -> list[NotedSender]:
    """Added up over the workers; who wrote last first."""
    totals: dict[str, tuple[int, int, dict[str, int]]] = {}
    for each in rows:
        messages, last_ms, rules = totals.get(each["sender"], (0, 0, {}))
        for name, count in each["rules"].items():
            rules[name] = rules.get(name, 0) + int(count)
        totals[each["sender"]] = messages + int(each["messages"]), max(last_ms, int(each["last_ms"])), rules
    found = [
        NotedSender(sender, messages, last_ms, _in_words(rules))
        for sender, (messages, last_ms, rules) in totals.items()
    ]
    return sorted(found, key=lambda each: -each.last_ms)[:NOTED_ROWS_MAX]


def counted(figures: Mapping[str, Mapping[str, int]], does: Does) -> list[tuple[str, int]]:
    """How often which rule refused or noted something since the server was started, in words."""
    name = "cmail_validation_refused_total" if does is Does.REFUSE else "cmail_validation_noted_total"
    return _in_words(figures.get(name, {}))


def _in_words(rules: Mapping[str, int]) -> list[tuple[str, int]]:
    found = [(rule_words(name), count) for name, count in rules.items() if count]
    return sorted(found, key=lambda each: (-each[1], each[0]))


def rule_words(name: str) -> str:
    """A rule in words, where no field stands beside it."""
    rule = RULES.get(name)
    if rule is None:
        return name
    field = _FIELD_OF.get(name.partition("-")[0] if not name.startswith("message-id") else "message-id", "")
    return f"{field}: {rule.words}" if field else rule.words


_FIELD_OF: Final = {
    "from": "From",
    "date": "Date",
    "sender": "Sender",
    "message-id": "Message-ID",
    "twice": "A field",
}
