"""Disk: what of a recording is on the disk for sure at a moment, and what a power cut may leave or take.

The rules are those of POSIX alone, stricter than any file system in use: a sync of a file makes its octets
durable and not its name; a name is durable when its folder was synced; whatever is not synced may be there or
not, each part for itself, in any order. A sync that failed makes nothing durable, also not when it is repeated."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tests.crash.recording import Event, Recording

SECTOR: Final = 512  # what a disk writes whole or not at all


@dataclass(slots=True, eq=False)
class Pending:
    """A change that was not synced yet."""

    began: int
    ended: int
    is_doomed: bool = False  # a sync of it failed: no later one makes it durable


@dataclass(slots=True, eq=False)
class Write(Pending):
    """Octets at a place of a file; without octets: its new size."""

    offset: int = 0
    octets: bytes = b""
    is_size: bool = False


@dataclass(slots=True, eq=False)
class Naming(Pending):
    """A name of a folder means another file from now on, or none."""

    name: str = ""
    node: "Node | None" = None


@dataclass(slots=True, eq=False)
class File:
    """Octets that are durable, and the writes that are not, in order."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)
    size: int = 0  # with all that is pending


@dataclass(slots=True, eq=False)
class Folder:
    """Names that are durable, what is pending, and the names as a running program sees them."""

    durable: "dict[str, Node]" = field(default_factory=dict)
    pending: list[Naming] = field(default_factory=list)
    live: "dict[str, Node]" = field(default_factory=dict)


Node = File | Folder
Tree = dict[str, bytes | None]  # path -> octets; None: a folder


class Chooser(Protocol):
    """Which of what may be there is there."""

    def node(self, durable: Node | None, pending: Sequence[Naming]) -> Node | None:
        """What a name means; `pending` is all that was done to this name, in order."""
        ...

    def octets(self, durable: bytearray, pending: Sequence[Write]) -> bytes:
        """What stands in a file."""
        ...


@dataclass(frozen=True)
class Without:
    """Syncs that are taken out of a recording, as if nobody had called them: of such paths, from a line on."""

    paths: str  # a regular expression; the data folder is "/"
    from_line: int = 0

    def has(self, event: Event) -> bool:
        """Whether this one is taken out."""
        return event.began >= self.from_line and re.search(self.paths, f"/{event.path}") is not None


class Disk:
    """Goes through a recording: advance() to a line, then as many states of that moment as one likes."""

    def __init__(self, recording: Recording, without: Without | None = None) -> None:
        self._events = recording.events
        self._next = 0
        self._line = 0
        self._root = Folder()
        self._without = without
        for path, octets in recording.before.items():
            self._put_before(path, octets)

    def _put_before(self, path: str, octets: bytes | None) -> None:
        folder, name = self._place(path)
        node: Node = Folder() if octets is None else File(bytearray(octets), size=len(octets))
        folder.durable[name] = folder.live[name] = node

    def advance(self, line: int) -> None:
        """To the moment before this line: calls that ended before it have had their effect."""
        assert line >= self._line
        self._line = line
        while self._next < len(self._events) and self._events[self._next].ended < line:
            event = self._events[self._next]
            self._next += 1
            if event.kind == "sync":
                self._sync(event)
            else:
                for holder, change in self._effects(event):
                    _apply(holder, change)

    def tree(self, chooser: Chooser) -> Tree:
        """One state that a power cut at this moment may leave. What is under way now may be there too."""
        under_way: dict[int, list[Pending]] = {}
        for event in self._under_way():
            for holder, change in self._effects(event):
                under_way.setdefault(id(holder), []).append(change)
        found: Tree = {}
        _walk(self._root, "", found, chooser, under_way)
        return found

    def _under_way(self) -> Iterator[Event]:
        for event in self._events[self._next : self._next + 64]:
            if event.began < self._line and event.kind != "sync":
                yield event

    def _effects(self, event: Event) -> list[tuple[Node, Pending]]:
        """What a call does to which file or folder, before it is done."""
        if event.kind in ("queued", "sent"):
            return []
        when = (event.began, event.ended)
        if event.kind in ("write", "size"):
            file = self._node(event.path)
            if not isinstance(file, File):
                return []  # it is being made now, or was unlinked meanwhile
            offset = event.offset if event.offset >= 0 else file.size
            return [(file, Write(*when, False, offset, event.octets, event.kind == "size"))]
        try:
            folder, name = self._place(event.path)
        except KeyError:
            return []  # in a folder that is being made now
        if event.kind in ("unlink", "rmdir"):
            return [(folder, Naming(*when, False, name, None))]
        if event.kind == "rename":
            return self._renamed(when, folder, name, event.other)
        if event.kind == "create" and name in folder.live:
            return []
        return [(folder, Naming(*when, False, name, Folder() if event.kind == "mkdir" else File()))]

    def _renamed(
        self, when: tuple[int, int], folder: Folder, name: str, to: str
    ) -> list[tuple[Node, Pending]]:
        """Two halves: the new name is there, the old one is not; a power cut may leave either alone."""
        target, target_name = self._place(to)
        added = Naming(*when, False, target_name, folder.live.get(name))
        return [(target, added), (folder, Naming(*when, False, name, None))]

    def _sync(self, event: Event) -> None:
        if self._without is not None and self._without.has(event):
            return
        node = self._node(event.path) if event.path else self._root
        if node is None:
            return  # it was unlinked meanwhile
        if isinstance(node, File):
            _sync_file(node, event)
        else:
            _sync_folder(node, event)

    def _node(self, path: str) -> Node | None:
        try:
            folder, name = self._place(path)
        except KeyError:
            return None
        return folder.live.get(name)

    def _place(self, path: str) -> tuple[Folder, str]:
        """The folder that a path stands in, and its name there; KeyError when there is no such folder."""
        *above, name = path.split("/")
        folder = self._root
        for part in above:
            node = folder.live[part]
            assert isinstance(node, Folder)
            folder = node
        return folder, name


