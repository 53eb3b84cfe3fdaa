"""Users and Aliases on the page: added, changed, deleted, found; what is wrong stands at its field."""

import re
import time
from pathlib import Path
from typing import Final

import apsw
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from cmail.storage.account_book import AccountBook
from cmail.storage.account_list import PAGE, AccountList
from cmail.storage.passwords import is_password
from cmail.web.application import application
from tests.support.fake_web import OneSession, fake_context

DOMAINS: Final = ("example.org",)


class Office:
    """The page and the book behind it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.context, self.processes = fake_context(folder)
        with self.book() as book:
            book.add_user("anna", "anna's secret")
        self.browser = TestClient(OneSession(application(self.context)), follow_redirects=True)

    def book(self) -> AccountBook:
        return AccountBook(str(self.data), domains=DOMAINS, hostname="mail.example.org")

    def post(self, path: str, **fields: str) -> Response:
        return self.browser.post(path, data={"csrf": "token", **fields})

    def users(self) -> list[str]:
        with self.book() as book:
            return [user.address for user in book.users()]

    def aliases(self) -> dict[str, tuple[str, ...]]:
        with self.book() as book:
            return {alias.address: alias.targets for alias in book.aliases()}

    def is_password(self, address: str, password: str) -> bool:
        with self.book() as book:
            return is_password(book.read().credentials[address].password_hash, password)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def said(answer: Response) -> list[str]:
    """What the page says has happened, or is wrong."""
    found = re.findall(r'class="(?:said \w+|error)"[^>]*>([^<]*)<', answer.text)
    return [words.replace("&#39;", "'").replace("&#34;", '"') for words in found]


def test_a_user_with_a_password_of_ours(office: Office) -> None:
    """Typed by nobody it is made, shown once, and is the one."""
    answer = office.post("/users/add", address="bert", password="")
    assert office.users() == ["anna@example.org", "bert@example.org"]
    [password] = re.findall(r"The password is ([a-z2-9-]{19}) ", answer.text)
    assert office.is_password("bert@example.org", password)
    assert password not in office.browser.get("/users").text


def test_a_user_with_a_password_that_was_typed(office: Office) -> None:
    """It is taken as it is, blanks too, and never shown."""
    answer = office.post("/users/add", address="Bert@Example.org", password=" a blank before ")
    assert office.is_password("bert@example.org", " a blank before ")
    assert "blank before" not in answer.text


ERRORS: Final = [
    (
        "no address",
        "/users/add",
        {"address": "a b@example.org", "password": "x"},
        "user-address",
        "is not an address",
    ),
    ("there already", "/users/add", {"address": "anna", "password": "x"}, "user-address", "exists already."),
    ("elsewhere", "/users/add", {"address": "a@else.example"}, "user-address", "is not one of our domains"),
    (
        "bad password",
        "/users/add",
        {"address": "bert", "password": "a\x07b"},
        "user-password",
        "control character",
    ),
    (
        "alias of nothing",
        "/users/alias",
        {"address": "sales", "targets": " \n"},
        "alias-targets",
        "at least one",
    ),
    (
        "bad target",
        "/users/alias",
        {"address": "sales", "targets": "anna, <>"},
        "alias-targets",
        "is not an address",
    ),
    ("bad alias", "/users/alias", {"address": "<>", "targets": "anna"}, "alias-address", "is not an address"),
    (
        "a user",
        "/users/alias",
        {"address": "anna", "targets": "bob@else.example"},
        "alias-targets",
        "name anna@",
    ),
    ("itself", "/users/alias", {"address": "sales", "targets": "sales"}, "alias-targets", "itself"),
]


@pytest.mark.parametrize(
    ("path", "form", "field", "words"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS]
)
def test_what_is_wrong_stands_at_its_field(
    office: Office, path: str, form: dict[str, str], field: str, words: str
) -> None:
    """422, the words of the book at the field, what was typed is still there, and nothing is changed."""
    answer = office.post(path, **form)
    assert answer.status_code == 422
    part = answer.text[answer.text.index(f'id="{field}-help"') :]
    [error] = re.findall(r'<strong class="error" role="alert">([^<]*)<', part)[:1]
    assert words in error and "cmail user" not in error
    assert office.users() == ["anna@example.org"] and not office.aliases()


def test_another_password(office: Office) -> None:
    """Typed or made; a wrong one is said and the old one goes on."""
    office.post("/users/password", address="anna@example.org", password="another one")
    assert office.is_password("anna@example.org", "another one")
    answer = office.post("/users/password", address="anna@example.org", password="a\x07")
    assert answer.status_code == 422 and office.is_password("anna@example.org", "another one")
    answer = office.post("/users/password", address="anna@example.org")
    [password] = re.findall(r"The password is ([a-z2-9-]{19}) ", answer.text)
    assert office.is_password("anna@example.org", password)


def test_deleting_asks_and_leaves_the_mailbox(office: Office) -> None:
    """The page before says what goes and what stays, and which aliases lead there."""
    mail = office.data / "mail" / "example.org" / "anna" / "new"
    mail.mkdir(parents=True)
    (mail / "1").write_text("x" * 1500)
    office.post("/users/alias", address="sales", targets="anna")
    asked = office.browser.get("/users/delete?address=anna@example.org").text
    assert "stays" in asked and "sales@example.org" in asked and office.users() == ["anna@example.org"]
    size = office.browser.get("/users/user?address=anna@example.org&size=1").text
    assert "1 message, 1.5 KB" in size
    answer = office.post("/users/delete", address="anna@example.org")
    assert not office.users() and (mail / "1").exists() and "stays" in said(answer)[0]


def test_aliases(office: Office) -> None:
    """Here, elsewhere, the catch-all; changed; deleted, with where it led."""
    answer = office.post("/users/alias", address="sales", targets="anna\r\nbob@else.example, nobody")
    assert office.aliases() == {
        "sales@example.org": ("anna@example.org", "bob@else.example", "nobody@example.org")
    }
    assert "Nobody here has nobody@example.org yet." in said(answer)
    assert "exists already" in " ".join(said(office.post("/users/alias", address="sales", targets="anna")))
    office.post("/users/alias", address="@example.org", targets="anna")
    changed = office.post("/users/alias", old="@example.org", targets="anna bob@else.example")
    assert changed.status_code == 200
    assert office.aliases()["@example.org"] == ("anna@example.org", "bob@else.example")
    wrong = office.post("/users/alias", old="@example.org", targets="anna <>")
    assert wrong.status_code == 422 and "anna &lt;&gt;" in wrong.text
    deleted = office.post("/users/alias/delete", address="@example.org")
    assert "anna@example.org, bob@else.example" in said(deleted)[0]
    assert list(office.aliases()) == ["sales@example.org"]


def test_a_new_domain_counts_when_it_is_saved(office: Office) -> None:
    """Users are of the domains of the file, not of a draft."""
    office.context.desk.change({"host.domains": ["example.org", "new.example"]}, "anna")
    assert office.post("/users/add", address="c@new.example").status_code == 422


def test_nobody_reads_postmasters_mail(office: Office) -> None:
    """It is said until somebody does."""
    assert "Nobody reads" in office.browser.get("/users").text
    assert "Nobody reads" not in office.post("/users/alias", address="postmaster", targets="anna").text
    office.post("/users/alias/delete", address="postmaster")
    assert "Nobody reads" not in office.post("/users/alias", address="@example.org", targets="anna").text


def test_what_is_not_there(office: Office) -> None:
    """Somebody else has deleted it meanwhile: words, not a trace."""
    for path in ("user", "delete", "alias"):
        assert office.browser.get(f"/users/{path}?address=x@example.org").status_code == 404
    assert "no user" in said(office.post("/users/delete", address="x"))[0]
    assert "no alias" in said(office.post("/users/alias/delete", address="x"))[0]


def test_workers_that_do_not_answer(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is written, and that they did not take it over is said."""
    from cmail.admin import accounts
    from cmail.net.control import ControlError

    def silent(_folder: str) -> None:
        raise ControlError("worker-0 does not answer")

    monkeypatch.setattr(accounts, "tell_workers", silent)
    answer = office.post("/users/add", address="bert", password="secret")
    assert any("did not take it over" in words for words in said(answer)) and len(office.users()) == 2


