"""Recording: all that a running server did to its data folder, as the kernel saw it, and what it said when.

    with RecordedCmail(folder, more=...) as cmail:
        ...
    recording = cmail.recording()

strace runs with the server from its first moment, over all of its processes; octets that are written stand in
the trace. A place in the recording is the number of a line: a call began in one line and ended in another."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.house import RunningCmail, wait_for

NEVER: Final = 1 << 60  # the end of a call that nobody saw end
_CALLS: Final = (
    "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,rename,renameat,"
    "renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,syncfs,sync,"
    "sync_file_range,copy_file_range,sendfile,splice,mmap,sendto,sendmsg"
)
_DATA_CALLS: Final = frozenset((b"write", b"pwrite64", b"writev", b"pwritev", b"sendto", b"sendmsg"))
_SYNCS: Final = frozenset((b"fsync", b"fdatasync"))
_NAMINGS: Final = frozenset((b"rename", b"unlink", b"mkdir", b"rmdir"))
_QUEUED_AS: Final = re.compile(rb"queued as ([0-9A-Z]{13})")
_SENT: Final = re.compile(rb"([0-9A-Z]{13}): to=<([^>]*)>[^\n]*status=sent")
_IGNORED: Final = ("-shm", ".sock")  # SQLite's shared memory is made anew; sockets are no files
_UNFINISHED: Final = b" <unfinished ...>"


@dataclass(frozen=True, slots=True)
class Event:
    """One call that changed or synced something in the data folder, or said something outside."""

    kind: str  # write, size, create, empty, rename, unlink, mkdir, rmdir, sync; queued, sent
    began: int
    ended: int
    time: float  # when it began, by the wall clock
    path: str = ""  # in the data folder; for queued and sent the queue id
    other: str = ""  # where a rename leads; for sent the recipient
    offset: int = 0  # of a write, -1: at the end; the new size
    octets: bytes = b""
    is_done: bool = True  # False: a sync that failed


@dataclass
class Recording:
    """The events in the order in which they ended, and the folder as it was before the first."""

    folder: Path
    before: dict[str, bytes | None] = field(default_factory=dict)  # None: a folder
    events: list[Event] = field(default_factory=list)
    lines: int = 0
    after: list[tuple[int, dict[str, bytes | None]]] = field(
        default_factory=list
    )  # (line, folder) at each end
    times: list[float] = field(default_factory=list)  # of each line, by the wall clock; never backward


class RecordedCmail(RunningCmail):
    """RunningCmail under strace. `inject` are options of strace (`fdatasync:error=EIO:when=50`)."""

    def __init__(self, folder: Path, *, inject: Sequence[str] = (), **options: Any) -> None:
        super().__init__(folder, **options)
        self._inject = inject
        self._traces: list[Path] = []
        self._before: dict[str, bytes | None] = {}
        self._after: list[dict[str, bytes | None]] = []

    def launch(self) -> None:
        """Start it under strace, which is a process beside: ours is the server all the same."""
        if not self._traces:
            self._before = tree_of(self.data)
        else:
            self._note_end()
        trace = self.folder / f"trace-{len(self._traces)}"
        trace.touch(mode=0o600)
        self._traces.append(trace)
        options = ["-D", "-f", "-q", "--seccomp-bpf", "-ttt", "-y", "-xx", "-s", "100000000"]
        options += ["-e", "signal=none", "-e", f"trace={_CALLS}", "-o", str(trace)]
        options += [word for each in self._inject for word in ("-e", f"inject={each}")]
        with open(self.log_file, "ab") as log, open(self.screen_file, "wb") as screen:
            self.process = subprocess.Popen(
                ["strace", *options, sys.executable, "-m", "cmail", "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=log,
                start_new_session=True,
                extra_groups=[0, 4] if os.geteuid() == 0 else None,
            )

    def recording(self) -> Recording:
        """What was recorded; the server must have ended."""
        self._note_end()
        recording = Recording(self.data, self._before)
        for trace, after in zip(self._traces, self._after, strict=True):
            with open(trace, "rb") as file:
                _Parser(recording, recording.lines).read(file)
            recording.after.append((recording.lines, after))
        recording.events.sort(key=lambda event: event.ended)
        return recording

    def _note_end(self) -> None:
        trace = self._traces[-1]
        wait_for(lambda: not _is_written(trace), "strace to end")
        self._after.append(tree_of(self.data))


def tree_of(folder: Path) -> dict[str, bytes | None]:
    """The files of a folder with their octets, folders with None; what a recording leaves out is left out."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = None
        elif path.is_file() and not name.endswith(_IGNORED):
            found[name] = path.read_bytes()
    return found


