"""The list of a backup: every name survives it, and whatever is damaged is said in words."""

from pathlib import Path
from typing import BinaryIO

import pytest

from cmail.storage.backup_list import (
    FACTS,
    LIST,
    BackupError,
    Entry,
    Facts,
    ListWriter,
    digest_of,
    parse_entry,
    print_entry,
    read_facts,
    verify,
    write_facts,
)

DIGEST = "ab" * 32
NAMES = ["cmail.toml", "data/mail/a b/x:2,S", "data/a\nb", "data/a\\nb", "data/\\\n", "data/\udcff", "data/ä"]


def opened(path: str) -> BinaryIO:
    return open(path, "rb")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_survives(name: str) -> None:
    """What is written is one line, and reads as it was."""
    for entry in (Entry(name, DIGEST, 17, 65534), Entry(name, DIGEST, 0), Entry(name)):
        line = print_entry(entry)
        assert line.count(b"\n") == 1
        assert parse_entry(line) == entry


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "data/../../x", "data//x", "", ".", "data/x\0"])
def test_no_name_leads_out(name: str) -> None:
    """A list that somebody has written does not make us write anywhere else."""
    with pytest.raises(ValueError):
        parse_entry(print_entry(Entry(name, DIGEST, 1)))


def small_backup(folder: Path) -> Path:
    """Three files."""
    folder.mkdir()
    listing = ListWriter(str(folder))
    for name in ("one", "two", "three"):
        (folder / name).write_text(f"this is {name}\n")
        with open(folder / name, "rb") as file:
            listing.add(Entry(name, *digest_of(file)))
    digest = listing.close()
    write_facts(str(folder), Facts(list_digest=digest, files=3))
    return folder


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    """Missing, cut short, changed: each has its line; what is whole has none."""
    folder = small_backup(tmp_path / "b")
    assert verify(str(folder), opened)[1] == []
    (folder / "one").unlink()
    assert verify(str(folder), opened)[1] == ["'one' is missing"]
    (folder / "two").write_text("this is tw")
    (folder / "three").write_text("this is thrEe\n")
    assert verify(str(folder), opened)[1] == [
        "'one' is missing",
        "'two' has 10 octets, it had 12",
        "'three' is not what was written: its octets have changed",
    ]


def test_a_list_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    """A line less would be mail less, and nobody would know."""
    folder = small_backup(tmp_path / "b")
    lines = (folder / LIST).read_bytes().splitlines(keepends=True)
    (folder / LIST).write_bytes(b"".join(lines[:-1]))
    with pytest.raises(BackupError, match="damaged"):
        verify(str(folder), opened)


def test_what_was_cut_short_is_no_backup(tmp_path: Path) -> None:
    """Without the file that is written last it is none; nor is one of another format or of rubbish."""
    folder = small_backup(tmp_path / "b")
    facts = (folder / FACTS).read_text()
    (folder / FACTS).unlink()
    with pytest.raises(BackupError, match="cut short"):
        read_facts(str(folder), opened)
    for text, words in ((facts.replace('"format": 1', '"format": 2'), "another version"), ("{", "damaged")):
        (folder / FACTS).write_text(text)
        with pytest.raises(BackupError, match=words):
            read_facts(str(folder), opened)
