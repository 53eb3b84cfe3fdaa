"""Mailboxes into a backup while mail comes in and mail programs move it about.

A file in new/ or cur/ never changes; its name does, when it is read or flagged. So it is known by its unique
name, the part before the colon, and a mailbox is listed until a whole pass over all its folders finds nothing
that was not seen: what was renamed while we listed, or went where we had been, the next one finds."""

import os
from collections.abc import Iterator
from typing import Final

import apsw

from cmail.storage.backup_copy import Copier

# Where something new comes all the time: that is in the copy of the queue, made before.
PASSES_MAX: Final = 10
_MAIL: Final = ("new", "cur")  # in this order: mail goes from new to cur


class MailCopy:
    """Copies DATA/mail. What was seen of a mailbox stands in a database that goes to disk when it grows."""

    def __init__(self, copier: Copier) -> None:
        self._copier = copier
        self._seen = apsw.Connection("")  # temporary: in memory while small, then a file without a name
        self._seen.execute("CREATE TABLE seen (name BLOB PRIMARY KEY) WITHOUT ROWID")
        self._seen.execute(
            "CREATE TABLE file (inode, changed, size, PRIMARY KEY (inode, changed, size)) WITHOUT ROWID"
        )
        self._seen.pragma("cache_size", -4096)
        self.count = 0  # files of mail

    def copy(self, root: str, name: str) -> int:
        """All mailboxes, DOMAIN/LOCAL-PART; how many messages."""
        self._copier.list_folder(name)
        for domain in _folders(root):
            inside = os.path.join(name, domain)
            self._copier.list_folder(inside)
            for mailbox in _folders(os.path.join(root, domain)):
                self._copy_mailbox(os.path.join(root, domain, mailbox), os.path.join(inside, mailbox))
        self._seen.close()
        return self.count

    def _copy_mailbox(self, source: str, name: str) -> None:
        self._seen.execute("DELETE FROM seen; DELETE FROM file")
        for number in range(PASSES_MAX):
            if not self._pass(source, name) and number:
                return

    def _pass(self, source: str, name: str) -> int:
        """Copy what is new in a folder and those below it; how much that was."""
        found = 0
        if self._is_new(name + "/"):
            self._copier.list_folder(name)
        for kind in _MAIL:
            found += self._copy_mail(os.path.join(source, kind), os.path.join(name, kind))
        for entry in _entries(source):
            inner = os.path.join(name, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if entry.name == "tmp":
                    if self._is_new(inner + "/"):
                        self._copier.list_folder(inner)  # what is in it is not delivered yet
                elif entry.name not in _MAIL:
                    found += self._pass(entry.path, inner)
            elif self._is_new(inner):
                found += self._copy(entry.path, inner, inner)
        return found

    def _copy_mail(self, source: str, name: str) -> int:
        found = 0
        if os.path.isdir(source) and self._is_new(name + "/"):
            self._copier.list_folder(name)
        for entry in _entries(source):
            unique = entry.name.partition(":")[0]
            key = os.path.join(os.path.dirname(name), unique)
            if self._is_new(key):
                copied = self._copy_new(entry, os.path.join(name, entry.name), key)
                found += copied
                self.count += copied
        return found

    def _copy_new(self, entry: "os.DirEntry[str]", name: str, key: str) -> int:
        """_copy(), but for a file that we have from another folder, where it is no more. One with two names
        is in both: so mail programs make a copy."""
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return self._copy(entry.path, name, key)  # which finds that out
        file = (status.st_ino, status.st_mtime_ns, status.st_size)
        is_known = "SELECT 1 FROM file WHERE inode = ? AND changed = ? AND size = ?"
        if status.st_nlink == 1 and self._seen.execute(is_known, file).get:
            return 0
        copied = self._copy(entry.path, name, key)
        if copied:
            self._seen.execute("INSERT OR IGNORE INTO file VALUES (?, ?, ?)", file)
        return copied

    def _copy(self, source: str, name: str, key: str) -> int:
        """0: it is not under this name any more; the next pass looks whether it has another."""
        copied = self._copier.copy(source, name)
        if copied is None:
            self._seen.execute("DELETE FROM seen WHERE name = ?", (os.fsencode(key),))
            return 0
        self._copier.list_file(name, *copied)
        return 1

    def _is_new(self, key: str) -> bool:
        self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (os.fsencode(key),))
        return self._seen.changes() == 1


def _folders(path: str) -> list[str]:
    """Domains, or mailboxes of one; a link to a folder on another disk is one too."""
    return sorted(entry.name for entry in _entries(path) if entry.is_dir())


def _entries(path: str) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return
