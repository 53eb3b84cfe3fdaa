"""Password and tokens: a token is made, shown once, opens the API as far as its scope goes, and is deleted."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cmail.web.application import guarded
from cmail.web.context import WebContext
from tests.support.fake_web import fake_context

PASSWORD = "correct horse"


class House:
    """The page behind its door, somebody who is in."""

    def __init__(self, folder: Path) -> None:
        self.context: WebContext = fake_context(folder)[0]
        self.browser = self.new_browser()
        self.context.keys.set_password(PASSWORD)
        self.browser.post("/login", data={"password": PASSWORD})
        self.csrf = next(iter(self.context.sessions._by_hash.values())).csrf

    def new_browser(self) -> TestClient:
        return TestClient(guarded(self.context), base_url="http://mail.example.org")

    def post(self, path: str, **fields: str) -> str:
        """A form; the page that follows."""
        answer = self.browser.post(path, data={"csrf": self.csrf, **fields})
        self.status = answer.status_code
        return answer.text

    def may(self, token: str) -> int:
        return (
            self.new_browser().get("/api/v1/status", headers={"authorization": f"Bearer {token}"}).status_code
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_every_page_leads_there(house: House) -> None:
    """Who wants another password finds where."""
    assert 'href="/password"' in house.browser.get("/smtp").text


def test_a_token_comes_and_goes(house: House) -> None:
    """Shown once; it opens the API until it is deleted."""
    [token] = re.findall(r"cmail_[\w-]{43}", house.post("/password/token-add", name="backup", scope="read"))
    again = house.browser.get("/password").text
    assert "backup" in again and token not in again
    assert house.may(token) == 200
    assert "works no more" in house.post("/password/token-delete", name="backup")
    assert house.may(token) == 401
    assert house.context.keys.tokens() == []


@pytest.mark.parametrize(
    ("name", "scope", "words"),
    [
        ("", "read", "printing characters"),
        ("x" * 65, "read", "printing characters"),
        ("a\x07b", "read", "printing characters"),
        ("twice", "read", "already"),
        ("other", "everything", "no scope"),
    ],
    ids=["no name", "long name", "control character", "twice", "no such scope"],
)
def test_what_cannot_be_is_said(house: House, name: str, scope: str, words: str) -> None:
    """Nothing is made then."""
    house.post("/password/token-add", name="twice", scope="read")
    text = house.post("/password/token-add", name=name, scope=scope)
    assert house.status == 422 and words in text
    assert [token.name for token in house.context.keys.tokens()] == ["twice"]


def test_names_are_text(house: House) -> None:
    """A name that looks like a page is shown as letters."""
    text = house.post("/password/token-add", name="<script>alert(1)</script>", scope="read")
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


def test_a_token_that_is_gone(house: House) -> None:
    """Said, not a crash."""
    assert "no token named" in house.post("/password/token-delete", name="nobody")
    assert house.status == 422


def test_a_foreign_form_makes_none(house: House) -> None:
    """Without the session's own csrf value nothing happens."""
    house.csrf = "wrong"
    assert "too old" in house.post("/password/token-add", name="x", scope="admin")
    assert house.context.keys.tokens() == []
