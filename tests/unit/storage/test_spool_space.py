"""FreeSpace: a look at the disk serves for a second, and says what is missing."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from cmail.storage.spool import SpoolFullError
from cmail.storage.spool_space import FreeSpace
from tests.support.clock import FakeClock

DISKS = {  # name -> (free blocks of 1 KiB, inodes, free inodes, words of the refusal; "" for none)
    "enough of both": (200_000, 1_000_000, 900_000, ""),
    "little space": (1000, 1_000_000, 900_000, "0 MiB are free"),
    "few inodes": (200_000, 1_000_000, 999, "999 inodes are free"),
    "no such thing as inodes": (200_000, 0, 0, ""),
}


@pytest.mark.parametrize("name", DISKS)
def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Rule 9: low space or inodes refuse a message before it is taken."""
    blocks, inodes, free_inodes, words = DISKS[name]
    found = SimpleNamespace(f_bavail=blocks, f_frsize=1024, f_files=inodes, f_favail=free_inodes)
    monkeypatch.setattr(os, "statvfs", lambda folder: found)
    refusal = FreeSpace("/spool", 64 * 2**20, FakeClock().monotonic).refusal
    assert (refusal is None) == (not words)
    assert words in str(refusal)


def test_a_folder_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    """A disk that cannot be asked is no disk to write to."""
    space = FreeSpace(str(tmp_path / "gone"), 0, FakeClock().monotonic)
    assert isinstance(space.refusal, SpoolFullError)


def test_the_log_hears_once_when_space_runs_out_and_once_when_it_is_back(tmp_path: Path) -> None:
    """An administrator reads how much is missing, not that it is still missing."""
    folder, said = tmp_path / "spool", list[str]()
    space = FreeSpace(str(folder), 0, FakeClock().monotonic, said.append)
    space.look()
    folder.mkdir()
    space.look()
    space.look()
    assert len(said) == 2
    assert "wait outside (452)" in said[0] and "taken again" in said[1]


def test_it_is_asked_once_a_second(tmp_path: Path) -> None:
    """is_due() says once a second that it is time to look again."""
    clock = FakeClock()
    space = FreeSpace(str(tmp_path), 0, clock.monotonic)
    assert space.is_due() and not space.is_due()
    clock.advance(0.9)
    assert not space.is_due()
    clock.advance(0.2)
    assert space.is_due() and not space.is_due()
