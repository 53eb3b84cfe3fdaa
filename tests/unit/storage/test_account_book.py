"""AccountBook: users and aliases as commands change them, and the words when they cannot."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from cmail.storage.account_book import FILE_NAME, AccountBook, AccountError, Alias
from cmail.storage.passwords import is_password


@pytest.fixture
def book(tmp_path: Path) -> Iterator[AccountBook]:
    with open_book(tmp_path) as opened:
        yield opened


def open_book(folder: Path) -> AccountBook:
    return AccountBook(
        str(folder),
        domains=("example.org", "example.net"),
        hostname="mx.example.org",
        wall_ms=lambda: 1_800_000_000_000,
    )


NAMES = [
    ("whole", "anna@example.org", "anna@example.org"),
    ("bare", "anna", "anna@example.org"),
    ("in capitals", "Anna@Example.ORG", "anna@example.org"),
    ("another domain of ours", "anna@example.net", "anna@example.net"),
    ("at the host", "anna@mx.example.org", "anna@example.org"),
]


@pytest.mark.parametrize(("name", "address"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_a_user_by_any_spelling(book: AccountBook, name: str, address: str) -> None:
    """However the name is written, one account is made, and the same spelling finds it again."""
    assert book.add_user(name, "secret") == address
    assert [user.address for user in book.users()] == [address]
    assert book.delete_user(name) == address
    assert book.users() == []


def test_what_is_written_is_there_for_the_next(tmp_path: Path) -> None:
    """Another process reads users, hashes, keys and aliases; nobody but the owner can."""
    with open_book(tmp_path) as book:
        book.add_user("anna", "open sesame")
        book.add_alias("sales", ["anna", "X@Outside.example"])
    with open_book(tmp_path) as book:
        found = book.read()
    assert list(found.credentials) == ["anna@example.org"]
    assert is_password(found.credentials["anna@example.org"].password_hash, "open sesame")
    assert found.aliases == {"sales@example.org": ("anna@example.org", "X@outside.example")}
    assert len(found.nobody_secret) == 32
    assert stat.S_IMODE(os.stat(tmp_path / FILE_NAME).st_mode) == 0o600
    assert b"sesame" not in (tmp_path / FILE_NAME).read_bytes()


def test_another_password(book: AccountBook) -> None:
    """After set_password() the new one is right and the old one is not."""
    book.add_user("anna", "old")
    book.set_password("anna", "new")
    found = book.read().credentials["anna@example.org"].password_hash
    assert is_password(found, "new")
    assert not is_password(found, "old")


def test_catch_all_replacing_and_nobodies(book: AccountBook) -> None:
    """@domain is an alias too; one is replaced when asked; targets that nobody has are named."""
    book.add_user("anna", "x")
    assert book.add_alias("@example.net", ["anna"]) == Alias("@example.net", ("anna@example.org",))
    assert book.add_alias("@example.net", ["bob", "bob"], is_replaced=True).targets == ("bob@example.org",)
    targets = ["bob@example.org", "anna+x@example.org", "x@outside.example", "any@example.net"]
    assert book.nobodies(targets) == ["bob@example.org"]
    assert book.delete_alias("@example.net") == "@example.net"
    assert book.aliases() == []


def test_a_copy_for_a_user(book: AccountBook) -> None:
    """A user may have an alias that names the user; when the user goes, the rest of it stays."""
    book.add_user("anna", "x")
    book.add_alias("anna", ["anna", "x@outside.example"])
    book.delete_user("anna")
    assert book.aliases() == [Alias("anna@example.org", ("x@outside.example",))]


REFUSED: list[tuple[str, Callable[[AccountBook], object], str]] = [
    ("twice", lambda b: b.add_user("anna", "x"), "anna@example.org exists already"),
    ("not ours", lambda b: b.add_user("a@b.example", "x"), "b.example is not one of our domains"),
    ("an alias", lambda b: b.add_user("sales", "x"), "is an alias for anna@example.org"),
    ("no address", lambda b: b.add_user("a b", "x"), "is not an address"),
    ("very long", lambda b: b.add_user("x" * 65, "x"), "longer than 64 octets"),
    ("no password", lambda b: b.add_user("bob", ""), "the password is empty"),
    ("a line as password", lambda b: b.add_user("bob", "a\nb"), "control character"),
    ("a book as password", lambda b: b.add_user("bob", "x" * 1025), "longer than 1024 octets"),
    ("a control character", lambda b: b.add_user("a\nb", "x"), "is not an address"),
    ("half a character", lambda b: b.add_user("a\udc80", "x"), "is not an address"),
    ("nobody to change", lambda b: b.set_password("bob", "x"), "there is no user bob@example.org"),
    ("nobody to delete", lambda b: b.delete_user("bob"), "there is no user bob@example.org"),
    ("an alias of a user", lambda b: b.add_alias("anna", ["q@x.example"]), "anna@example.org is a user"),
    ("an alias twice", lambda b: b.add_alias("sales", ["anna"]), "exists already"),
    ("an alias to itself", lambda b: b.add_alias("me", ["me"]), "itself alone"),
    ("an alias to nobody", lambda b: b.add_alias("me", []), "at least one address"),
    ("an alias to all", lambda b: b.add_alias("me", [f"u{n}" for n in range(1001)]), "1000 addresses"),
    ("an alias that is not ours", lambda b: b.add_alias("a@b.example", ["anna"]), "not one of our"),
    ("a catch-all that is not ours", lambda b: b.add_alias("@b.example", ["anna"]), "not one of our"),
    ("a catch-all of nothing", lambda b: b.add_alias("@", ["anna"]), "domain"),
    ("a target that is no address", lambda b: b.add_alias("me", ["@b.example"]), "is not an address"),
    ("no alias to delete", lambda b: b.delete_alias("me"), "there is no alias me@example.org"),
]


@pytest.mark.parametrize(("ask", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_says_why(book: AccountBook, ask: Callable[[AccountBook], object], words: str) -> None:
    """Each refusal names what is wrong, and changes nothing."""
    book.add_user("anna", "x")
    book.add_alias("sales", ["anna"])
    before = book.users(), book.aliases()
    with pytest.raises(AccountError, match=words):
        ask(book)
    assert (book.users(), book.aliases()) == before


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Something else under that name is said, not overwritten."""
    (tmp_path / FILE_NAME).write_bytes(b"these are my notes" * 100)
    with pytest.raises(AccountError, match="cannot be used"):
        open_book(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"these are my notes")


def test_a_file_of_a_newer_program(tmp_path: Path) -> None:
    """A schema that we don't know is left alone."""
    open_book(tmp_path).close()
    db = apsw.Connection(str(tmp_path / FILE_NAME))
    db.pragma("user_version", 99)
    db.close()
    with pytest.raises(AccountError, match="newer version"):
        open_book(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The path and the reason are said."""
    with pytest.raises(AccountError, match=r"nowhere/accounts\.sqlite3 cannot be opened: No such file"):
        open_book(tmp_path / "nowhere")


def test_every_change_is_synced_and_references_hold(tmp_path: Path) -> None:
    """Each commit is synced (rule 1) and the database itself watches over its references."""
    with AccountBook(str(tmp_path), domains=("example.org",), hostname="mail.example.org") as book:
        assert book._db.pragma("synchronous") == 2  # FULL
        assert book._db.pragma("foreign_keys") == 1
        assert book._db.pragma("journal_mode") == "wal"
