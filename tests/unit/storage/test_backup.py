"""A backup step by step: what moves, vanishes or is replaced between two steps of it is not lost."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import apsw
import pytest

from cmail.mail.envelope import Notify
from cmail.mail.queue_id import QueueId, QueueIds, print_queue_id
from cmail.storage import backup, backup_copy, backup_spool, durable
from cmail.storage.backup_copy import Copier
from cmail.storage.backup_list import BackupError, DamagedError, ListWriter, parse_entry
from cmail.storage.backup_mail import MailCopy
from cmail.storage.backup_restore import has_data, restore
from cmail.storage.spool import Final, RecipientState, Settlement
from tests.support.house import wait_for
from tests.support.spools import SpoolPlace

DELIVERED = (Final(0, RecipientState.DELIVERED),)


def opened(path: str) -> BinaryIO:
    return open(path, "rb")


class Place:
    """A data folder with one shard, and the copier of a backup of it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        for name in ("spool", "mail", "drop"):
            (self.data / name).mkdir(parents=True)
        self.settings = folder / "cmail.toml"
        self.settings.write_text("[host]\n")
        self.target = folder / "backup"
        self.target.mkdir()
        self.folder = folder

    def copier(self) -> Copier:
        """For a part of a backup."""
        self.listing = ListWriter(str(self.target))
        return Copier(str(self.target), str(self.data), self.listing)

    def listed(self) -> list[str]:
        """What stands in the list, without folders; every file of it is there."""
        self.listing.close()
        entries = [
            parse_entry(line) for line in (self.target / "files").read_bytes().splitlines(keepends=True)
        ]
        for entry in entries:
            path = self.target / entry.path
            assert path.is_dir() if not entry.digest else path.stat().st_size == entry.size
        return [entry.path for entry in entries if entry.digest]

    def make(self) -> Any:
        """All of a backup."""
        return backup.make_backup(
            str(self.target), str(self.data), str(self.settings), "new-", lambda: 1_800_000_000_000
        )

    def restored(self, name: str = "restored") -> Path:
        """Bring it back into another data folder."""
        there = self.folder / name
        there.mkdir(exist_ok=True)
        restore(str(self.target), str(there), opened, contextlib.nullcontext)
        return there


def on_a_spool(test: Callable[[Place, SpoolPlace], Any]) -> Callable[[Path], None]:
    """Run a test with a data folder whose shard 0 is open, as by a server."""

    def run(tmp_path: Path) -> None:
        async def whole() -> None:
            place = Place(tmp_path)
            spool = SpoolPlace("sqlite", place.data / "spool")
            assert spool.spool
            try:
                await asyncio.wait_for(test(place, spool), 60)
            finally:
                await spool.close()

        asyncio.run(whole())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def copied(place: Place, before: Callable[[], None] = lambda: None) -> list[int]:
    """Copy shard 0; the ids of what is in the copy."""
    count = backup_spool.copy_shard(place.copier(), str(place.data / "spool/0"), "spool/0", before)
    db = apsw.Connection(str(place.target / "data/spool/0/spool.sqlite3"))
    ids = [queue_id for (queue_id,) in db.execute("SELECT id FROM message ORDER BY id")]
    assert ids == [i for (i,) in db.execute("SELECT id FROM content ORDER BY id")]
    assert ids == [i for (i,) in db.execute("SELECT DISTINCT message_id FROM recipient ORDER BY message_id")]
    assert len(ids) == count
    assert db.execute("PRAGMA integrity_check").get == "ok"
    db.close()
    return ids


def contents_of(message: Any) -> tuple[Any, bytes]:
    """Envelope and content, wherever that stands."""
    content = message.content
    return message.envelope, content.prefix + (
        Path(content.path).read_bytes() if content.path else content.octets
    )


async def accepted(spool: SpoolPlace, *messages: Any) -> list[QueueId]:
    for message in messages:
        await spool.spool.accept(message)
    return [message.queue_id for message in messages]


