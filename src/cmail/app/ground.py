"""The ground that the house stands on: the data folder with its rights, and the lock that makes it ours."""

import errno
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Final

import apsw

from cmail.app.rights import Owner
from cmail.app.starter import blocked_at
from cmail.storage import durable

# Local `sendmail` reaches DATA/drop through DATA, and nothing else in it.
DATA_MODE: Final = 0o711
DROP_MODE: Final = 0o1733
FOLDERS: Final = ("spool", "mail", "run", "secrets", "tls")  # 0700
LOCK: Final = "lock"
ORPHANS_S: Final = 35.0  # the children of a server that was killed end in order: process.STOP_S, and a bit
_STEP_S: Final = 0.05
EX_TEMPFAIL: Final = 75
# What passes: a disk that is full, over quota, read-only, or fails. Starting again later may help.
_PASSING: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))
_PASSING_ERRORS: Final = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError)


class GroundError(Exception):
    """The data folder cannot be used; words for a person, and the exit code."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


def code_for(error: BaseException | None, otherwise: int) -> int:
    """75 (try again later) when the disk is what is behind an error, else another code."""
    while error is not None:
        if isinstance(error, _PASSING_ERRORS) or (isinstance(error, OSError) and error.errno in _PASSING):
            return EX_TEMPFAIL
        error = error.__cause__
    return otherwise


def lay(data_dir: str, owner: Owner) -> None:
    """Make the data folder and what stands in it, with the rights that the design gives them."""
    try:
        durable.make_folder(os.path.dirname(data_dir) or "/", 0o777)
        _make(data_dir, DATA_MODE, owner)
        if not owner.is_us and (blocked := blocked_at(data_dir, owner.uid, set(owner.gids))):
            raise GroundError(
                f"the user {owner.name} cannot go through {blocked} to {data_dir}: choose a data_dir that"
                " it can reach, such as /var/lib/cmail",
                78,
            )
        for name in FOLDERS:
            _make(os.path.join(data_dir, name), 0o700, owner)
        _make(os.path.join(data_dir, "drop"), DROP_MODE, owner)
        _close_files(data_dir)
        durable.sync_folder(data_dir)  # what is synced below is there only when these names are
        durable.sync_name(data_dir)
    except OSError as error:
        raise GroundError(
            f"the data folder {data_dir} cannot be made: {error.filename}: {error.strerror}",
            code_for(error, 73),
        ) from None


def _close_files(data_dir: str) -> None:
    """Everybody may go through the data folder: what lies in it itself (the accounts, with what passwords
    are checked by) is its owner's alone, also when a copy or a careless chmod has opened it."""
    with os.scandir(data_dir) as entries:
        for entry in entries:
            mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
            if entry.is_file(follow_symlinks=False) and mode & 0o077:
                fd = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    os.fchmod(fd, mode & 0o700)
                finally:
                    os.close(fd)


def _make(path: str, mode: int, owner: Owner) -> None:
    """A folder with this mode and owner; never through a link that somebody put there."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        pass
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not owner.is_us and status.st_uid != owner.uid:
            if status.st_uid != 0:
                raise GroundError(
                    f"{path} belongs to user {status.st_uid}, not to {owner.name}: `chown -R {owner.name}:`"
                    " it, or name its owner in host.user",
                    77,
                )
            os.fchown(fd, owner.uid, owner.gid)
        elif status.st_uid != owner.uid:
            raise GroundError(f"{path} belongs to another user ({status.st_uid}): start as that one", 77)
        if stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(fd, mode)
    finally:
        os.close(fd)


def lock(data_dir: str, owner: Owner) -> int:
    """Take the data folder for this server; the fd holds it, in our children too. Another server:
    GroundError names it. The children of one that was killed get a moment to end."""
    path = os.path.join(data_dir, LOCK)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if not owner.is_us:
        os.fchown(fd, owner.uid, owner.gid)
    until = time.monotonic() + ORPHANS_S
    while not _try(fd):
        pid = _written_pid(fd)
        is_orphaned = not _is_running(pid)
        if is_orphaned and time.monotonic() > until:
            os.close(fd)
            raise GroundError(
                f"processes of a server that is no more (it was process {pid}) still work on {data_dir}: they"
                " end by themselves; start again in a minute",
                75,
            )
        if not is_orphaned:
            os.close(fd)
            raise GroundError(
                f"another server works on {data_dir} already (process {pid}): end that one first"
                f" (kill {pid}), or give this one a data_dir of its own",
                75,
            )
        time.sleep(_STEP_S)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _written_pid(fd: int) -> int:
    text = os.pread(fd, 20, 0).strip()
    return int(text) if text.isdigit() else 0


def _is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie (whose parent has not asked for it yet)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"