def test_no_accounts_to_be_read(office: Office) -> None:
    """The disk with the accounts is away: words with 503."""
    for file in office.data.glob("accounts.sqlite3*"):
        file.unlink()
    assert office.browser.get("/users").status_code == 503


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Ten thousand users and as many aliases."""
    office = Office(tmp_path_factory.mktemp("crowd"))
    with apsw.Connection(str(office.data / "accounts.sqlite3")) as db:
        db.executemany(
            "INSERT INTO users SELECT ?, password_hash, salt, iterations, stored_key, server_key, 1, 1 FROM users"
            " WHERE address='anna@example.org'",
            [(f"user{n:05}@example.org",) for n in range(10_000)],
        )
        db.executemany(
            "INSERT INTO aliases VALUES (?, 0, ?)",
            [(f"alias{n:05}@example.org", f"user{n:05}@example.org") for n in range(10_000)],
        )
    return office


def test_ten_thousand_users(crowd: Office) -> None:
    """A page has fifty, leads to the next, and comes at once."""
    took = []
    for _ in range(5):
        before = time.process_time()
        text = crowd.browser.get("/users").text
        took.append(time.process_time() - before)
    assert text.count("/users/user?") == PAGE and "1 to 50 of 10\u202f001" in text
    assert "address=user00049" not in text and "address=user00048" in text
    assert "address=user00049" in crowd.browser.get("/users?after=50").text
    print(f"a page of users in {min(took) * 1000:.0f} ms")
    assert min(took) < 1.0, took


def test_searching_among_ten_thousand(crowd: Office) -> None:
    """By a part of the address; aliases by where they lead too; signs of SQL are signs."""
    text = crowd.browser.get("/users?q=USER0042").text
    assert text.count("/users/user?") == 10 and text.count("/users/alias?") == 10
    assert "No user has that" in crowd.browser.get("/users?q=%25").text
    assert AccountList(str(crowd.data)).users("_").count == 0
