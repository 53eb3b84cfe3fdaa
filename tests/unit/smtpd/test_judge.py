"""What is noted of senders: added up, bounded, the one that was silent for longest goes first."""

from cmail.policy.validation import rules
from cmail.policy.validation.rules import Defect, Verdict
from cmail.smtpd.judge import SENDERS_MAX, Noted

NO_DATE = Verdict((Defect(rules.DATE_MISSING, "Date"), Defect(rules.LONG_LINE)))


def test_the_table_does_not_grow() -> None:
    """With more senders than it has room for, those stay that wrote last."""
    noted = Noted()
    for number in range(SENDERS_MAX):
        noted.add(f"s{number}@example.net", NO_DATE, number)
    noted.add("s0@example.net", NO_DATE, 1000)
    noted.add("new@example.net", NO_DATE, 1001)
    rows = list(noted.rows())
    assert len(rows) == SENDERS_MAX
    assert [row["sender"] for row in rows[-2:]] == ["s0@example.net", "new@example.net"]
    assert "s1@example.net" not in {row["sender"] for row in rows}
    assert rows[-2] == {
        "sender": "s0@example.net",
        "messages": 2,
        "last_ms": 1000,
        "rules": {"date-missing": 2, "long-line": 2},
    }


def test_a_rule_counts_once_a_message() -> None:
    """However often a message breaks it."""
    noted = Noted()
    twice = Verdict(
        (Defect(rules.TWICE_HARMLESS, "MIME-Version"), Defect(rules.TWICE_HARMLESS, "Content-ID"))
    )
    noted.add("", twice, 1)
    assert [row["rules"] for row in noted.rows()] == [{"twice-harmless": 1}]
