"""`cmail backup DIR`: a copy of everything while mail flows; `--verify` says whether one is whole."""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from cmail.cli.command import Command, config_option
from cmail.cli.exits import Exit, Refusal, words_of
from cmail.cli.owner import OwnerRights
from cmail.cli.place import Place, find_place

PARTIAL: Final = ".partial"
_NICE: Final = 5  # mail goes first


@click.command(cls=Command)
@click.argument("folder", metavar="DIR")
@click.option("--verify", "is_verified", is_flag=True, help="Read the backup in DIR: is it whole?")
def command(folder: str, is_verified: bool) -> int:
    """A consistent copy of settings, accounts, queue and mailboxes in DIR, which must be new. The server may
    run or not; `cmail restore DIR` brings it back."""
    folder = os.path.abspath(folder)
    return _verify(folder) if is_verified else _backup(folder, find_place(config_option()))


def _backup(folder: str, place: Place) -> int:
    import apsw

    from cmail.smtpd.drop_file import NEW_PREFIX
    from cmail.storage.backup import make_backup
    from cmail.storage.backup_list import BackupError
    from cmail.storage.migrations import SchemaTooNewError

    rights = _rights(place)
    _check(folder, place)
    os.umask(0o077)
    os.nice(_NICE)
    began = time.monotonic()
    partial = folder + PARTIAL
    try:
        with _being_written(partial, rights), rights.owner():
            settings = os.path.abspath(place.config)
            facts = make_backup(partial, place.data_dir, settings, NEW_PREFIX, _wall_ms)
        _give_name(partial, folder)
    except BackupError as error:
        raise Refusal(f"{error}\nno backup was made", error.code) from error
    except SchemaTooNewError as error:
        raise Refusal(str(error), Exit.CONFIG) from error
    except (apsw.Error, OSError) as error:
        raise Refusal(f"no backup was made: {_words(error, partial)}", _code(error)) from error
    for note in [*facts.notes, *_elsewhere(place)]:
        click.echo(f"note: {note}", err=True)
    click.echo(
        f"{folder}: {facts.queued} messages in the queue, {facts.mail} in mailboxes, {_size(facts.octets)},"
        f" in {time.monotonic() - began:.1f} s. It holds mail and keys: keep it where nobody else reads."
    )
    return Exit.OK


def _verify(folder: str) -> int:
    from cmail.storage.backup_list import BackupError, verify

    try:
        facts, problems = verify(folder, OwnerRights(os.geteuid(), os.getegid()).opened)
    except BackupError as error:
        raise Refusal(str(error), error.code) from error
    if problems:
        raise Refusal(f"{folder} is damaged:\n" + "\n".join(problems), Exit.DATA)
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(facts.ended_ms / 1000))
    click.echo(f"{folder} is whole: {facts.files} files, {_size(facts.octets)}, made {when}")
    return Exit.OK


def _rights(place: Place) -> OwnerRights:
    """Of the owner of the data folder; Refusal when we are neither he nor root."""
    try:
        owner = os.stat(place.data_dir)
    except FileNotFoundError:
        raise Refusal(
            f"{place.data_dir} is not there: there is nothing to back up yet", Exit.NO_INPUT
        ) from None
    if os.geteuid() not in (0, owner.st_uid):
        raise Refusal(
            f"only root and the owner of {place.data_dir} (user {owner.st_uid}) may read all of it: use sudo",
            Exit.NO_PERMISSION,
        )
    return OwnerRights(owner.st_uid, owner.st_gid)


def _check(folder: str, place: Place) -> None:
    inside = os.path.realpath(folder) + os.sep
    if inside.startswith(os.path.realpath(place.data_dir) + os.sep):
        raise Refusal(f"{folder} is in the data folder: the backup would back up itself", Exit.USAGE)
    if os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise Refusal(f"{folder} is there already and stays as it is: name a new folder", Exit.CANNOT_CREATE)
    if os.path.ismount(folder):
        raise Refusal(
            f"{folder} is a whole disk: name a folder in it, such as {folder}/cmail-1", Exit.CANNOT_CREATE
        )