def _is_written(path: Path) -> bool:
    """Whether some process has this file open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == str(path):
                return True
        except OSError:
            continue
    return False


class _Parser:
    """The lines of one trace, as events."""

    def __init__(self, recording: Recording, first_line: int) -> None:
        self._recording = recording
        self._folder = os.fsencode(recording.folder) + b"/"
        self._line = first_line
        self._marks = tuple(_hex(words) for words in (self._folder[:-1], b"queued as ", b"status=sent"))
        self._under_way: dict[bytes, tuple[int, float, bytes]] = {}

    def read(self, file: Iterator[bytes]) -> None:
        """All of it."""
        for line in file:
            self._read(line)
            self._line += 1
        for began, time, text in self._under_way.values():
            self._take(text + b") = ?", began, NEVER, time)
        self._recording.lines = self._line

    def _read(self, line: bytes) -> None:
        pid, time, text = line.rstrip(b"\n").split(None, 2)
        times = self._recording.times
        times.append(max(float(time), times[-1] if times else 0.0))
        if text.startswith(b"<... "):
            if pid in self._under_way:
                began, began_time, begun = self._under_way.pop(pid)
                self._take(begun + text.partition(b" resumed>")[2], began, self._line, began_time)
        elif any(mark in text for mark in self._marks):
            if text.endswith(_UNFINISHED):
                self._under_way[pid] = (self._line, float(time), text.removesuffix(_UNFINISHED))
            else:
                self._take(text, self._line, self._line, float(time))

    def _take(self, text: bytes, began: int, ended: int, time: float) -> None:
        name, _, rest = text.partition(b"(")
        arguments, _, result = rest.rpartition(b") = ")
        is_done = not result.startswith(b"-1")
        if result.startswith(b"?"):  # its process was killed meanwhile
            ended = NEVER
        for values in self._events(name, arguments, result, is_done):
            self._recording.events.append(Event(began=began, ended=ended, time=time, **values))

    def _events(
        self, name: bytes, arguments: bytes, result: bytes, is_done: bool
    ) -> Iterator[dict[str, Any]]:
        if name in _SYNCS:
            if (path := self._path(arguments)) is not None:
                yield {"kind": "sync", "path": path, "is_done": is_done}
        elif not is_done:
            return
        elif name in _DATA_CALLS:
            yield from self._said_or_written(name, arguments, result)
        elif name in (b"openat", b"open", b"creat"):
            if self._is_ours(opened := self._quoted(arguments)[-1]):
                yield from self._opened(opened, arguments)
        elif name in _NAMINGS:
            paths = [self._inside(path) for path in self._quoted(arguments)]
            if paths[0] is not None and not paths[0].endswith(_IGNORED):
                yield {"kind": name.decode(), "path": paths[0], "other": paths[-1] or ""}
        elif name == b"unlinkat":
            folder, inside = self._path(arguments), self._quoted(arguments)[0]
            if folder is not None:
                kind = "rmdir" if b"AT_REMOVEDIR" in arguments else "unlink"
                yield {"kind": kind, "path": f"{folder}/{os.fsdecode(inside)}".removeprefix("/")}
        elif name == b"ftruncate":
            if (path := self._path(arguments)) is not None:
                yield {"kind": "size", "path": path, "offset": int(arguments.rpartition(b", ")[2])}
        elif name != b"mmap" or (b"PROT_WRITE" in arguments and b"MAP_SHARED" in arguments):
            path = self._path(arguments)
            assert path is None or path.endswith(_IGNORED), f"{name!r} of {path} is not understood"

    def _said_or_written(self, name: bytes, arguments: bytes, result: bytes) -> Iterator[dict[str, Any]]:
        count = int(result.split()[0]) if result[:1] != b"?" else NEVER
        octets = b"".join(self._quoted(arguments))[:count]
        path = self._path(arguments)
        if path is not None:
            offset = int(arguments.rpartition(b", ")[2]) if name in (b"pwrite64", b"pwritev") else -1
            yield {"kind": "write", "path": path, "offset": offset, "octets": octets}
            return
        for found in _SENT.finditer(octets):
            yield {"kind": "sent", "path": found[1].decode(), "other": found[2].decode()}
        if octets.startswith(b"250") or b"\n250" in octets:
            for found in _QUEUED_AS.finditer(octets):
                yield {"kind": "queued", "path": found[1].decode()}

    def _opened(self, path: bytes, arguments: bytes) -> Iterator[dict[str, Any]]:
        inside = self._inside(path)
        assert inside is not None
        if inside.endswith(_IGNORED):
            return
        if b"O_CREAT" in arguments:
            yield {"kind": "create", "path": inside}
        if b"O_TRUNC" in arguments:
            yield {"kind": "size", "path": inside, "offset": 0}

    def _path(self, arguments: bytes) -> str | None:
        """Of the descriptor; None when it is not in our folder, or has no name any more."""
        text, _, after = arguments.partition(b"<")[2].partition(b">")
        if after.startswith(b"(deleted)") or b"\\x" not in text:
            return None
        path = self._inside(_unhex(text))
        return None if path is None or path.endswith(_IGNORED) else path

    def _quoted(self, arguments: bytes) -> Sequence[bytes]:
        return [_unhex(text) for text in arguments.split(b'"')[1::2]]

    def _is_ours(self, path: bytes) -> bool:
        return path.startswith(self._folder)

    def _inside(self, path: bytes) -> str | None:
        if path == self._folder[:-1]:
            return ""
        return os.fsdecode(path.removeprefix(self._folder)) if self._is_ours(path) else None


def _unhex(text: bytes) -> bytes:
    return bytes.fromhex(text.translate(None, b"\\x").decode())


def _hex(octets: bytes) -> bytes:
    return b"".join(b"\\x%02x" % octet for octet in octets)
