"""MaildirStore: what stands in a mailbox after an append, and how a name becomes a path."""

import os
from pathlib import Path

import pytest

from cmail.mail.address import Address, parse_address
from cmail.mail.content import Content, from_plain, from_wire
from cmail.storage import mailboxes
from cmail.storage.mailbox_names import NAME_OCTETS_MAX, folder_name
from cmail.storage.mailboxes import Append, MaildirStore

ANNA = parse_address(b"anna@example.org")
NOW_MS = 1_800_000_000_000
TOP = b"Return-Path: <bob@example.net>\n"


def append(
    content: Content, name: str = "1800000000.Q1P0.mail", mailbox: Address = ANNA, arrived_ms: int = NOW_MS
) -> Append:
    return Append(mailbox, name, TOP, content, arrived_ms)


def new_files(store: MaildirStore, mailbox: Address = ANNA) -> list[Path]:
    return sorted((Path(store.path(mailbox)) / "new").iterdir())


def test_message_is_stored_as_a_maildir_holds_it(tmp_path: Path) -> None:
    """Dots are single again, lines end in LF, our lines stand on top, tmp is empty."""
    store = MaildirStore(str(tmp_path))
    content = from_wire(b"Subject: x\r\n\r\n..dot\r\nend\r\n", b"Received: here\r\n")
    assert store.append_all([append(content)], NOW_MS) == [None]
    [file] = new_files(store)
    assert file.read_bytes() == TOP + b"Received: here\nSubject: x\n\n.dot\nend\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "example.org" / "anna").is_dir()
    assert not list((tmp_path / "example.org/anna/tmp").iterdir())
    assert (tmp_path / "example.org/anna/cur").is_dir()


@pytest.mark.parametrize("piece_octets", [1, 2, 3, 7, 4096])
def test_content_in_a_file_is_copied_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_octets: int
) -> None:
    """Wherever the pieces are cut, what is stored is the same as from memory."""
    monkeypatch.setattr(mailboxes, "_PIECE_OCTETS", piece_octets)
    wire = b"Subject: x\r\n\r\n..\r\n..dot\r\n\r\na.b\r\nend\r\n"
    whole = from_wire(wire, b"Received: here\r\n")
    path = tmp_path / "content"
    path.write_bytes(wire)
    filed = Content(whole.prefix, b"", whole.size_bytes, str(path), len(wire))
    store = MaildirStore(str(tmp_path / "mail"))
    assert store.append_all([append(whole, "a"), append(filed, "b")], NOW_MS) == [None, None]
    first, second = new_files(store)
    assert first.read_bytes() == second.read_bytes()


def test_content_file_cut_short_is_not_delivered(tmp_path: Path) -> None:
    """Half a message is an error, and nothing of it is in the mailbox."""
    path = tmp_path / "content"
    path.write_bytes(b"Subject: x\r\n")
    store = MaildirStore(str(tmp_path / "mail"))
    [error] = store.append_all([append(Content(b"", b"", 9000, str(path), 9000))], NOW_MS)
    assert isinstance(error, OSError)
    assert not new_files(store)
    assert not list((Path(store.path(ANNA)) / "tmp").iterdir())


@pytest.mark.parametrize("moved_to", ["new/{}", "cur/{}:2,", "cur/{}:2,FS"])
def test_second_try_after_a_crash_does_not_deliver_twice(tmp_path: Path, moved_to: str) -> None:
    """The same name, in new or read by the user meanwhile, is taken for the delivery that it is."""
    name = "1800000000.Q1P0.mail"
    store = MaildirStore(str(tmp_path))
    assert store.append_all([append(from_plain(b"x: y\n"))], NOW_MS) == [None]
    folder = Path(store.path(ANNA))
    (folder / "new" / name).rename(folder / moved_to.format(name))
    os.utime(folder / "cur", (NOW_MS / 1000 + 1, NOW_MS / 1000 + 1))
    again = MaildirStore(str(tmp_path))
    assert again.append_all([append(from_plain(b"x: y\n"))], NOW_MS + 60_000) == [None]
    assert len([*(folder / "new").iterdir(), *(folder / "cur").iterdir()]) == 1