@contextlib.contextmanager
def _being_written(partial: str, rights: OwnerRights) -> Iterator[None]:
    """A folder of our own, named as what it is; gone again when the backup is not made."""
    fd = _make(partial)
    try:
        if os.geteuid() == 0 and rights.uid != 0:
            _let_in(partial, fd, rights)
        yield
        if os.geteuid() == 0 and rights.uid != 0:
            os.fchown(fd, 0, 0)  # the server's user has no business in it any more
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(fd)


def _make(partial: str) -> int:
    """Make it anew. What a backup left there that was cut short goes; one that is at work is let work."""
    with contextlib.suppress(FileExistsError):
        os.makedirs(os.path.dirname(partial), exist_ok=True)
        os.mkdir(partial, 0o700)
        return _locked(partial)
    stale = _locked(partial)
    shutil.rmtree(partial)
    os.close(stale)
    os.mkdir(partial, 0o700)
    return _locked(partial)


def _locked(partial: str) -> int:
    fd = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno != errno.EWOULDBLOCK:
            raise
        raise Refusal(f"another backup is writing {partial}", Exit.TEMPORARY) from None
    return fd


def _let_in(partial: str, fd: int, rights: OwnerRights) -> None:
    """The server's user writes the backup, so that nothing is read for him that he may not read."""
    from cmail.app.starter import blocked_at

    os.fchown(fd, rights.uid, rights.gid)
    if blocked := blocked_at(partial, rights.uid, {rights.gid}):
        raise Refusal(
            f"the backup is made with the rights of the server's user ({rights.uid}), who cannot go through"
            f" {blocked}: name a folder that he can reach, such as /var/backups/cmail-1",
            Exit.CANNOT_CREATE,
        )


def _give_name(partial: str, folder: str) -> None:
    """Whole, synced: now it gets its name."""
    from cmail.storage.durable import sync_folder

    os.rename(partial, folder)
    sync_folder(os.path.dirname(folder))


def _words(error: Exception, partial: str) -> str:
    import apsw

    if isinstance(error, apsw.FullError) or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
        return f"there is no space left in {os.path.dirname(partial)}; what was written is removed again"
    return words_of(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _code(error: Exception) -> Exit:
    return Exit.NO_PERMISSION if isinstance(error, PermissionError) else Exit.IO


def _elsewhere(place: Place) -> Iterator[str]:
    """Files that the settings name and that are not in the data folder."""
    for table, keys in (("smtp", ("password_file",)), ("tls", ("certificate_file", "key_file", "ca_file"))):
        found: Any = place.tables.get(table, {})
        for key in keys:
            path = found.get(key, "") if isinstance(found, dict) else ""
            if isinstance(path, str) and path and not path.startswith(place.data_dir + os.sep):
                yield f"{table}.{key} = {path} is not in the data folder, and so not in the backup"
    link: Any = place.tables.get("link", {})
    kicks = link.get("kick", ()) if isinstance(link, dict) else ()
    for table, rows in (
        ("link.kick", kicks),
        ("collect", place.tables.get("collect", ())),
        ("site", place.tables.get("site", ())),
    ):
        yield from _elsewhere_of_rows(place, table, rows)


def _elsewhere_of_rows(place: Place, table: str, rows: Any) -> Iterator[str]:
    for number, row in enumerate(rows if isinstance(rows, list) else (), 1):
        path = row.get("password_file", "") if isinstance(row, dict) else ""
        if isinstance(path, str) and path and not path.startswith(place.data_dir + os.sep):
            key = f"{table}[{number}].password_file"
            yield f"{key} = {path} is not in the data folder, and so not in the backup"


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _size(octets: int) -> str:
    return f"{octets / 2**20:.1f} MiB"