def _sync_file(file: File, event: Event) -> None:
    """What had ended before the sync began is durable; what is doomed stays so until it is written over."""
    covered = [w for w in file.pending if w.ended < event.began and not w.is_doomed]
    if not event.is_done:
        for write in covered:
            write.is_doomed = True
        return
    left = [w for w in file.pending if w not in covered]
    for write in covered:
        put(file.durable, write.offset, write.octets, write.is_size)
        left = [w for w in left if not w.is_doomed or w.ended > write.ended or _is_apart(w, write)]
    file.pending = left


def _sync_folder(folder: Folder, event: Event) -> None:
    covered = [n for n in folder.pending if n.ended < event.began and not n.is_doomed]
    if not event.is_done:
        for naming in covered:
            naming.is_doomed = True
        return
    left = [n for n in folder.pending if n not in covered]
    for naming in covered:
        _name(folder.durable, naming)
        left = [n for n in left if n.ended > naming.ended or n.name != naming.name]
    folder.pending = left


def _apply(holder: Node, change: Pending) -> None:
    if isinstance(holder, File):
        assert isinstance(change, Write)
        holder.pending.append(change)
        holder.size = (
            change.offset if change.is_size else max(holder.size, change.offset + len(change.octets))
        )
    else:
        assert isinstance(change, Naming)
        holder.pending.append(change)
        _name(holder.live, change)


def _name(names: dict[str, Node], naming: Naming) -> None:
    if naming.node is None:
        names.pop(naming.name, None)
    else:
        names[naming.name] = naming.node


def _is_apart(one: Write, other: Write) -> bool:
    if other.is_size:
        return one.offset + len(one.octets) <= other.offset
    return one.offset + len(one.octets) <= other.offset or other.offset + len(other.octets) <= one.offset


def put(octets: bytearray, offset: int, piece: bytes, is_size: bool = False) -> None:
    """Do a write to a file's octets; what it leaves open before it is zeros."""
    if len(octets) < offset:
        octets.extend(bytes(offset - len(octets)))
    if is_size:
        del octets[offset:]
    else:
        octets[offset : offset + len(piece)] = piece


def _walk(
    folder: Folder, path: str, found: Tree, chooser: Chooser, under_way: dict[int, list[Pending]]
) -> None:
    pending: dict[str, list[Naming]] = {}
    for change in (*folder.pending, *under_way.get(id(folder), ())):
        assert isinstance(change, Naming)
        pending.setdefault(change.name, []).append(change)
    for name in sorted({*folder.durable, *pending}):
        durable = folder.durable.get(name)
        changes = pending.get(name)
        node = chooser.node(durable, changes) if changes else durable
        where = f"{path}{name}"
        if isinstance(node, Folder):
            found[where] = None
            _walk(node, where + "/", found, chooser, under_way)
        elif node is not None:
            writes = [*node.pending, *under_way.get(id(node), ())]
            found[where] = chooser.octets(node.durable, writes) if writes else bytes(node.durable)  # type: ignore[arg-type]
