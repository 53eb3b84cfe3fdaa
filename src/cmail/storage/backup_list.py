"""What stands in a backup: `files`, a line for each file with its digest, and `backup.json`, written last.

A backup without its backup.json was cut short: nobody takes it for whole."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Final

from cmail.storage import durable

FORMAT: Final = 1
LIST: Final = "files"
FACTS: Final = "backup.json"
DATA: Final = "data"  # the data folder, as it stands in a backup
SETTINGS: Final = "cmail.toml"
PIECE_OCTETS: Final = 256 * 1024
_FACTS_OCTETS_MAX: Final = 2**20
_NONE: Final = b"-"

Opened = Callable[[str], BinaryIO]  # how a file of a backup is opened, with whose rights


class BackupError(Exception):
    """It cannot be done; says why, in words for the person at the terminal, and the exit code."""

    def __init__(self, words: str, code: int = 74) -> None:
        super().__init__(words)
        self.code = code


class DamagedError(BackupError):
    """A backup that is not whole; `problems` holds a line for each thing that is wrong."""

    def __init__(self, folder: str, problems: list[str]) -> None:
        super().__init__(f"{folder} is damaged, nothing was taken from it:\n" + "\n".join(problems), 65)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a backup, or a folder: that has no digest."""

    path: str  # within the backup
    digest: str = ""  # SHA-256
    size: int = 0
    uid: int = -1  # whose it is, when not the server's: the submitter of a file in drop/


@dataclass(slots=True)
class Facts:
    """What backup.json says."""

    format: int = FORMAT
    version: str = ""
    began_ms: int = 0
    ended_ms: int = 0
    data_dir: str = ""
    settings: str = ""  # where the settings file stood
    list_digest: str = ""
    files: int = 0
    octets: int = 0
    queued: int = 0  # messages in the queue, and in the drop folder
    mail: int = 0  # files in the mailboxes
    notes: list[str] = field(default_factory=list)  # what was left out, in words


class ListWriter:
    """The list while the backup is made: what is added stands on the disk, not in memory."""

    def __init__(self, folder: str) -> None:
        self._file = open(os.path.join(folder, LIST), "xb")
        self._digest = hashlib.sha256()
        self.files = self.octets = 0

    def add(self, entry: Entry) -> None:
        """Another line."""
        line = print_entry(entry)
        self._file.write(line)
        self._digest.update(line)
        if entry.digest:
            self.files += 1
            self.octets += entry.size

    def close(self) -> str:
        """All is written; the digest of the list."""
        self._file.close()
        return self._digest.hexdigest()


def print_entry(entry: Entry) -> bytes:
    """One line: digest, size, owner, path (\\\\ and \\n where a name has them)."""
    path = os.fsencode(entry.path).replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    digest = entry.digest.encode() or _NONE
    uid = b"%d" % entry.uid if entry.uid >= 0 else _NONE
    return b"%s %d %s %s\n" % (digest, entry.size, uid, path)


def parse_entry(line: bytes) -> Entry:
    """A line of the list; ValueError when it is none, or leads out of the backup."""
    digest, size, uid, name = line.rstrip(b"\n").split(b" ", 3)
    pieces = [piece.replace(b"\\n", b"\n") for piece in name.split(b"\\\\")]
    path = os.fsdecode(b"\\".join(pieces))
    if path.startswith("/") or not {"", ".", ".."}.isdisjoint(path.split("/")) or "\0" in path:
        raise ValueError(f"{path!a} leads out of the backup")
    owner = -1 if uid == _NONE else int(uid)
    return Entry(path, "" if digest == _NONE else digest.decode("ascii"), int(size), owner)


def write_facts(folder: str, facts: Facts) -> None:
    """The last file of a backup, durable when this returns: now it is whole."""
    text = json.dumps(asdict(facts), indent=1) + "\n"
    durable.write_durably(os.path.join(folder, FACTS), text.encode())


def read_facts(folder: str, opened: Opened) -> Facts:
    """What a backup says of itself; BackupError in words when it is none, or not whole."""
    try:
        with opened(os.path.join(folder, FACTS)) as file:
            fields: Any = json.loads(file.read(_FACTS_OCTETS_MAX))
        if fields.get("format") != FORMAT:
            raise BackupError(
                f"{folder} was made by another version of this program: {fields.get('version')}", 78
            )
        known = {name: fields[name] for name in asdict(Facts())}
        return Facts(**known)
    except FileNotFoundError:
        raise BackupError(
            f"{folder} is not a whole backup: {FACTS}, written last, is not there (was it cut short?)",
            66,
        ) from None
    except (ValueError, KeyError, AttributeError) as error:
        raise BackupError(f"{folder}/{FACTS} is damaged: {error!r}", 65) from None


def read_list(folder: str, facts: Facts, opened: Opened) -> Iterator[Entry]:
    """All entries, in the order in which they were written. Its digest is looked at first, so that
    every line is what was written."""
    path = os.path.join(folder, LIST)
    try:
        with opened(path) as file:
            if digest_of(file)[0] != facts.list_digest:
                raise BackupError(f"{path} is damaged: it is not what {FACTS} says of it", 65)
        with opened(path) as file:
            yield from map(parse_entry, file)
    except FileNotFoundError:
        raise BackupError(f"{folder} is damaged: {path} is missing", 65) from None
    except ValueError as error:
        raise BackupError(f"{path} makes no sense: {error}", 65) from None


def verify(folder: str, opened: Opened) -> tuple[Facts, list[str]]:
    """Read all of a backup; what is wrong with it, a line each. Empty: it is as it was written."""
    facts = read_facts(folder, opened)
    problems = []
    for entry in read_list(folder, facts, opened):
        if not entry.digest:
            continue
        try:
            with opened(os.path.join(folder, entry.path)) as file:
                problem = problem_of(entry, *digest_of(file))
        except OSError as error:
            problem = words_of_missing(entry, error)
        if problem:
            problems.append(problem)
    return facts, problems


def problem_of(entry: Entry, digest: str, size: int) -> str:
    """In words, what is wrong with a file that reads like this; "" when nothing is."""
    if size != entry.size:
        return f"{entry.path!a} has {size} octets, it had {entry.size}"
    return (
        "" if digest == entry.digest else f"{entry.path!a} is not what was written: its octets have changed"
    )


def words_of_missing(entry: Entry, error: OSError) -> str:
    """In words, why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return f"{entry.path!a} is missing"
    return f"{entry.path!a} cannot be read: {(error.strerror or str(error)).lower()}"


def digest_of(file: BinaryIO) -> tuple[str, int]:
    """SHA-256 of all of it, and how much that is."""
    digest, size = hashlib.sha256(), 0
    while piece := file.read(PIECE_OCTETS):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size
