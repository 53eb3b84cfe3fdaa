"""write, fsync, rename, fsync of the folder: the only place that knows how bytes become durable.

All of it blocks: call it from a thread, never in the event loop (rule 5). A failed sync is final
(rule 2): what was to become durable is removed, not tried again, and the OSError goes up."""

import contextlib
import os
from collections.abc import Iterable


def sync_file(path: str) -> None:
    """Make the octets of a closed file durable (not its name: sync_folder() does that)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: str) -> None:
    """Make the names in a folder durable: what was created, renamed or removed there."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(written: str, final: str) -> None:
    """Make a file that nobody writes any more durable and give it its final name, on one file
    system. When this returns it is there, whole; when it raises, it is under neither name."""
    publish_all([(written, final)])


def publish_all(files: Iterable[tuple[str, str]]) -> None:
    """publish() for many, with one sync a folder. When it raises, none of them is there."""
    pairs = list(files)
    there = [written for written, _ in pairs]  # under which name each of them is now
    try:
        for written in there:
            sync_file(written)
        for number, (written, final) in enumerate(pairs):
            os.rename(written, final)
            there[number] = final
        for folder in {os.path.dirname(final) for final in there}:
            sync_folder(folder)
    except OSError:
        for path in there:
            remove(path)
        raise


def write_new(path: str, octets: bytes, mode: int = 0o600) -> None:
    """Write and sync a file that must not exist yet; its name is durable after sync_folder()."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb", buffering=0) as file:
            if mode & 0o077:
                os.fchmod(file.fileno(), mode)  # the server's umask lets nobody else in
            _write_all(file.fileno(), octets)
            os.fsync(file.fileno())
    except OSError:
        remove(path)
        raise


def write_durably(path: str, octets: bytes, mode: int = 0o600) -> None:
    """Replace a file as a whole: after a crash there is the old one or the new one."""
    written = f"{path}.new-{os.getpid()}"
    remove(written)
    write_new(written, octets, mode)
    try:
        os.replace(written, path)
    except OSError:
        remove(written)
        raise
    sync_folder(os.path.dirname(path) or ".")


def make_folder(path: str, mode: int = 0o700) -> None:
    """Create a folder and those above it, each durable; an existing one is left as it is."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path) or "."
    if not os.path.isdir(above):
        make_folder(above, mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    sync_folder(above)


def remove(path: str) -> None:
    """Unlink a file; it may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _write_all(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]


def sync_name(path: str) -> None:
    """Make the name of a file durable in a folder that we may write to but not open (the drop folder,
    1733): there the whole file system is synced."""
    try:
        sync_folder(os.path.dirname(path) or ".")
    except PermissionError:
        sync_file_system(path)


def sync_file_system(path: str) -> None:
    """Make all durable that was written to the file system of a file or folder: for who has written much."""
    import ctypes  # only who needs it waits for it

    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if libc.syncfs(fd):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
    finally:
        os.close(fd)
