"""Leaves a message in the drop folder, durable before it returns: the only way in when the server is
down, and the same way when it is up (it looks there four times a second)."""

import os
from collections.abc import Iterable
from typing import Final

from cmail.cli.exits import Exit, Refusal
from cmail.mail.envelope import Envelope
from cmail.smtpd.drop_file import NEW_PREFIX, READY_PREFIX, print_envelope
from cmail.storage.durable import remove, sync_name

# Readable for the server, which runs as somebody else. Nobody can list the folder (1733), and the name
# has 128 bits of chance in it: other users cannot find the file.
_MODE: Final = 0o644


def leave(data_dir: str, envelope: Envelope, pieces: Iterable[bytes], size_max: int) -> str:
    """Write the file, sync it, give it its final name, sync that. Refusal when any of it fails: then
    nothing is left behind. Returns the final path."""
    folder = os.path.join(data_dir, "drop")
    chance = os.urandom(16).hex()
    written = os.path.join(folder, NEW_PREFIX + chance)
    final = os.path.join(folder, READY_PREFIX + chance)
    try:
        _write(written, envelope, pieces, size_max)
        os.rename(written, final)
        try:
            sync_name(final)
        except OSError:
            remove(final)
            raise
        return final
    except OSError as error:
        raise Refusal(_why(folder, error), Exit.TEMPORARY) from error
    finally:
        try:
            remove(written)
        except OSError:
            pass  # the folder is not there: what failed before says so


def _write(path: str, envelope: Envelope, pieces: Iterable[bytes], size_max: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, _MODE)  # whatever the umask
        file.write(print_envelope(envelope))
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > size_max:
                raise Refusal(f"the message is larger than {size_max} octets, the most taken", Exit.DATA)
            file.write(piece)
        file.flush()
        os.fsync(fd)


def _why(folder: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{folder} is not there yet: `cmail serve` makes it; nothing was sent, try again then"
    if isinstance(error, PermissionError):
        return f"you may not write to {folder} (it should have mode 1733); nothing was sent"
    return f"cannot write to {folder}: {(error.strerror or str(error)).lower()}; nothing was sent"