def test_file_left_in_tmp_by_a_crash_is_written_anew(tmp_path: Path) -> None:
    """Half a file in tmp does not stop the next try, and is not what is delivered."""
    store = MaildirStore(str(tmp_path))
    tmp = Path(store.path(ANNA)) / "tmp"
    tmp.mkdir(parents=True)
    (tmp / "1800000000.Q1P0.mail").write_bytes(b"half a mess")
    assert store.append_all([append(from_plain(b"x: y\n"))], NOW_MS) == [None]
    assert new_files(store)[0].read_bytes() == TOP + b"x: y\n"


def test_one_bad_mailbox_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """A file where a folder should be spoils one mailbox; the rest of the batch arrives."""
    store = MaildirStore(str(tmp_path))
    bob = parse_address(b"bob@example.org")
    folder = Path(store.path(bob))
    (folder / "tmp").mkdir(parents=True)
    (folder / "cur").mkdir()
    (folder / "new").write_bytes(b"")
    errors = store.append_all(
        [append(from_plain(b"x: y\n")), append(from_plain(b"x: y\n"), mailbox=bob)], NOW_MS
    )
    assert errors[0] is None
    assert isinstance(errors[1], OSError)
    assert len(new_files(store)) == 1


def test_mailbox_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Somebody who removes a Maildir by hand loses no later mail."""
    store = MaildirStore(str(tmp_path))
    store.append_all([append(from_plain(b"x: 1\n"), "a")], NOW_MS)
    folder = Path(store.path(ANNA))
    folder.rename(tmp_path / "away")
    assert store.append_all([append(from_plain(b"x: 2\n"), "b")], NOW_MS) == [None]
    assert len(new_files(store)) == 1


def test_full_disk_is_an_error_with_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC goes up as it is, and tmp is left clean."""
    store = MaildirStore(str(tmp_path))

    def full(descriptor: int, octets: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    [error] = store.append_all([append(from_plain(b"x: y\n"))], NOW_MS)
    assert error is not None and error.errno == 28
    assert not list((Path(store.path(ANNA)) / "tmp").iterdir())


NAMES = [
    ("plain", "anna", "anna"),
    ("case", "AnnA", "anna"),
    ("dots inside", "anna.b", "anna.b"),
    ("up", "..", "%2E."),
    ("here", ".", "%2E"),
    ("Maildir++ folder", ".Sent", "%2Esent"),
    ("slash", "a/b", "a%2Fb"),
    ("NUL", "a\0b", "a%00b"),
    ("percent", "a%2fb", "a%252fb"),
    ("blank", "a b", "a%20b"),
    ("colon", "a:b", "a%3Ab"),
    ("backslash", "a\\b", "a%5Cb"),
    ("empty", "", "%"),
    ("letters beyond ASCII", "jürgen", "jürgen"),
    ("composed and decomposed", "ju\u0308rgen", "jürgen"),
    ("control beyond ASCII", "a\u2028b", "a%E2%80%A8b"),
    ("half a surrogate", "a\ud800", "a%ED%A0%80"),
    ("address literal", "[127.0.0.1]", "%5B127.0.0.1%5D"),
]


@pytest.mark.parametrize(("name", "expected"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_mailbox_name_is_one_safe_component(name: str, expected: str) -> None:
    """No name leaves its folder, hides, or meets another's."""
    assert folder_name(name) == expected
    assert "/" not in folder_name(name) and not folder_name(name).startswith(".")


def test_long_names_stay_apart_and_short() -> None:
    """Names longer than a file system takes end in a digest, so that no two meet."""
    first, second = folder_name("a" * 300 + "b"), folder_name("a" * 300 + "c")
    assert first != second
    assert len(first.encode()) <= NAME_OCTETS_MAX
    assert len(folder_name("ü" * 300).encode()) <= NAME_OCTETS_MAX


def test_folders_that_somebody_else_made_are_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who made the mailbox may have been killed before its names were synced: the first delivery syncs
    each folder above it, so that a power cut after 'delivered' does not take the mailbox away."""
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    for name in ("tmp", "cur", "new"):
        (tmp_path / "example.org" / "anna" / name).mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", noting)
    assert MaildirStore(str(tmp_path)).append_all(
        [append(from_plain(b"Subject: x\r\n\r\nx\r\n"))], NOW_MS
    ) == [None]
    anna = tmp_path / "example.org" / "anna"
    assert {str(tmp_path), str(anna.parent), str(anna), str(anna / "new")} <= set(synced)
