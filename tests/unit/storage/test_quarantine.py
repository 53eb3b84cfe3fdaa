"""The quarantine: kept whole, listed, repaired with the octets of before beside it, removed, swept."""

import json
import os
from pathlib import Path
from typing import Final

import pytest

from cmail.mail.address import parse_address
from cmail.mail.content import Content, from_plain, stuff
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.policy.validation.examine import examine
from cmail.storage import durable
from cmail.storage.quarantine import KEPT_FOR, Kept, NotThereError, Quarantine, QuarantineError

ENVELOPE: Final = Envelope(
    parse_address(b"anna@example.org"),
    (
        Recipient(parse_address(b"bert@example.net"), "rfc822;b@example.net", Notify.SUCCESS),
        Recipient(parse_address("jürgen@example.net".encode())),
    ),
    ret="HDRS",
    envid="e1",
    is_smtputf8=True,
)
BROKEN: Final = b"From: a@example.org\r\nSubject: x\r\nSubject: x\r\n\r\n.dot\r\nhello\r\n"
DAY_MS: Final = 86_400_000
NOW_MS: Final = 1_800_000_000_000


def keep(
    quarantine: Quarantine, octets: bytes = BROKEN, number: int = 1, envelope: Envelope = ENVELOPE
) -> Kept:
    """Put it there as the drop folder does."""
    content = from_plain(octets)
    return quarantine.keep(
        QueueId(number), envelope, content, examine(content.octets), "anna by sendmail", NOW_MS
    )


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(str(tmp_path))


def octets_of(quarantine: Quarantine, kept: Kept) -> bytes:
    with quarantine.open(kept.id) as file:
        return file.read()


def test_kept_as_it_came(quarantine: Quarantine) -> None:
    """Envelope, defects and plain octets come back; nobody else may read them."""
    kept = keep(quarantine)
    again = Quarantine(os.path.dirname(quarantine.folder)).get(kept.id)
    assert again == kept and again.envelope == ENVELOPE
    assert (
        next(each.text for each in again.defects) == "Subject: stands more than once, and may stand only once"
    )
    assert octets_of(quarantine, kept) == BROKEN
    folder = os.path.join(quarantine.folder, kept.id)
    assert os.stat(quarantine.folder).st_mode & 0o777 == os.stat(folder).st_mode & 0o777 == 0o700
    assert all(os.stat(os.path.join(folder, name)).st_mode & 0o777 == 0o600 for name in os.listdir(folder))


def test_large_content_is_copied_from_its_file(quarantine: Quarantine, tmp_path: Path) -> None:
    """Content in wire form in a file is kept plain."""
    plain = BROKEN + b"..\r\n.x\r\n" * 100_000
    path = tmp_path / "content"
    path.write_bytes(stuff(plain))
    content = Content(b"", b"", len(plain), path=str(path), wire_bytes=path.stat().st_size)
    kept = quarantine.keep(QueueId(7), ENVELOPE, content, examine(BROKEN), "x", NOW_MS)
    assert octets_of(quarantine, kept) == plain and kept.size_bytes == len(plain)


def test_twice_is_once(quarantine: Quarantine) -> None:
    """After a crash between keeping it and removing it elsewhere, what is there stays."""
    keep(quarantine)
    assert keep(quarantine, b"other\r\n").size_bytes == len(BROKEN)
    assert quarantine.count() == 1