@on_a_spool
async def test_a_copy_opens_as_a_spool(place: Place, spool: SpoolPlace) -> None:
    """Envelope, content in memory and in a file, due times: all of it is in the copy as it was."""
    messages = [
        spool.message("a@example.net"),
        spool.message("b@example.net", envid="x"),
        spool.message_in_file(),
    ]
    ids = await accepted(spool, *messages)
    before = await spool.all_due()
    copied(place)
    copy = SpoolPlace("sqlite", place.target / "data/spool")
    found = await copy.all_due()
    assert [contents_of(message) for message in found] == [contents_of(message) for message in before]
    assert [message.recipients for message in found] == [message.recipients for message in before]
    assert [message.queue_id for message in found] == ids
    assert copy.spool.set_aside == []
    await copy.close()


@on_a_spool
async def test_what_comes_and_goes_meanwhile(place: Place, spool: SpoolPlace) -> None:
    """Content is copied ahead. What is done with by the moment of the copy is not in it, nor is its file; what
    came until then is."""
    messages = [spool.message(), spool.message_in_file(), spool.message(), spool.message_in_file()]
    ids = await accepted(spool, *messages)
    late = [spool.message(), spool.message_in_file()]
    loop = asyncio.get_running_loop()
    is_first = True

    async def change() -> None:
        await accepted(spool, *late)
        for queue_id in ids[:2]:
            await spool.spool.settle(Settlement(queue_id, DELIVERED, is_whole=True))

    def before() -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            asyncio.run_coroutine_threadsafe(change(), loop).result(10)

    found = await asyncio.to_thread(copied, place, before)
    assert found == [*ids[2:], *(message.queue_id for message in late)]
    names = [print_queue_id(i) for i in (ids[3], late[1].queue_id)]
    assert [name.rpartition("/")[2] for name in place.listed()] == [*names, "spool.sqlite3"]


@on_a_spool
async def test_a_file_that_goes_while_it_is_looked_for(place: Place, spool: SpoolPlace) -> None:
    """A message that bounces between the look at its row and the look at its file is not in the copy, and its
    bounce is: the copy is as of one moment."""
    message = spool.message_in_file()
    [queue_id] = await accepted(spool, message)
    bounce = spool.message(reverse_path="")
    loop = asyncio.get_running_loop()
    count = 0

    async def settle() -> None:
        await spool.spool.settle(
            Settlement(queue_id, (Final(0, RecipientState.FAILED),), owed=(bounce,), is_whole=True)
        )
        path = message.content.path  # it goes after the commit
        await asyncio.to_thread(wait_for, lambda: not os.path.exists(path), "the file to be gone")

    def look(copier: Copier, source: str) -> int | None:
        nonlocal count
        count += 1
        if count == 1:
            return None  # as if it had come after the first look
        if count == 2:
            asyncio.run_coroutine_threadsafe(settle(), loop).result(10)
            assert not os.path.exists(source)
        return original(copier, source)

    original = Copier.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Copier, "open", look)
        assert await asyncio.to_thread(copied, place) == [bounce.queue_id]
    assert count == 2


@on_a_spool
async def test_the_queue_gets_another_database(place: Place, spool: SpoolPlace) -> None:
    """A sync fails while we copy: what is copied is the database that took over."""
    await accepted(spool, spool.message())
    folder = place.data / "spool/0"
    late = spool.message()
    calls = 0

    def before() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            (folder / "spool.sqlite3.broken").write_text("as if its sync had failed\n")
            asyncio.run_coroutine_threadsafe(restart(), loop).result(20)

    async def restart() -> None:
        await spool.restart()
        await accepted(spool, late)

    loop = asyncio.get_running_loop()
    found = await asyncio.to_thread(copied, place, before)
    assert late.queue_id in found and len(found) == 2
    assert calls == 2 and (folder / "spool.1.sqlite3").exists()


