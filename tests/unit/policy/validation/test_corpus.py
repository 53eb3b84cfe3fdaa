"""The corpus of broken and of odd but valid mail: each rule is pinned in both directions, however it arrives."""

from pathlib import Path
from typing import Final

import pytest

from cmail.mail.content import stuff
from cmail.mail.headers import header_of
from cmail.policy.validation.examine import Examination, examine
from cmail.policy.validation.rules import RULES, Does, Verdict

FOLDER: Final = Path(__file__).parents[3] / "corpus" / "validation"
ELSEWHERE: Final = {"header-too-large", "bare-octets"}  # told while content arrives: tests/integration


def _rows() -> dict[str, tuple[str, str, str]]:
    lines = [line for line in (FOLDER / "verdicts").read_text().splitlines() if not line.startswith("#")]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {name: (who, verdict, notes[0] if notes else "") for name, who, verdict, *notes in rows}


ROWS: Final = _rows()


def octets(name: str) -> bytes:
    """A message as it is on the wire."""
    return stuff((FOLDER / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n"))


def names(verdict: Verdict) -> tuple[str, set[str]]:
    """The rule that refuses, and those that note."""
    refusal = verdict.refusal
    return refusal.rule.name if refusal else "pass", {each.rule.name for each in verdict.notes}


@pytest.mark.parametrize("name", ROWS)
def test_verdict(name: str) -> None:
    """Exactly the rule that refuses it, and exactly what is noted."""
    who, verdict, notes = ROWS[name]
    assert names(examine(octets(name), is_report=who == "report")) == (verdict, set(notes.split()))


@pytest.mark.parametrize("name", ROWS)
def test_pieces_end_the_same(name: str) -> None:
    """Whatever the pieces in which it comes behind its header, the verdict is the same."""
    who, text = ROWS[name][0], octets(name)
    whole = examine(text, is_report=who == "report")
    header = header_of(text)
    for size in (1, 2, 3, 5, 7, 64, 1000) if len(text) < 4000 else (977,):
        examination = Examination(is_report=who == "report")
        examination.begin(header)
        for at in range(0, len(text), size):
            examination.feed(text[at : at + size])
        found = examination.finish()
        assert names(found) == names(whole), size


def test_the_corpus_is_whole() -> None:
    """Each file has a row and each row a file; each rule is there, and mail that passes is no less than broken."""
    assert {path.stem for path in FOLDER.glob("*.eml")} == ROWS.keys()
    told = {rule for _, verdict, notes in ROWS.values() for rule in (verdict, *notes.split())} - {"pass"}
    assert told | ELSEWHERE == RULES.keys()
    broken = sum(verdict != "pass" for _, verdict, _ in ROWS.values())
    assert broken > 40 and len(ROWS) - broken > 60


def test_replies_are_lines() -> None:
    """What a sender's server is told is one printable ASCII line of a bounded length with code, field and
    defect (rule 17)."""
    for name, (who, verdict, _) in ROWS.items():
        refusal = examine(octets(name), is_report=who == "report").refusal
        assert (refusal is not None) == (verdict != "pass")
        if refusal is not None:
            reply = refusal.reply
            assert reply.startswith(b"550 5.6.0 Validation: ") and reply.endswith(b")\r\n"), name
            assert reply[:-2].decode("ascii").isprintable() and len(reply) <= 512


def test_the_table_of_rules() -> None:
    """Each rule has plain words and says where they are written; only what must hold always is not a switch."""
    for name, rule in RULES.items():
        assert rule.name == name and rule.words and rule.source.startswith("RFC ")
        assert not (rule.does is Does.NOTE and rule.is_always)
    assert {name for name, rule in RULES.items() if rule.is_always} == ELSEWHERE
