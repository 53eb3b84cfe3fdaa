"""terminal(): a pseudo-terminal, also on a machine where nobody has mounted the file system for them."""

import fcntl
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNLOCK = 0x40045431  # TIOCSPTLCK and
OTHER_END = 0x5441  # TIOCGPTPEER of ioctl_tty(2), which Python's termios does not name
MOUNT = ("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts")


def has_terminals() -> bool:
    """Whether any program may open one here (a bare chroot has no /dev/pts)."""
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError:
        return False
    return True


@contextmanager
def terminal(folder: Path) -> Iterator[tuple[int, int]]:
    """Its two ends: what the person sees and types, and what the program has; whoever takes one closes
    it. `folder`, empty, is used where root has to make terminals first."""
    if has_terminals():
        yield pty.openpty()
        return
    subprocess.run([*MOUNT, folder], check=True)
    try:
        main = os.open(folder / "ptmx", os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(main, UNLOCK, bytes(4))
        yield main, fcntl.ioctl(main, OTHER_END, os.O_RDWR | os.O_NOCTTY)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
