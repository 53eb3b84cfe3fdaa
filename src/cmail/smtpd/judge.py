"""Validation where messages come in: who looks when, and what is counted of it.

What is refused is counted by rule; what is noted by rule and by sender, in a table that does not grow."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from cmail.observe import metrics
from cmail.policy.validation.examine import Examination, examine, is_quick
from cmail.policy.validation.rules import Verdict
from cmail.protocol.smtp.commands import Mail

SENDERS_MAX: Final = 500  # the one that was silent for longest makes room


def begin_examination(mail: Mail) -> Examination:
    """Of content that comes in pieces."""
    return Examination(is_report=mail.reverse_path is None, is_utf8=mail.is_smtputf8)


def judge(mail: Mail, octets: bytes, header: bytes) -> Verdict:
    """Of content in memory."""
    return examine(octets, header, is_report=mail.reverse_path is None, is_utf8=mail.is_smtputf8)


def judge_now(mail: Mail, octets: bytes, header: bytes) -> Verdict | None:
    """The same where it takes no time; None: it belongs into a thread (rule 5)."""
    return judge(mail, octets, header) if is_quick(octets, header) else None


def count_refusal(verdict: Verdict) -> None:
    """A message was refused."""
    refusal = verdict.refusal
    if refusal is not None:
        metrics.VALIDATION_REFUSED.of(refusal.rule.name).value += 1


@dataclass(slots=True)
class SenderNotes:
    """What was noted of the messages of one sender."""

    messages: int = 0
    last_ms: int = 0
    rules: dict[str, int] = field(default_factory=dict)


class Noted:
    """What was noted in this process since it began, by the reverse-path."""

    def __init__(self) -> None:
        self._senders: dict[str, SenderNotes] = {}

    def add(self, sender: str, verdict: Verdict, now_ms: int) -> None:
        """A message that passed with notes."""
        found = self._senders.pop(sender, None)
        if found is None:
            found = SenderNotes()
            if len(self._senders) >= SENDERS_MAX:
                del self._senders[next(iter(self._senders))]
        self._senders[sender] = found  # at the end: the first is the one that was silent for longest
        found.messages += 1
        found.last_ms = now_ms
        for each in {note.rule.name for note in verdict.notes}:
            metrics.VALIDATION_NOTED.of(each).value += 1
            found.rules[each] = found.rules.get(each, 0) + 1

    def rows(self) -> Iterable[dict[str, Any]]:
        """For who asks: sender, messages, last_ms, rules."""
        for sender, found in list(self._senders.items()):
            yield {
                "sender": sender,
                "messages": found.messages,
                "last_ms": found.last_ms,
                "rules": dict(found.rules),
            }
