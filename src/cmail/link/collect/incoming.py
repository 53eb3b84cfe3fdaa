"""DATA/collect/incoming: what was fetched, a file each, until the worker has it. It blocks: use a thread.

`new-TOKEN` is being written; `TOKEN` is whole and durable; `TOKEN.ID` was claimed by the worker under a queue
id; `TOKEN.ID.taken`: the worker has it for good. Nobody but us removes a file that the ledger names."""

import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import BinaryIO, Final

from cmail.link.collect.sorting import without_notes
from cmail.mail.content import normalize
from cmail.mail.headers import find_field, header_of
from cmail.mail.limits import HEADER_OCTETS_MAX
from cmail.storage import durable

FOLDER: Final = os.path.join("collect", "incoming")  # in the data folder
NEW_PREFIX: Final = "new-"
_SAID: Final = (b"message-id", b"date", b"from", b"subject")  # by who wrote it
PARTS_KEPT_S: Final = 7 * 86_400.0
_PIECE: Final = 256 * 1024
_BUFFER_OCTETS: Final = 256 * 1024
# What a server or a mail program notes in a message: it is the same one still.
_NOTES: Final = (b"status", b"x-status", b"x-uidl", b"x-keywords")


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a message in a file."""

    size: int
    header: bytes  # CRLF lines
    digest: str  # of all of it, but for what servers note in it
    copy: str  # the same for all copies of one message; "" without a Message-ID


class TooMuchError(Exception):
    """More octets than a message may have."""


class Writing:
    """A message that is being fetched."""

    def __init__(self, folder: str, token: str, size_max: int, name: str = "") -> None:
        """`name`: of a part that may be there already, and is gone on with."""
        self._folder, self._token, self._size_max = folder, token, size_max
        self._path = os.path.join(folder, NEW_PREFIX + (name or token))
        self._kept: list[bytes] = []
        self._octets = 0
        self._file: BinaryIO | None = None
        self.size = 0

    def open(self) -> int:
        """How much of it is there already."""
        durable.make_folder(self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(self._path, flags, 0o600), "ab", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size
        return self.size

    def add(self, piece: bytes) -> bool:
        """True: it is time to write(). TooMuchError."""
        self.size += len(piece)
        if self.size > self._size_max:
            raise TooMuchError
        self._kept.append(piece)
        self._octets += len(piece)
        return self._octets >= _BUFFER_OCTETS

    def write(self) -> None:
        """Blocks."""
        assert self._file is not None
        view = memoryview(b"".join(self._kept))
        self._kept, self._octets = [], 0
        while view:
            view = view[self._file.write(view) or 0 :]

    def finish(self) -> str:
        """Whole and durable under its own name: the path."""
        self.write()
        self.close()
        path = os.path.join(self._folder, self._token)
        durable.publish(self._path, path)
        return path

    def close(self) -> None:
        """Nothing more is written; what is there stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def keep(self) -> None:
        """The line broke: what came so far is kept, to go on from."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self.write()
        self.close()

    def remove(self) -> None:
        """As if it had not begun."""
        self.close()
        durable.remove(self._path)


def examine(path: str) -> Facts:
    """Read a file through."""
    whole, body = hashlib.sha256(), hashlib.sha256()
    with open(path, "rb") as file:
        first = file.read(HEADER_OCTETS_MAX)
        is_all = len(first) < HEADER_OCTETS_MAX
        text = normalize(first) if b"\n" in first.replace(b"\r\n", b"") else first
        header = header_of(text)
        whole.update(plain(header))
        piece = text[len(header) :]
        while piece:
            whole.update(piece)
            body.update(piece)
            piece = b"" if is_all else file.read(_PIECE)
        size = os.fstat(file.fileno()).st_size
    return Facts(size, header, whole.hexdigest(), _copy(header, body.digest()))


def _copy(header: bytes, body: bytes) -> str:
    """Senders there are whose messages all have the same Message-ID: alone it is not believed."""
    if not find_field(header, b"message-id"):
        return ""
    said = b"\0".join(find_field(header, name) or b"" for name in _SAID)
    return hashlib.sha256(said + b"\0" + body).hexdigest()


def plain(header: bytes) -> bytes:
    """As it is before any server notes something in it."""
    return without_notes(header, _NOTES)


def write_whole(folder: str, token: str, octets: bytes) -> None:
    """A message of our own making, durable when this returns."""
    writing = Writing(folder, token, 1 << 40)
    writing.open()
    writing.add(octets)
    writing.finish()


def is_there(folder: str, token: str) -> bool:
    """Whether a message is there under any of its names."""
    return bool(_names(folder, token))


def remove(folder: str, token: str) -> None:
    """The worker has it, or nobody is to have it."""
    for name in _names(folder, token):
        durable.remove(os.path.join(folder, name))


def sweep(folder: str, tokens: set[str]) -> None:
    """Remove what another run of us left and no row of the ledger names."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.partition(".")[0] not in tokens:
                durable.remove(os.path.join(folder, name))


def forget_parts(folder: str, now_s: float) -> None:
    """Remove the beginnings of messages that nobody has gone on with for long: they are not at the server any
    more."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            is_part = entry.name.startswith(NEW_PREFIX)
            if is_part and entry.stat(follow_symlinks=False).st_mtime < now_s - PARTS_KEPT_S:
                durable.remove(entry.path)


def _names(folder: str, token: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.partition(".")[0] == token]
    except FileNotFoundError:
        return []
