"""What a process takes of the machine: memory, time, files; from /proc; of ourselves what only we can see."""

import os
import resource
from dataclasses import dataclass
from typing import Any, Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# Places in /proc/PID/stat behind the name, which may have blanks and brackets in it (proc(5)).
_UTIME: Final = 11
_STIME: Final = 12
_STARTED: Final = 19
_RSS: Final = 21


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process, as of now."""

    memory_octets: int  # resident
    cpu_s: float  # since it was started
    started_ticks: int  # after the machine was: two processes with one pid differ in it


def usage_of(pid: int) -> Usage | None:
    """None: there is no such process any more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        cpu_s = (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS
        return Usage(int(fields[_RSS]) * _PAGE, cpu_s, int(fields[_STARTED]))
    except (OSError, IndexError, ValueError):
        return None


def own_files() -> int:
    """Descriptors that are open. Of others nobody may see that: they have dropped the rights of root."""
    return len(os.listdir("/proc/self/fd")) - 1  # but for the one that looks


def own_process(started_wall_ms: int) -> dict[str, Any]:
    """What every process says of itself when it is asked."""
    return {
        "pid": os.getpid(),
        "started_ms": started_wall_ms,
        "files": own_files(),
        "files_max": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
