"""Rights: root is dropped here, before the first byte is read from the network (rule 20).

Also what a process asks of the kernel for its life: to end with its parent, to carry a name."""

import contextlib
import ctypes
import os
import pwd
import resource
import signal
from dataclasses import dataclass
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_NO_NEW_PRIVS: Final = 38
FILES_RESERVED: Final = 32
SESSIONS_LEAST: Final = 8  # however few files there are
FILES_MANY: Final = 1 << 20  # where there is no limit
FILES_WANTED: Final = 8192  # a worker: 2,000 sessions, connections out, content, databases; and some


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns the data folder and runs the server."""

    name: str
    uid: int
    gid: int
    gids: tuple[int, ...]

    @property
    def is_us(self) -> bool:
        """Nothing is to be dropped: we are it already."""
        return self.uid == os.geteuid()


def owner_of(user: str) -> Owner:
    """The user that the settings name when root starts the server; otherwise whoever starts it."""
    if os.geteuid() != 0:
        return Owner(str(os.geteuid()), os.geteuid(), os.getegid(), tuple(os.getgroups()))
    entry = pwd.getpwnam(user)
    return Owner(user, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid)))


def drop(owner: Owner) -> None:
    """Become the owner for good: groups first, then group, then user; no program that we start can
    win rights back. Whatever of it fails raises: we never go on with more than we said."""
    if not owner.is_us:
        os.setgroups(owner.gids)
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, owner.uid)
        _prctl(_PR_SET_DUMPABLE, 1)  # the kernel took /proc/self from us with the change of user
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.getresuid() != (owner.uid,) * 3 or (owner.uid != 0 and 0 in os.getgroups()):
        raise PermissionError(f"the rights of root could not be dropped for {owner.name}")


def allow_files(count: int = FILES_WANTED) -> None:
    """Let us open so many files, as far as the hard limit goes: a shell's usual 1,024 are fewer than the
    sessions that the settings promise. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may refuse it: its unit says LimitNOFILE
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def leave_no_core() -> None:
    """What we hold in memory, passwords too, is never written to a file when the kernel ends us, nor by a
    collector of cores that asks how much we allow. Children inherit it, and nobody gets it back."""
    with contextlib.suppress(OSError, ValueError):  # a sandbox may refuse it: its unit says LimitCORE
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def sessions_room() -> int:
    """How many sessions may be open here at once: each may have a file of content beside its connection,
    and deliveries, databases and the log need some that no client can take."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES_MANY if soft == resource.RLIM_INFINITY else soft
    return max(SESSIONS_LEAST, files // 2 - FILES_RESERVED)


def prefer_throughput() -> None:
    """Ask the kernel not to interrupt others for each packet of ours (SCHED_BATCH): a turn of the loop
    then finds more to do, and one sync serves more messages (bench: 5-20 % more). Children inherit it."""
    with contextlib.suppress(OSError):  # a sandbox may refuse it: nothing depends on it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def end_with_parent(parent: int) -> None:
    """When the parent is gone the kernel sends us SIGTERM, and we end in order."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)  # it went before we asked


def name_process(name: str) -> None:
    """What `ps` and `top` show (15 octets)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    ctypes.CDLL(None).prctl(_PR_SET_NAME, buffer, 0, 0, 0)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")
