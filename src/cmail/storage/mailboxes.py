"""MaildirStore: mail into the mailboxes of this system; tmp, fsync, rename to new, fsync of the folder."""

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cmail.mail.address import Address
from cmail.mail.content import Content, Unstuffer
from cmail.storage.anchor import Anchor, Where
from cmail.storage.durable import publish_all, remove, sync_folder, write_new
from cmail.storage.mailbox_names import mailbox_path

_PIECE_OCTETS: Final = 256 * 1024
_MADE_MAX: Final = 10_000  # mailboxes that are known to be there
_CLOCK_SLACK_MS: Final = 5_000  # between our clock and the file system's
FRESH_MS: Final = 2_000  # so soon after its arrival no crash lies between
_PROBE: Final = b"probe\n" * 700  # a page, and a bit
_AWAY: Final = {
    Where.AWAY: "is not there: was it moved, or its disk unmounted?",
    Where.OTHER: "is another folder than when the server started: was its disk unmounted? To use this one,"
    " start the server again",
}


class ContentReadError(OSError):
    """Not the mailbox is in trouble: what the spool has of the message cannot be read."""


class MailFolderError(OSError):
    """The folder of all mailboxes is not where it was; the text says so."""


@dataclass(frozen=True, slots=True)
class Append:
    """One message for one mailbox. `name` is the same whenever it is tried again, so that a crash between
    the rename and the record of it does not deliver twice."""

    mailbox: Address
    name: str  # of the file; no slash, no colon, not hidden
    top: bytes  # complete lines that end in LF
    content: Content
    arrived_wall_ms: int


class MaildirStore:
    """Maildirs under one folder, as Dovecot reads them (LF line ends). All of it blocks: call it in a
    thread. Several threads may, also for one mailbox."""

    def __init__(self, root: str) -> None:
        """The folder above `root` exists."""
        self._root = root
        self._made: set[str] = set()
        self._anchor: Anchor | None = None
        self._anchoring = threading.Lock()
        with contextlib.suppress(OSError):  # said with each message, until it is there
            self._take_root()

    def path(self, mailbox: Address) -> str:
        """Where the mail of a mailbox is."""
        return mailbox_path(self._root, mailbox)

    def append_all(self, appends: Sequence[Append], now_wall_ms: int) -> list[OSError | None]:
        """Make all of them durable; for each None, or why it is not there. One sync a folder."""
        try:
            self._check_root()
        except OSError as error:
            return [error] * len(appends)
        errors: list[OSError | None] = [None] * len(appends)
        written: list[tuple[str, str]] = []
        numbers: list[int] = []
        for number, append in enumerate(appends):
            try:
                pair = self._write(append, now_wall_ms)
            except OSError as error:
                errors[number] = error
                continue
            if pair is not None:
                written.append(pair)
                numbers.append(number)
        try:
            publish_all(written)
        except OSError as error:
            if len(written) > 1:  # one bad mailbox does not hold up the others: each alone, from the start
                for number in numbers:
                    errors[number] = self.append_all([appends[number]], now_wall_ms)[0]
            else:
                self._made.clear()  # perhaps somebody has removed the folder
                errors[numbers[0]] = error
        return errors

    def can_write(self, mailbox: Address, size_bytes: int) -> bool:
        """Whether a message of this size would find its place now; tried with a small file."""
        self._check_root()
        found = os.statvfs(self._root)
        if found.f_bavail * found.f_frsize < size_bytes:
            return False
        folder = self.path(mailbox)
        self._make(folder)
        probe = os.path.join(folder, "tmp", f"probe.{os.getpid()}.{threading.get_ident()}")
        remove(probe)
        write_new(probe, _PROBE)
        remove(probe)
        return True

    def _check_root(self) -> None:
        """Mail must not go where nobody looks: into an empty folder that shows when a disk is unmounted,
        or a new one while the old one is away."""
        with self._anchoring:
            where = self._anchor.look() if self._anchor is not None else Where.REMOVED
            if where is Where.HERE:
                return
            if where in _AWAY:
                raise MailFolderError(f"{self._root} {_AWAY[where]}")
            self._take_root()

    def _take_root(self) -> None:
        """Begin with the folder that is there, or with a new one."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._root, 0o700)
        anchor = Anchor(self._root)
        if self._anchor is not None:
            self._anchor.close()
        self._anchor = anchor
        self._made.clear()

    def _write(self, append: Append, now_wall_ms: int) -> tuple[str, str] | None:
        """The file in tmp and its name in new; None when it has been delivered already."""
        folder = self.path(append.mailbox)
        if folder not in self._made:
            self._make(folder)
        if abs(now_wall_ms - append.arrived_wall_ms) > FRESH_MS and _is_delivered(folder, append):
            return None
        temporary = os.path.join(folder, "tmp", append.name)
        try:
            _write_file(temporary, append)
        except FileNotFoundError:  # somebody has removed the mailbox
            self._made.discard(folder)
            self._make(folder)
            _write_file(temporary, append)
        return temporary, os.path.join(folder, "new", append.name)

    def _make(self, folder: str) -> None:
        if not os.path.isdir(self._root):
            raise MailFolderError(f"{self._root} {_AWAY[Where.AWAY]}")
        domain = os.path.dirname(folder)
        for path in (domain, folder, *(os.path.join(folder, name) for name in ("tmp", "cur", "new"))):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        # Also when they were there: who has made them a moment ago, another thread or process, or one that
        # was killed, may not have come as far as its sync. Mail in them is durable only when they are.
        for path in (folder, domain, self._root):
            sync_folder(path)
        if len(self._made) >= _MADE_MAX:
            self._made.clear()
        self._made.add(folder)


def _is_delivered(folder: str, append: Append) -> bool:
    """Whether a try before this one came as far as the mailbox, and the file is still there."""
    if os.path.exists(os.path.join(folder, "new", append.name)):
        return True
    cur = os.path.join(folder, "cur")
    try:
        changed_ms = os.stat(cur).st_mtime_ns // 1_000_000
        if changed_ms < append.arrived_wall_ms - _CLOCK_SLACK_MS:
            return False  # nothing has moved there since it arrived: no need to list it
        flagged = append.name + ":"
        return any(entry == append.name or entry.startswith(flagged) for entry in os.listdir(cur))
    except FileNotFoundError:
        return False


def _write_file(path: str, append: Append) -> None:
    """Not synced yet. What a crash has left there under this name goes."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        remove(path)
        descriptor = os.open(path, flags, 0o600)
    try:
        try:
            for piece in _pieces(append):
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            remove(path)
        raise


def _pieces(append: Append) -> Iterator[bytes]:
    """The message as it stands in a Maildir: unstuffed, LF line ends, what is ours on top."""
    content = append.content
    if content.is_in_memory:
        yield append.top + content.plain().replace(b"\r\n", b"\n")
        return
    yield append.top + content.prefix.replace(b"\r\n", b"\n")
    held = b""
    count = 0
    for piece in _unstuffed(content.path):
        count += len(piece)
        piece = held + piece
        held = b"\r" if piece.endswith(b"\r") else b""
        yield (piece[:-1] if held else piece).replace(b"\r\n", b"\n")
    yield held
    if count != content.size_bytes - len(content.prefix):
        raise ContentReadError(f"it has {count} octets of {content.size_bytes}")


def _unstuffed(path: str) -> Iterator[bytes]:
    unstuffer = Unstuffer()
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE_OCTETS):
                yield unstuffer.feed(piece)
    except OSError as error:
        raise ContentReadError(error.strerror) from error
    yield unstuffer.finish()
