"""The shards of a spool folder, DATA/spool/<number>, and who owns one: whoever holds its flock."""

import fcntl
import os

from cmail.mail.queue_id import SHARDS_MAX
from cmail.storage import durable


class ShardTakenError(Exception):
    """Another process owns this shard."""


class ShardLock:
    """Ownership of one shard; it ends with release(), or with the process."""

    def __init__(self, folder: str, shard: int) -> None:
        self.folder = os.path.join(folder, str(shard))
        durable.make_folder(self.folder)
        durable.sync_folder(folder)  # who made it may have been killed before its name was durable
        self._fd = self._taken()

    def _taken(self) -> int:
        path = os.path.join(self.folder, "lock")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise ShardTakenError(f"{self.folder} belongs to another process") from None
        return fd

    def take_again(self) -> None:
        """The folder was removed and is there again: its lock is another file. When another process has
        that one, ShardTakenError, and ours is as it was."""
        before, self._fd = self._fd, self._taken()
        os.close(before)

    def release(self) -> None:
        """Somebody else may take it now."""
        os.close(self._fd)


def shards(folder: str) -> list[int]:
    """The numbers of the shards that there are, owned or not; for who looks for one to adopt."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(n) for n in names if n.isdecimal() and int(n) < SHARDS_MAX)
