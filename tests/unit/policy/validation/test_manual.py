"""The manual of Validation says what the table of rules says."""

from pathlib import Path

from cmail.policy.validation.rules import RULES, Does, Rule

MANUAL = Path(__file__).parents[4] / "docs" / "validation.md"


def row(rule: Rule) -> str:
    """Its line in the manual."""
    return f"| `{rule.name}` | {rule.words} | {rule.source} |"


def test_every_rule_stands_in_the_manual() -> None:
    """Under what it does, word for word and in the order of the table; and no other rule stands there."""
    text = MANUAL.read_text()
    refused, _, noted = text.partition("## What is noted")
    for does, part in ((Does.REFUSE, refused), (Does.NOTE, noted)):
        rows = [line for line in part.splitlines() if line.startswith("| `")]
        assert rows == [row(rule) for rule in RULES.values() if rule.does is does]
