"""The data folder, its lock, and whether a user can get there."""

import os
import pwd
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cmail.app import ground, process
from cmail.app.rights import Owner, owner_of
from cmail.app.starter import blocked_at, starter_data_dir
from tests.support.house import reachable

US = Owner("us", os.geteuid(), os.getegid(), tuple(os.getgroups()))


def mode(path: Path) -> int:
    """The rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def test_rights_of_the_folders(tmp_path: Path) -> None:
    """DATA 0711, drop 1733, the others 0700; folders with other rights are put right."""
    data = tmp_path / "a" / "data"
    (tmp_path / "a").mkdir()
    data.mkdir(mode=0o777)
    (data / "run").mkdir(mode=0o777)
    ground.lay(str(data), US)
    ground.lay(str(data), US)
    assert mode(data) == 0o711
    assert mode(data / "drop") == 0o1733
    assert {mode(data / name) for name in ground.FOLDERS} == {0o700}


def test_the_folders_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is synced in DATA/spool is there after a power cut only when the names above it are: they are
    synced before anything else happens, also when a start that was killed has made them."""
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    data = tmp_path / "a" / "data"
    monkeypatch.setattr(os, "fsync", noting)
    for _ in range(2):
        synced.clear()
        ground.lay(str(data), US)
        assert {str(data), str(tmp_path / "a")} <= set(synced)


def test_a_link_in_the_place_of_a_folder(tmp_path: Path) -> None:
    """A link that somebody put there is not followed."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "drop").symlink_to("/tmp")
    with pytest.raises(ground.GroundError, match="cannot be made"):
        ground.lay(str(data), US)


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    """A data_dir that is a file is refused in words."""
    (tmp_path / "data").write_text("x")
    with pytest.raises(ground.GroundError, match="cannot be made") as refused:
        ground.lay(str(tmp_path / "data"), US)
    assert refused.value.code == 73


@pytest.mark.needs("root")
def test_root_gives_the_folders_to_the_user(tmp_path: Path) -> None:
    """Started by root, everything belongs to the user who it runs as."""
    data = reachable(tmp_path) / "data"
    ground.lay(str(data), owner_of("nobody"))
    uid = pwd.getpwnam("nobody").pw_uid
    for path in (data, *data.iterdir()):
        assert path.stat().st_uid == uid, path


def test_lock_names_who_has_it(tmp_path: Path) -> None:
    """Somebody else's lock is refused at once, with his process id."""
    code = (
        "import sys, os; from cmail.app import ground; from cmail.app.rights import Owner; "
        "fd = ground.lock(sys.argv[1], Owner('us', os.geteuid(), os.getegid(), ())); "
        "print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"locked\n"
    with pytest.raises(ground.GroundError, match=rf"already \(process {other.pid}\)") as refused:
        ground.lock(str(tmp_path), US)
    assert refused.value.code == 75
    other.communicate()
    os.close(ground.lock(str(tmp_path), US))


def test_orphans_of_a_killed_server_get_time_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of a server that is no more holds the lock: it is waited for, as long as a child may take to
    end; then whoever starts is told that nothing is to be ended by hand."""
    code = (
        "import sys, os; from cmail.app import ground; from cmail.app.rights import Owner; "
        "fd = ground.lock(sys.argv[1], Owner('us', os.geteuid(), os.getegid(), ())); "
        "os.fork() and os._exit(0); print('locked', flush=True); sys.stdin.read()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None and server.stdin is not None
    assert server.stdout.readline() == b"locked\n"
    server.wait()
    assert ground.ORPHANS_S > process.STOP_S
    monkeypatch.setattr(ground, "ORPHANS_S", 0.2)
    with pytest.raises(ground.GroundError, match=rf"\(it was process {server.pid}\).*a minute") as refused:
        ground.lock(str(tmp_path), US)
    assert refused.value.code == 75
    monkeypatch.setattr(ground, "ORPHANS_S", 30.0)
    threading.Timer(0.2, server.stdin.close).start()
    os.close(ground.lock(str(tmp_path), US))


def test_the_folder_in_the_way_is_named(tmp_path: Path) -> None:
    """blocked_at: the first folder that a user cannot go through, by owner, group and others."""
    closed = reachable(tmp_path) / "closed"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    me, group = closed.stat().st_uid, closed.stat().st_gid
    stranger = 54321
    if os.geteuid() != 0 and blocked_at(str(tmp_path), stranger, set()):
        tmp_path.chmod(0o711)
        for folder in (f for f in tmp_path.parents if f.stat().st_uid == me):
            folder.chmod(folder.stat().st_mode | 0o011)
    assert blocked_at(str(closed / "data"), stranger, set()) == str(closed)
    assert blocked_at(str(closed / "data"), me, set()) is None
    closed.chmod(0o710)
    assert blocked_at(str(closed / "data"), stranger, {group}) is None
    closed.chmod(0o701)
    assert blocked_at(str(closed / "data" / "not there yet"), stranger, set()) is None
    assert blocked_at(str(closed / "data"), stranger, {group}) == str(closed)


@pytest.mark.needs("root")
def test_starter_data_where_the_user_can_reach_it(tmp_path: Path) -> None:
    """`config init` as root puts the data beside the settings, or where the user can get."""
    place = reachable(tmp_path)
    config = str(place / "cmail.toml")
    assert starter_data_dir(config, "nobody") == str(place / "data")
    place.chmod(0o700)
    assert starter_data_dir(config, "nobody") == "/var/lib/cmail"
