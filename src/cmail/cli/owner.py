"""OwnerRights: a command of root works as the owner of the data folder, and is root only where it must be."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class OwnerRights:
    """Whose rights; for who is not root all of it changes nothing."""

    uid: int
    gid: int

    @contextmanager
    def owner(self) -> Iterator[None]:
        """Be the owner within: what is written belongs to him, what only root may read is not read."""
        if os.geteuid() != 0 or self.uid == 0:
            yield
            return
        groups = os.getgroups()
        try:
            name = pwd.getpwuid(self.uid).pw_name
            os.initgroups(name, self.gid)
        except KeyError:
            os.setgroups([self.gid])
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    @contextmanager
    def root(self) -> Iterator[None]:
        """Within owner(): be root again for an instant, if root we were."""
        if os.getuid() != 0 or os.geteuid() == 0:
            yield
            return
        os.seteuid(0)
        try:
            yield
        finally:
            os.seteuid(self.uid)

    def opened(self, path: str) -> BinaryIO:
        """A file that perhaps only root may read; never through a link, nor anything but a file."""
        with self.root():
            return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
