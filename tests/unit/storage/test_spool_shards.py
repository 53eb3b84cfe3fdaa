"""The folder of a shard and who owns it."""

import os
from pathlib import Path

import pytest

from cmail.storage.spool_shards import ShardLock


def test_folder_that_a_killed_start_has_made_is_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard's folder may be there and its name not on the disk, when who made it was killed: whoever takes
    the shard syncs the folder above, before mail is accepted into it."""
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    (tmp_path / "0").mkdir()
    monkeypatch.setattr(os, "fsync", noting)
    ShardLock(str(tmp_path), 0).release()
    assert str(tmp_path) in synced
