"""A backup of a whole installation while it runs: what is copied in which order, and why nothing is lost.

A message goes from the drop folder to the queue, perhaps by way of the quarantine, and from there to a
mailbox or outside. So they are copied in this order: whatever moves on meanwhile is in the later copy,
perhaps in both, never in none. Accounts and settings come last: nobody whose mail waits in the copy is
unknown to it. What is collected from elsewhere comes before all of that: a ledger that is older than the
queue has a message fetched once more; one that is newer would call one fetched that is in neither."""

import contextlib
import os
import re
from collections.abc import Callable
from typing import Final

import apsw

from cmail import __version__
from cmail.storage import durable
from cmail.storage.backup_copy import Copier
from cmail.storage.backup_list import (
    SETTINGS,
    Entry,
    Facts,
    ListWriter,
    digest_of,
    write_facts,
)
from cmail.storage.backup_mail import PASSES_MAX, MailCopy
from cmail.storage.backup_quarantine import QuarantineCopy
from cmail.storage.backup_spool import copy_shard
from cmail.storage.quarantine import FOLDER as QUARANTINE
from cmail.storage.spool_shards import shards

RESTORING: Final = "restoring"  # where a restore builds what it brings back
REPLACED: Final = "replaced-"  # and where it puts what was there
DROP: Final = "drop"
SPOOL: Final = "spool"
MAIL: Final = "mail"
COLLECTED: Final = "collect"  # what is being collected stands in a folder in it, and the ledger beside it
_INCOMING: Final = os.path.join(COLLECTED, "incoming")
COLLECT_LEDGER: Final = "collect.sqlite3"
OF_A_RUN: Final = ("lock", "run", "log")  # they mean nothing to another server; the log is large
# A file that is renamed while its folder is read can be in none of what is read; it is renamed once.
_GONE: Final = 2  # passes in a row that did not find it: the server has it in the queue
_DATABASE: Final = ".sqlite3"
_PASSING: Final = re.compile(r"-(?:wal|shm|journal)$|\.new-\d+$")  # beside a database; being written


def make_backup(
    folder: str, data_dir: str, settings: str, unfinished: str, wall_ms: Callable[[], int]
) -> Facts:
    """Fill an empty folder with a backup; it is whole and durable when this returns. BackupError and
    OSError: it is not, and has no backup.json. `unfinished`: how the names of files in the drop folder
    begin that somebody is writing."""
    facts = Facts(version=__version__, began_ms=wall_ms(), data_dir=data_dir, settings=settings)
    listing = ListWriter(folder)
    copier = Copier(folder, data_dir, listing)
    copier.list_folder("")
    _copy_collected(copier, data_dir)
    drop = _DropCopy(copier, os.path.join(data_dir, DROP), unfinished)
    quarantine = QuarantineCopy(copier, data_dir)

    def look() -> None:
        drop.look()
        quarantine.look()

    look()
    facts.queued = _copy_spool(copier, os.path.join(data_dir, SPOOL), look) + drop.finish()
    facts.mail = MailCopy(copier).copy(os.path.join(data_dir, MAIL), MAIL)
    quarantine.look()  # who came there after the drop folder was left alone, and is not in its copy
    _copy_rest(copier, data_dir)
    _copy_settings(copier, listing, settings)
    facts.list_digest, facts.files, facts.octets = listing.close(), listing.files, listing.octets
    facts.notes, facts.ended_ms = list(copier.notes), wall_ms()
    durable.sync_file_system(folder)
    write_facts(folder, facts)
    return facts


def _copy_spool(copier: Copier, folder: str, look: Callable[[], None]) -> int:
    """The shards, and what was set aside in them; not by which table routes were chosen: the server that
    is restored chooses them anew. `look`: at what goes into them."""
    copier.list_folder(SPOOL)
    count = 0
    for shard in shards(folder):
        name = os.path.join(SPOOL, str(shard))
        source = os.path.join(folder, str(shard))
        # Shard 0 takes what is dropped: who looks once more just before it is copied has little twice.
        # Any takes what is released from quarantine; the others are copied after it.
        before = look if shard == 0 else lambda: None
        count += copy_shard(copier, source, name, before)
        if os.path.isdir(os.path.join(source, "aside")):
            copier.copy_tree(os.path.join(source, "aside"), os.path.join(name, "aside"))
    return count