@on_a_spool
async def test_delivered_after_the_copy_is_not_delivered_again(place: Place, spool: SpoolPlace) -> None:
    """A message in the queue whose file is in a mailbox already is done with, whatever the host is called now;
    but not for a recipient without a file, nor where the sender is to be told."""
    one, two = spool.message("anna@example.org", route="local"), spool.message("anna@x.org", "bob@x.org")
    told = spool.message("anna@example.org")
    told = type(told)(
        told.queue_id,
        type(told.envelope)(
            None, tuple(type(r)(r.forward_path, "", Notify.SUCCESS) for r in told.envelope.recipients)
        ),
        told.content,
        told.routes,
        told.arrived_wall_ms,
        told.arrived_link_ms,
    )
    ids = await accepted(spool, one, two, told)
    new = place.data / "mail/example.org/anna/new"
    new.mkdir(parents=True)
    for queue_id in ids:
        (new / f"1795421088.Q{print_queue_id(queue_id)}P0.old.example.org").write_text("Subject: x\n\n")
    (new / "1795421088.M1P2.Q1.elsewhere").write_text("another program's\n")
    place.make()
    restored = SpoolPlace("sqlite", place.restored() / "spool")
    due = await restored.all_due()
    assert [(m.queue_id, [r.position for r in m.recipients]) for m in due] == [(ids[1], [1]), (ids[2], [0])]
    assert await restored.spool.message(ids[0]) is None
    await restored.close()


@on_a_spool
async def test_what_moves_from_the_queue_to_a_mailbox(place: Place, spool: SpoolPlace) -> None:
    """A message that is delivered between the copy of the queue and that of the mailboxes is not between them:
    it is restored, and once."""
    message = spool.message("anna@example.org", route="local")
    [queue_id] = await accepted(spool, message)
    loop = asyncio.get_running_loop()
    new = place.data / "mail/example.org/anna/new"
    new.mkdir(parents=True)

    def deliver() -> None:
        path = new / f"1795421088.Q{print_queue_id(queue_id)}P0.mail"
        if not path.exists():
            path.write_text("Subject: x\n\n")
            settlement = Settlement(queue_id, DELIVERED, is_whole=True)
            asyncio.run_coroutine_threadsafe(settled(settlement), loop).result(10)

    async def settled(settlement: Settlement) -> None:
        await spool.spool.settle(settlement)

    def then_deliver(original: Callable[..., int]) -> Callable[..., int]:
        def run(*words: Any) -> int:
            count = original(*words)
            deliver()
            return count

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "_copy_spool", then_deliver(backup._copy_spool))
        patch.setattr(MailCopy, "copy", then_deliver(MailCopy.copy))
        await asyncio.to_thread(place.make)
    there = place.restored()
    restored = SpoolPlace("sqlite", there / "spool")
    waiting = len(await restored.all_due("local"))
    await restored.close()
    mailbox = there / "mail/example.org/anna/new"
    assert waiting + len(os.listdir(mailbox)) == 1


@on_a_spool
async def test_queue_ids_go_on_above_those_of_before(place: Place, spool: SpoolPlace) -> None:
    """Ids that were given out until the copy ended are not given out again, also by a clock that is behind."""
    given = [await accepted(spool, spool.message()) for _ in range(3)]
    ended_ms = 1_800_000_000_000
    place.make()
    restored = SpoolPlace("sqlite", place.restored() / "spool")
    latest = QueueIds(0, lambda: ended_ms)
    assert restored.spool.new_queue_id() > max(latest.new() for _ in range(8000)) > given[-1][0]
    await restored.close()


def mail_in(place: Place, *names: str) -> None:
    for name in names:
        path = place.data / "mail/example.org/anna" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name.partition(":")[0])


