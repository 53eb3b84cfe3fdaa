"""Accounts that [[site]] and [[collect]] name, and that are not there: who is meant, and what is said."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from cmail.admin.nobodies import COLLECT, SITE, Here, here_of, nobodies, rows_of, words_by_name
from cmail.admin.nobody_attention import of_nobodies
from cmail.storage.account_book import AccountBook, AccountError

DOMAINS: Final = ("example.org", "example.net")
HOSTNAME: Final = "mail.example.org"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two users, an alias, and a catch-all for the second domain."""
    folder = str(tmp_path_factory.mktemp("data"))
    with AccountBook(folder, domains=DOMAINS, hostname=HOSTNAME) as book:
        book.add_user("anna@example.org", "secret of anna")
        book.add_user("ship@example.org", "secret of the ship")
        book.add_alias("sales@example.org", ["anna@example.org"])
        book.add_alias("@example.net", ["anna@example.org"])
    return folder


def here(data_dir: str, **more: Any) -> Here:
    return Here(data_dir, DOMAINS, HOSTNAME, **more)


@pytest.mark.parametrize(
    ("to", "is_nobody"),
    [
        ("anna@example.org", False),
        ("Anna@example.org", False),
        ("anna+lists@example.org", False),
        ("sales@example.org", False),
        ("anna@mail.example.org", False),  # the host name means the first domain
        ("whoever@example.net", False),  # the catch-all
        ("postmaster@example.org", False),
        ("@example.org", False),
        ("anna@elsewhere.example", False),  # of a [[forward]]: who is there is not ours to know
        ("bert@example.org", True),
        ("bert+anna@example.org", True),
        ("bert@mail.example.org", True),
    ],
)
def test_whose_mail_is_collected(data_dir: str, to: str, is_nobody: bool) -> None:
    """As intake resolves it: accounts, aliases, what stands behind a +, a catch-all."""
    found = nobodies([], [{"name": "isp", "to": to}], here(data_dir))
    assert [(each.table, each.name) for each in found] == ([(COLLECT, "isp")] if is_nobody else [])
    assert all(f"cmail user add {to}" in each.words and "nothing is fetched" in each.words for each in found)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ({"user": "ship@example.org"}, ""),
        ({"user": "Ship@example.org"}, ""),
        ({"user": ""}, ""),
        ({"user": "boat@example.org", "password_file": "/secret"}, ""),  # its log-in needs no account
        ({"user": "boat@example.org"}, "there is no account boat@example.org here"),
        (
            {"user": "sales@example.org"},
            "there is no account sales@example.org here",
        ),  # an alias has no password
        ({"user": "ship@ship.example"}, "accounts are at example.org, example.net"),
    ],
)
def test_who_logs_in_for_a_site(data_dir: str, site: dict[str, str], words: str) -> None:
    """Accounts alone can; and those are at our domains."""
    found = nobodies([{"name": "ship", **site}], [], here(data_dir))
    assert len(found) == bool(words) and all(words in each.words for each in found)
    assert all("cannot log in" in each.words for each in found)
    assert words_by_name(found, COLLECT) == {}
    assert all(said.endswith(".") and said[0] == "T" for said in words_by_name(found, SITE).values())


def test_what_a_person_should_see_to(data_dir: str) -> None:
    """On Home and in `cmail status`: without what is to be typed at a terminal."""
    found = nobodies(
        [{"name": "x", "user": "x@example.org"}], [{"name": "y", "to": "y@example.org"}], here(data_dir)
    )
    site, mailbox = of_nobodies(found)
    assert site.words.startswith("The site x: there is no account x@example.org here")
    assert mailbox.words.startswith("The mailbox elsewhere y: there is neither an account nor an alias")
    assert "(cmail" not in site.words + mailbox.words and site.path == "/users"


def test_where_unknown_users_are_taken(data_dir: str) -> None:
    """The LMTP server knows them, or postmaster gets it: nothing is said of mailboxes; a site logs in here all the same."""
    tables = {
        "local": {"delivery": "lmtp"},
        "smtp": {"advanced": {"refuse_unknown_users": False}},
        "site": [{"name": "x", "user": "x@example.org"}],
        "collect": [{"name": "y", "to": "y@example.org"}],
    }
    place = here_of(tables, data_dir, DOMAINS, HOSTNAME)
    found = nobodies(rows_of(tables, "site"), rows_of(tables, "collect"), place)
    assert [each.table for each in found] == [SITE]


def test_settings_that_are_nonsense_and_accounts_that_cannot_be_read(data_dir: str, tmp_path: Path) -> None:
    """Others say what is wrong with these; no accounts yet: nobody is there; a damaged file is no 'nobody'."""
    nonsense = [
        3,
        {"name": 4, "user": ["x"], "to": "no address"},
        {"to": "ä@b@c"},
        SimpleNamespace(user="\udc80@x"),
    ]
    assert nobodies(nonsense, nonsense, here(data_dir)) == []
    assert (
        rows_of({"site": 3}, "site") == () and here_of({"local": 3, "smtp": []}, "", (), "x").separator == "+"
    )
    row = [{"name": "x", "user": "ship@example.org"}]
    assert len(nobodies(row, [], here(str(tmp_path)))) == 1
    (tmp_path / "accounts.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(AccountError):
        nobodies(row, [], here(str(tmp_path)))