def _copy_collected(copier: Copier, data_dir: str) -> None:
    """The ledger, then the files that it names. One that is gone by then is in the queue; one that got its
    next name while we looked is there at the next look."""
    ledger = os.path.join(data_dir, COLLECT_LEDGER)
    if os.path.isfile(ledger) and not os.path.islink(ledger):
        copier.copy_database(ledger, COLLECT_LEDGER)
    folder, seen = os.path.join(data_dir, _INCOMING), set()
    if not os.path.isdir(folder):
        return
    copier.list_folder(COLLECTED)
    copier.list_folder(_INCOMING)
    for _ in range(PASSES_MAX):
        has_missed = False
        for name in sorted(os.listdir(folder)):
            if name in seen or name.startswith("new-"):  # being fetched: it is at its server still
                continue
            inner = os.path.join(_INCOMING, name)
            copied = copier.copy(os.path.join(data_dir, inner), inner)
            has_missed = has_missed or copied is None
            if copied is not None:
                copier.list_file(inner, *copied)
                seen.add(name)
        if not has_missed:
            return


def _copy_rest(copier: Copier, data_dir: str) -> None:
    """Accounts, the link and its clock, secrets, certificates, and whatever else there is."""
    done = (*OF_A_RUN, DROP, SPOOL, MAIL, QUARANTINE, RESTORING, COLLECTED, COLLECT_LEDGER)
    for name in sorted(os.listdir(data_dir)):
        path = os.path.join(data_dir, name)
        if name in done or name.startswith(REPLACED) or _PASSING.search(name):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            copier.copy_tree(path, name, lambda inner: not _PASSING.search(inner))
        elif name.endswith(_DATABASE) and os.path.isfile(path) and not os.path.islink(path):
            copier.copy_database(path, name)
        elif (copied := copier.copy(path, name)) is not None:
            copier.list_file(name, *copied)


def _copy_settings(copier: Copier, listing: ListWriter, settings: str) -> None:
    path = os.path.join(copier.folder, SETTINGS)
    with open(settings, "rb") as file:
        durable.write_new(path, file.read())
    with open(path, "rb") as file:
        listing.add(Entry(SETTINGS, *digest_of(file)))


class _DropCopy:
    """The drop folder. A file changes its name when it is whole, and again when the server takes it: each
    is looked for until a whole pass finds nothing new."""

    def __init__(self, copier: Copier, folder: str, unfinished: str) -> None:
        self._copier, self._folder, self._unfinished = copier, folder, unfinished
        self._seen = apsw.Connection("")
        self._seen.execute(
            "CREATE TABLE seen (inode INTEGER, changed INTEGER, name TEXT, digest TEXT, size INTEGER, "
            "uid INTEGER, missed INTEGER, PRIMARY KEY (inode, changed, name)) WITHOUT ROWID"
        )

    def look(self) -> None:
        """Copy all that waits in it, as far as it is new. What the server has taken meanwhile is left out: it
        is in the queue, which is copied after this."""
        self._copier.make_folder(DROP)
        for _ in range(PASSES_MAX):
            if not self._pass() and not self._seen.execute("SELECT 1 FROM seen WHERE missed = 1").get:
                return

    def finish(self) -> int:
        """What was there at the last look stands in the list; how many messages."""
        self._copier.list_folder(DROP)
        count = 0
        rows = self._seen.execute("SELECT name, digest, size, uid, missed FROM seen")
        for name, digest, size, uid, missed in rows:
            if missed < _GONE:
                self._copier.list_file(name, digest, size, uid)
                count += 1
            else:
                os.unlink(self._copier.path(name))
        self._seen.close()
        return count

    def _pass(self) -> int:
        found = 0
        self._seen.execute("UPDATE seen SET missed = missed + 1")
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith(self._unfinished):
                    found += self._look_at(entry)
        return found

    def _look_at(self, entry: "os.DirEntry[str]") -> int:
        """1: it is new, or not under this name any more."""
        name = os.path.join(DROP, entry.name)
        try:
            status = entry.stat(follow_symlinks=False)
            key = (status.st_ino, status.st_mtime_ns, name)
            self._seen.execute("UPDATE seen SET missed = 0 WHERE inode = ? AND changed = ? AND name = ?", key)
            if self._seen.changes():
                return 0
            copied = self._copier.copy(entry.path, name)
        except FileNotFoundError:
            return 1
        except PermissionError as error:
            self._copier.notes[f"{error.filename!a} may not be read: it is not in the backup"] = None
            return 0
        if copied is not None:
            self._seen.execute(
                "INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, 0)", (*key, *copied, status.st_uid)
            )
        return int(copied is not None or not os.path.exists(entry.path))
