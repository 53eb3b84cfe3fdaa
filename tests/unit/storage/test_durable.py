"""durable: what is published is there whole under its last name, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cmail.storage import durable


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is synced and renamed, in order."""
    seen: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_sync(fd: int) -> None:
        fsync(fd)
        seen.append("sync " + Path(os.readlink(f"/proc/self/fd/{fd}")).name)

    def note_rename(source: str, target: str) -> None:
        rename(source, target)
        seen.append("rename " + Path(target).name)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    return seen


def maildir(folder: Path, *names: str) -> list[tuple[str, str]]:
    for part in ("tmp", "new"):
        (folder / part).mkdir()
    for name in names:
        (folder / "tmp" / name).write_text(name)
    return [(str(folder / "tmp" / name), str(folder / "new" / name)) for name in names]


def test_content_is_synced_before_its_name(tmp_path: Path, order: list[str]) -> None:
    """File, rename, folder: in any other order a crash leaves an empty message."""
    ((written, final),) = maildir(tmp_path, "a")
    durable.publish(written, final)
    assert order == ["sync a", "rename a", "sync new"]
    assert Path(final).read_text() == "a" and not Path(written).exists()


def test_many_share_the_sync_of_their_folder(tmp_path: Path, order: list[str]) -> None:
    """A batch of messages into one mailbox syncs its folder once."""
    durable.publish_all(maildir(tmp_path, "a", "b", "c"))
    assert order.count("sync new") == 1 and order[-1] == "sync new"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a", "b", "c"]


def failing(name: str) -> Callable[[int], None]:
    def fsync(fd: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{fd}")).name == name:
            raise OSError(5, "Input/output error")

    return fsync


@pytest.mark.parametrize("what", ["b", "new"])
def test_a_failed_sync_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Rule 2: file or folder, none of the batch is there afterwards, under no name."""
    pairs = maildir(tmp_path, "a", "b", "c")
    monkeypatch.setattr(os, "fsync", failing(what))
    with pytest.raises(OSError, match="Input/output"):
        durable.publish_all(pairs)
    assert list((tmp_path / "new").iterdir()) == list((tmp_path / "tmp").iterdir()) == []


def test_what_stood_there_before_is_not_harmed(tmp_path: Path) -> None:
    """A batch that fails at its second file removes its own files only."""
    pairs = maildir(tmp_path, "a", "b")
    Path(pairs[1][0]).unlink()
    (tmp_path / "new" / "b").write_text("somebody else's")
    with pytest.raises(FileNotFoundError):
        durable.publish_all(pairs)
    assert [p.read_text() for p in (tmp_path / "new").iterdir()] == ["somebody else's"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, order: list[str]) -> None:
    """The old one or the new one; what an earlier crash left is no hindrance; only we can read it."""
    path = tmp_path / "settings"
    path.write_text("old")
    (tmp_path / f"settings.new-{os.getpid()}").write_text("left by a crash")
    durable.write_durably(str(path), b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["settings"]
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600
    assert order[-1] == f"sync {tmp_path.name}"


def test_a_file_that_cannot_be_synced_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one stays."""
    path = tmp_path / "settings"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", failing(f"settings.new-{os.getpid()}"))
    with pytest.raises(OSError, match="Input/output"):
        durable.write_durably(str(path), b"new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_new_file_takes_nobodys_place(tmp_path: Path) -> None:
    """write_new() refuses a name that is taken, a link too."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("link", "there"):
        (tmp_path / "there").touch()
        with pytest.raises(FileExistsError):
            durable.write_new(str(tmp_path / name), b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_folders_are_made_with_those_above(tmp_path: Path, order: list[str]) -> None:
    """Each name is synced in the folder above it; what is there is left as it is."""
    durable.make_folder(str(tmp_path / "a" / "b"))
    assert order == [f"sync {tmp_path.name}", "sync a"]
    (tmp_path / "a" / "b").chmod(0o755)
    durable.make_folder(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o755
    durable.remove(str(tmp_path / "never was"))