def test_a_failed_sync_leaves_nothing(quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises, and there is no half of it."""

    def fail(path: str) -> None:
        raise OSError(5, "sync", path)

    durable.make_folder(quarantine.folder)
    monkeypatch.setattr(durable, "sync_folder", fail)
    with pytest.raises(OSError, match="sync"):
        keep(quarantine)
    monkeypatch.undo()
    assert os.listdir(quarantine.folder) == [] and quarantine.all_kept() == []


def test_names_lead_nowhere_else(quarantine: Quarantine, tmp_path: Path) -> None:
    """What is no queue id is not there, whatever it is (rule 16)."""
    keep(quarantine)
    (tmp_path / "facts.json").write_text("{}")
    for name in ("..", "../..", "", ".", "x" * 5000, "0/../..", "\0", ".new-x", "%2e%2e"):
        for what in (quarantine.get, quarantine.open, quarantine.remove, quarantine.plan, quarantine.repair):
            with pytest.raises(NotThereError):
                what(name)
    assert quarantine.count() == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": 1}', '{"id": "0000000000001", "to": 5}'])
def test_damaged_facts_stop_nothing(quarantine: Quarantine, text: str) -> None:
    """The others are listed, this one is named, and it can be removed."""
    good, bad = keep(quarantine, number=1), keep(quarantine, number=2)
    Path(quarantine.folder, bad.id, "facts.json").write_text(text)
    assert [each.id for each in quarantine.all_kept()] == [good.id]
    assert list(quarantine.damaged()) == [bad.id]
    with pytest.raises(QuarantineError):
        quarantine.get(bad.id)
    quarantine.remove(bad.id)
    assert quarantine.damaged() == []


def test_it_goes_after_30_days(quarantine: Quarantine) -> None:
    """Not a day before; what a crash has left half-written goes after a day."""
    kept = keep(quarantine)
    half = Path(quarantine.folder, ".new-half")
    half.mkdir()
    os.utime(half, ns=(0, (kept.removed_ms - DAY_MS // 2) * 1_000_000))
    assert kept.removed_ms - NOW_MS == KEPT_FOR.days * DAY_MS == 30 * DAY_MS
    assert quarantine.sweep(kept.removed_ms - 1) == [] and quarantine.count() == 1
    os.utime(half, ns=(0, (kept.removed_ms - 2 * DAY_MS) * 1_000_000))
    assert quarantine.sweep(kept.removed_ms) == [kept.id]
    assert os.listdir(quarantine.folder) == []


REPAIRS: Final = {
    "a twin goes": (
        b"From: a@example.org\r\nSubject: x\r\nSubject:  x \r\nTo: b\r\n\r\nhello\r\n",
        b"From: a@example.org\r\nSubject: x\r\nTo: b\r\n\r\nhello\r\n",
        "a second Subject field, which says the same as the first, is gone",
    ),
    "a folded twin goes": (
        b"From: a@example.org\r\nTo: a,\r\n b\r\nTo: a, b\r\n\r\nhello\r\n",
        b"From: a@example.org\r\nTo: a,\r\n b\r\n\r\nhello\r\n",
        "a second To field, which says the same as the first, is gone",
    ),
    "blanks in a name": (
        b"From: a@example.org\r\nX Spam Score: 5\r\n\r\nhello\r\n",
        b"From: a@example.org\r\nX-Spam-Score: 5\r\n\r\nhello\r\n",
        "the name of the field X-Spam-Score has hyphens instead of blanks, and no control characters",
    ),
    "controls in a name": (
        b"From: a@example.org\r\nX-\x01\x7fSpam: 5\r\n\r\nhello\r\n",
        b"From: a@example.org\r\nX-Spam: 5\r\n\r\nhello\r\n",
        "the name of the field X-Spam has hyphens instead of blanks, and no control characters",
    ),
    "an empty line was forgotten": (
        b"From: a@example.org\r\nDear Bert,\r\nit rains: a lot\r\n\r\nAnna\r\n",
        b"From: a@example.org\r\n\r\nDear Bert,\r\nit rains: a lot\r\n\r\nAnna\r\n",
        "an empty line stands now before the first line that is no field: the text begins there",
    ),
    "nobody wrote it": (
        b"Subject: x\r\n\r\nhello\r\n",
        b"From: <anna@example.org>\r\nSubject: x\r\n\r\nhello\r\n",
        "the sender of the envelope, anna@example.org, stands in a From field now",
    ),
    "no header at all": (
        b"\r\nhello\r\n",
        b"From: <anna@example.org>\r\n\r\nhello\r\n",
        "the sender of the envelope, anna@example.org, stands in a From field now",
    ),
    "not closed": (
        b"From: a@example.org\r\nSubject: x\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n",
        b"From: a@example.org\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b--\r\n",
        "the last boundary was added; what stood before it, if something is missing there, is lost",
    ),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_repair(quarantine: Quarantine, name: str) -> None:
    """Planned in words, then done as planned: nothing that refuses is left, the rest is octet for octet as it was,
    and so is the original beside it."""
    before, after, words = REPAIRS[name]
    kept = keep(quarantine, before)
    plan = quarantine.plan(kept.id)
    assert words in plan.done and octets_of(quarantine, kept) == before
    repaired = quarantine.repair(kept.id)
    assert octets_of(quarantine, kept) == after and repaired.size_bytes == len(after)
    assert repaired.repairs == plan.done and repaired == quarantine.get(kept.id)
    assert examine(stuff(after)).refusal is None
    assert not [each for each in repaired.defects if each.rule.does == "refuse"]
    assert Path(quarantine.folder, kept.id, "original").read_bytes() == before
    assert quarantine.plan(kept.id).done == ()


UNSAFE: Final = {
    "two authors": b"From: a@example.org\r\nFrom: b@example.org\r\n\r\nhello\r\n",
    "two subjects": b"From: a@example.org\r\nSubject: x\r\nSubject: y\r\n\r\nhello\r\n",
    "a boundary that nobody names": b"From: a@example.org\r\nContent-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
    "a boundary that is nowhere": b"From: a@example.org\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\nhello\r\n",
    "an author who cannot be read": b"From: <a@example.org\r\n\r\nhello\r\n",
}


@pytest.mark.parametrize("name", UNSAFE)
def test_what_is_not_safe_is_left_alone(quarantine: Quarantine, name: str) -> None:
    """No plan, no repair, and the octets stay."""
    kept = keep(quarantine, UNSAFE[name])
    assert quarantine.plan(kept.id).done == ()
    with pytest.raises(QuarantineError, match="nothing of it"):
        quarantine.repair(kept.id)
    assert octets_of(quarantine, kept) == UNSAFE[name]
    assert sorted(os.listdir(os.path.join(quarantine.folder, kept.id))) == ["content", "facts.json"]


def test_of_three_twins_one_that_differs_stays(quarantine: Quarantine) -> None:
    """x, y, x: the second x goes, y stays and is still a defect."""
    kept = keep(quarantine, b"From: a@example.org\r\nSubject: x\r\nSubject: y\r\nSubject: x\r\n\r\nhello\r\n")
    plan = quarantine.plan(kept.id)
    assert len(plan.done) == 1 and next(each.rule.name for each in plan.defects_left) == "twice"
    assert plan.head_after == b"From: a@example.org\r\nSubject: x\r\nSubject: y\r\n"


def test_a_report_gets_no_author(quarantine: Quarantine) -> None:
    """Nobody is made its author."""
    report = Envelope(None, ENVELOPE.recipients)
    kept = keep(quarantine, b"Subject: x\r\nSubject: x\r\n\r\nhello\r\n", envelope=report)
    assert quarantine.repair(kept.id).envelope.reverse_path is None
    assert octets_of(quarantine, kept) == b"Subject: x\r\n\r\nhello\r\n"


def test_rules_that_are_not_known_any_more(quarantine: Quarantine) -> None:
    """What an older version has written is read all the same."""
    kept = keep(quarantine)
    path = Path(quarantine.folder, kept.id, "facts.json")
    table = json.loads(path.read_text())
    table["defects"].append({"rule": "of-yore", "about": ""})
    path.write_text(json.dumps(table))
    assert quarantine.get(kept.id) == kept
    assert print_queue_id(kept.queue_id) == kept.id
