"""MaildirStore: mail into the mailboxes of this system; tmp, fsync, rename to new, fsync of the folder."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cmail.mail.address import Address
from cmail.mail.content import Content, Unstuffer
from cmail.storage.durable import make_folder, publish_all, remove
from cmail.storage.mailbox_names import mailbox_path

_PIECE_OCTETS: Final = 256 * 1024
_MADE_MAX: Final = 10_000  # mailboxes that are known to be there
_CLOCK_SLACK_MS: Final = 5_000  # between our clock and the file system's
FRESH_MS: Final = 2_000  # so soon after its arrival no crash lies between


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
        self._root = root
        self._made: set[str] = set()

    def path(self, mailbox: Address) -> str:
        """Where the mail of a mailbox is."""
        return mailbox_path(self._root, mailbox)

    def append_all(self, appends: Sequence[Append], now_wall_ms: int) -> list[OSError | None]:
        """Make all of them durable; for each None, or why it is not there. One sync a folder."""
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
        for name in ("tmp", "cur", "new"):
            make_folder(os.path.join(folder, name))
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
        raise OSError(0, f"the content of the message has {count} octets of {content.size_bytes}")


def _unstuffed(path: str) -> Iterator[bytes]:
    unstuffer = Unstuffer()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE_OCTETS):
            yield unstuffer.feed(piece)
    yield unstuffer.finish()