def copied_mail(
    place: Place, moves: dict[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Copy the mailboxes; before the file named is copied, others are renamed. What was copied, contents."""
    box = place.data / "mail/example.org/anna"
    original = Copier.copy

    def copy(copier: Copier, source: str, name: str) -> tuple[str, int] | None:
        for old, new in moves.pop(os.path.basename(source).partition(":")[0], []):
            (box / new).parent.mkdir(parents=True, exist_ok=True)
            (box / old).rename(box / new)
        return original(copier, source, name)

    monkeypatch.setattr(Copier, "copy", copy)
    copier = place.copier()
    MailCopy(copier).copy(str(place.data / "mail"), "mail")
    assert not moves
    return sorted((place.target / path).read_text() for path in place.listed())


# What a mail program does, and before which file is copied. Folders are listed new, cur, then others.
MOVES = {
    "read while it is copied": {"b": [("new/b", "cur/b:2,S")]},
    "flagged while it is copied": {"c": [("cur/c:2,S", "cur/c:2,RS")]},
    "put back to where we had been": {"c": [("cur/c:2,S", "new/c")]},
    "filed away to where we had been": {"e": [(".Box/cur/e:2,", "cur/e:2,")]},
    "filed away to where we shall be": {"b": [("new/b", ".Box/cur/b:2,")]},
    "filed away after it was copied": {"c": [("new/b", ".Box/cur/b:2,")]},
}


@pytest.mark.parametrize("name", MOVES)
def test_mail_that_a_program_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever is renamed while it is copied, and wherever to, is in the backup, once."""
    place = Place(tmp_path)
    mail_in(place, "new/a", "new/b", "cur/c:2,S", "cur/d:2,S", ".Box/cur/e:2,", "subscriptions")
    moved = {key: list(moves) for key, moves in MOVES[name].items()}
    found = copied_mail(place, moved, monkeypatch)
    assert found == sorted([*"abcde", "subscriptions"])


def test_a_message_in_two_folders_is_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a mail program has copied with a second name for the same file is no move: both are kept."""
    place = Place(tmp_path)
    mail_in(place, "cur/a:2,S", ".Box/cur/b:2,S")
    box = place.data / "mail/example.org/anna"
    os.link(box / "cur/a:2,S", box / ".Box/cur/c:2,")
    assert copied_mail(place, {}, monkeypatch) == ["a", "a", "b"]


def test_a_mailbox_comes_back_as_it_was(tmp_path: Path) -> None:
    """Flags, empty folders, times of arrival, what other programs keep there; not what is in tmp."""
    place = Place(tmp_path)
    mail_in(place, "new/a", "cur/b:2,FS", ".Sent/cur/c:2,", ".Sent/tmp/half", "tmp/half", "dovecot.index")
    (place.data / "mail/example.org/empty/cur").mkdir(parents=True)
    os.utime(place.data / "mail/example.org/anna/cur/b:2,FS", ns=(1, 1_500_000_000_123_456_789))
    facts = place.make()
    assert facts.mail == 3
    mail = place.restored() / "mail/example.org"
    assert sorted(str(f.relative_to(mail)) for f in mail.rglob("*") if f.is_file()) == [
        "anna/.Sent/cur/c:2,",
        "anna/cur/b:2,FS",
        "anna/dovecot.index",
        "anna/new/a",
    ]
    assert (mail / "empty/cur").is_dir() and (mail / "anna/.Sent/tmp").is_dir()
    assert (mail / "anna/cur/b:2,FS").stat().st_mtime_ns == 1_500_000_000_123_456_789


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the data folder does not bring in what its owner may not read; it is said to be left out."""
    place = Place(tmp_path)
    mail_in(place, "new/a")
    (place.data / "mail/example.org/anna/new/b").symlink_to("/etc/passwd")
    (place.data / "aside").symlink_to("/etc")
    facts = place.make()
    assert ["new/b" in note or "data/aside" in note for note in facts.notes] == [True, True]
    assert not (place.target / "data/aside").exists()


def test_the_drop_folder(tmp_path: Path) -> None:
    """What waits there is copied, not what is being written; what the server takes before the queue is copied is
    left out, and what it has only renamed is there once, under its last name."""
    place = Place(tmp_path)
    drop = place.data / "drop"
    for name in ("msg-a", "msg-b", "msg-c", "new-x"):
        (drop / name).write_text(name)
    copier = place.copier()
    copy = backup._DropCopy(copier, str(drop), "new-")
    copy.look()
    (drop / "msg-a").unlink()
    (drop / "msg-b").rename(drop / "taken-b")
    (drop / "msg-d").write_text("msg-d")
    copy.look()
    assert copy.finish() == 3
    assert sorted(place.listed()) == ["data/drop/msg-c", "data/drop/msg-d", "data/drop/taken-b"]


def test_a_file_that_is_renamed_while_its_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then neither of its names may be among those that are read; it is in the backup all the same."""
    place = Place(tmp_path)
    drop = place.data / "drop"
    (drop / "msg-a").write_text("a")
    copy = backup._DropCopy(place.copier(), str(drop), "new-")
    copy.look()
    (drop / "msg-a").rename(drop / "taken-a")
    original = os.scandir
    calls: list[str] = []

    @contextlib.contextmanager
    def scandir(path: str) -> Any:
        calls.append(path)
        with original(path) as entries:
            yield [] if len(calls) == 1 else entries

    monkeypatch.setattr(os, "scandir", scandir)
    copy.look()
    monkeypatch.undo()
    assert copy.finish() == 1
    assert place.listed() == ["data/drop/taken-a"]


def test_a_file_that_one_look_alone_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So much comes that the looks are used up: what only the last of them did not find may have been renamed just
    then, and stays in the backup."""
    place = Place(tmp_path)
    drop = place.data / "drop"
    (drop / "msg-a").write_text("a")
    copy = backup._DropCopy(place.copier(), str(drop), "new-")
    copy.look()
    monkeypatch.setattr(backup, "PASSES_MAX", 1)
    (drop / "msg-a").rename(tmp_path / "on its way")
    copy.look()
    assert copy.finish() == 1
    assert place.listed() == ["data/drop/msg-a"]


def filled(place: Place) -> Path:
    """A data folder with something of everything."""
    mail_in(place, "new/a")
    for name in (
        "secrets/x",
        "tls/key.pem",
        "run/x.sock",
        "lock",
        "link.json",
        "drop/msg-1",
        "replaced-1/old",
    ):
        path = place.data / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    accounts = apsw.Connection(str(place.data / "accounts.sqlite3"))
    accounts.pragma("journal_mode", "wal")
    accounts.execute("CREATE TABLE t (x); INSERT INTO t VALUES (17)")
    place.accounts = accounts  # type: ignore[attr-defined]
    return place.data


def test_what_is_being_collected_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger of collected mail and the files that it names are in the backup from before the queue: what the
    ledger calls fetched is in the queue or a mailbox of the backup. A file that gets its next name while its folder
    is read is not missed; one that is being fetched is left out."""
    place = Place(tmp_path)
    incoming = place.data / "collect" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "0011223344556677").write_bytes(b"whole")
    (incoming / "new-8899aabbccddeeff").write_bytes(b"half")
    with contextlib.closing(apsw.Connection(str(place.data / "collect.sqlite3"))) as ledger:
        ledger.execute("CREATE TABLE message (uid TEXT); INSERT INTO message VALUES ('before')")
    copy, copy_spool = Copier.copy, backup._copy_spool
    claimed = incoming / "0011223344556677.38G6TPN5J0000"

    def copy_late(self: Copier, source: str, name: str) -> tuple[str, int] | None:
        if source.endswith("0011223344556677"):
            os.rename(source, claimed)
        return copy(self, source, name)

    def collect_meanwhile(*arguments: Any) -> int:
        with contextlib.closing(apsw.Connection(str(place.data / "collect.sqlite3"))) as ledger:
            ledger.execute("INSERT INTO message VALUES ('while the queue was copied')")
        return copy_spool(*arguments)

    monkeypatch.setattr(Copier, "copy", copy_late)
    monkeypatch.setattr(backup, "_copy_spool", collect_meanwhile)
    place.make()
    there = place.restored()
    assert [path.name for path in (there / "collect" / "incoming").iterdir()] == [claimed.name]
    with contextlib.closing(apsw.Connection(str(there / "collect.sqlite3"))) as ledger:
        assert [row[0] for row in ledger.execute("SELECT uid FROM message")] == ["before"]


def test_everything_comes_back_and_nothing_of_a_run(tmp_path: Path) -> None:
    """Secrets, keys, link and accounts (also what is in their log only); not the lock, sockets, what was replaced."""
    place = Place(tmp_path)
    filled(place)
    place.make()
    there = place.restored()
    assert (there / "secrets/x").read_text() == "secrets/x" and (there / "link.json").exists()
    assert apsw.Connection(str(there / "accounts.sqlite3")).execute("SELECT x FROM t").get == 17
    assert not [name for name in os.listdir(there) if name in ("lock", "run", "restoring", "replaced-1")]
    assert (there / "secrets").stat().st_mode & 0o777 == 0o700
    assert (there / "tls/key.pem").stat().st_mode & 0o777 == 0o600
    assert (there / "drop").stat().st_mode & 0o7777 == 0o1733
    assert (place.target / "cmail.toml").read_text() == "[host]\n"


def test_a_damaged_backup_changes_nothing(tmp_path: Path) -> None:
    """All that is damaged is named, and what is in the data folder stays."""
    place = Place(tmp_path)
    data = filled(place)
    place.make()
    (place.target / "data/tls/key.pem").write_text("tls/kez.pem")
    (place.target / "data/link.json").unlink()
    before = sorted(str(path) for path in data.rglob("*"))
    with pytest.raises(DamagedError) as said:
        restore(str(place.target), str(data), opened, contextlib.nullcontext)
    assert len(said.value.problems) == 2
    assert "'data/link.json' is missing" in str(said.value) and "key.pem" in str(said.value)
    assert sorted(str(path) for path in data.rglob("*")) == before


def test_what_is_there_goes_aside(tmp_path: Path) -> None:
    """Nothing is deleted: what stood there stands in replaced-TIME, all of it but for what belongs to a run."""
    place = Place(tmp_path)
    data = filled(place)
    place.make()
    (data / "link.json").write_text("newer")
    assert has_data(str(data))
    done = restore(str(place.target), str(data), opened, contextlib.nullcontext)
    assert (Path(done.replaced) / "link.json").read_text() == "newer"
    assert (Path(done.replaced) / "mail/example.org/anna/new/a").exists()
    assert (data / "link.json").read_text() == "link.json" and (data / "lock").read_text() == "lock"


def test_an_empty_data_folder_is_empty(tmp_path: Path) -> None:
    """The folders that a start lays, a lock and sockets are nothing to be careful about; one message is."""
    for name in ("spool/0", "mail", "run", "drop", "secrets"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("lock", "spool/0/lock", "run/x.sock"):
        (tmp_path / name).touch()
    assert not has_data(str(tmp_path))
    (tmp_path / "drop/msg-1").touch()
    assert has_data(str(tmp_path))


def test_it_is_called_whole_when_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a backup one is written after all else was synced: a power cut leaves no half one that looks whole."""
    place = Place(tmp_path)
    filled(place)
    done: list[str] = []

    def synced(path: str) -> None:
        done.append(f"synced, {len(list(place.target.rglob('*')))} there")
        original(path)

    original = durable.sync_file_system
    monkeypatch.setattr(durable, "sync_file_system", synced)
    place.make()
    assert done[-1] == f"synced, {len(list(place.target.rglob('*'))) - 1} there"


def test_the_queue_keeps_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the disk of the queue a backup is given up before the server would refuse mail."""
    place = Place(tmp_path)
    monkeypatch.setattr(backup_copy, "_ROOM_MIN", 1 << 62)
    with pytest.raises(BackupError, match="the queue is on it too"):
        place.make()
    assert not (place.target / "backup.json").exists()


@on_a_spool
async def test_the_log_is_left_out(place: Place, spool: SpoolPlace) -> None:
    """The copy of the log that the page shows is in no backup: it is large, and tells of another machine."""
    (place.data / "log").mkdir()
    (place.data / "log" / "2026-11-23.log").write_text("line\n")
    place.make()
    assert not (place.target / "data" / "log").exists()
