"""The first run on the page: nothing lost between Back and Next, words at the fields, the draft it makes."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from cmail.admin import setup
from cmail.admin.ports import Fault
from cmail.admin.upstream_steps import Step
from cmail.app.starter import starter_text
from cmail.storage.account_book import AccountBook
from cmail.storage.passwords import is_password
from cmail.web.application import application
from tests.support.fake_web import OneSession, fake_context

OUT: Final = {
    "way_out": "host",
    "host": "smtp.isp.example",
    "port": "465",
    "tls": "implicit",
    "username": "office",
    "smtp_password": "isp secret",
}


class Office:
    """A server that nobody has touched, and its page."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.config = folder / "cmail.toml"
        self.context, self.processes = fake_context(folder, starter_text("data"))
        self.browser = TestClient(OneSession(application(self.context)), follow_redirects=True)

    def get(self, step: str) -> str:
        return self.browser.get(f"/setup/{step}").text

    def post(self, step: str, go: str = "next", **fields: str) -> Response:
        return self.browser.post(f"/setup/{step}", data={"csrf": "token", "go": go, **fields})

    def answer_all(self, **more: str) -> Response:
        self.post("domain", domain="office.example", hostname="")
        self.post("out", **{**OUT, **more})
        self.post("people", user="anna", password="anna's secret")
        return self.post("in", way_in="here", port_in="25")

    def changes(self) -> dict[str, str]:
        return {change.key: change.new for change in self.context.desk.changes()}

    def users(self) -> list[str]:
        with AccountBook(str(self.data), domains=("office.example",), hostname="mail.office.example") as book:
            return [user.address for user in book.users()]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def path(answer: Response) -> str:
    return answer.url.path


def test_after_the_first_password_it_begins(office: Office) -> None:
    """Who chose the password is led to the first question; with settings of their own to Home."""
    for text, target in ((None, "/setup"), ("office.example", "/")):
        if text:
            office.config.write_text(office.config.read_text().replace('["example.org"]', f'["{text}"]'))
        key = office.context.keys.new_link()
        form = {"password": "correct horse", "again": "correct horse"}
        answer = office.browser.post(f"/first?key={key}", data=form, follow_redirects=False)
        assert answer.headers["location"] == target


def test_who_left_finds_the_way_back(office: Office) -> None:
    """Home says that the server is not set up yet, until it is."""
    assert "not set up yet" in office.browser.get("/").text
    office.answer_all()
    office.post("check")
    assert "not set up yet" not in office.browser.get("/").text


def test_nothing_is_lost_between_back_and_next(office: Office) -> None:
    """What was typed stands there again, also when Back was pressed on what is not right yet."""
    assert path(office.post("domain", domain="Office.Example.", hostname="")) == "/setup/out"
    assert 'value="office.example"' in office.get("domain") and 'value="mail.office.example"' in office.get(
        "domain"
    )
    assert path(office.post("out", "back", **{**OUT, "port": "x"})) == "/setup/domain"
    assert 'value="x"' in office.get("out") and 'value="smtp.isp.example"' in office.get("out")
    assert path(office.post("out", **OUT)) == "/setup/people"
    assert path(office.post("people", user="anna", password="anna's secret")) == "/setup/in"
    assert path(office.post("in", "back", way_in="here", port_in="25", has_network="on")) == "/setup/people"
    assert 'name="has_network" checked' in office.get("in")
    for step in ("domain", "out", "people", "in"):
        assert "isp secret" not in office.get(step) and "anna's secret" not in office.get(step)


WRONG: Final = [
    ("domain", {"domain": ""}, "domain", "behind the @"),
    ("domain", {"domain": "office"}, "domain", "no dot"),
    ("domain", {"domain": "192.0.2.1"}, "domain", "not a name"),
    ("domain", {"domain": "a b.example"}, "domain", "not a domain name"),
    ("domain", {"domain": "office.example", "hostname": "mail"}, "hostname", "no dot"),
    ("out", {**OUT, "host": ""}, "host", "called"),
    ("out", {**OUT, "host": "smtp isp"}, "host", "not a domain name"),
    ("out", {**OUT, "port": "0"}, "port", "1 to 65535"),
    ("out", {**OUT, "port": "99999999999999999999"}, "port", "1 to 65535"),
    ("out", {**OUT, "username": ""}, "username", "no user name"),
    ("people", {"user": ""}, "user", "first user"),
    ("people", {"user": "anna@else.example"}, "user", "not your domain"),
    ("people", {"user": "an na"}, "user", "not an address"),
    ("people", {"user": "anna", "password": "short"}, "password", "8 characters"),
    ("in", {"way_in": "internet", "port_in": "many"}, "port_in", "1 to 65535"),
]


@pytest.mark.parametrize(
    ("step", "form", "field", "words"), WRONG, ids=[f"{row[2]}: {row[3]}" for row in WRONG]
)
def test_what_is_wrong_stands_at_its_field(
    office: Office, step: str, form: dict[str, str], field: str, words: str
) -> None:
    """422, and the words are where the eye is."""
    office.post("domain", domain="office.example")
    answer = office.post(step, **form)
    assert answer.status_code == 422
    part = answer.text[answer.text.index(f'id="{field}"') :]
    assert words in re.findall(r'class="error" role="alert">([^<]*)<', part)[0]


def test_a_provider_fills_in(office: Office) -> None:
    """Host, port and security of the table, and what user name it wants."""
    text = office.post("out", "fill", provider="Gmail", way_out="later").text
    assert 'value="smtp.gmail.com"' in text and 'value="465"' in text and "app password" in text
    assert re.search(r'value="implicit" checked', text) and re.search(r'value="host" checked', text)


def test_the_draft(office: Office) -> None:
    """The list of changes before anything is saved; the password stands in a file of the server's alone."""
    text = office.answer_all().text
    assert office.changes() | {"smtp.password_file": ""} == {
        "host.hostname": '"mail.office.example"',
        "host.domains": '["office.example"]',
        "smtp.host": '"smtp.isp.example"',
        "smtp.port": "465",
        "smtp.tls": '"implicit"',
        "smtp.username": '"office"',
        "smtp.password_file": "",
    }
    [secret] = (office.data / "secrets").glob("smtp-password-*")
    assert secret.read_text() == "isp secret\n" and secret.stat().st_mode & 0o777 == 0o600
    assert "SMTP Host" in text and "only the server can read" in text and "isp secret" not in text
    assert "office.example" not in office.config.read_text()


def test_a_password_that_is_left_empty_stays(office: Office) -> None:
    """Passwords are not shown again: who goes back and on without typing keeps what was typed."""
    office.answer_all(smtp_password="the first")
    office.post("out", **{**OUT, "smtp_password": ""})
    office.post("people", user="anna", password="")
    office.post("in", way_in="here", port_in="25")
    assert office.changes()["smtp.password_file"]
    text = office.post("check").text
    assert "The password of" not in text
    [secret] = (office.data / "secrets").glob("smtp-password-*")
    assert secret.read_text() == "the first\n"
    with AccountBook(str(office.data), domains=("office.example",), hostname="mail.office.example") as book:
        assert is_password(book.read().credentials["anna@office.example"].password_hash, "anna's secret")


def test_another_mind(office: Office) -> None:
    """Back, another answer: the draft follows, the password goes."""
    office.answer_all()
    office.post("out", way_out="later")
    office.get("check")
    assert {key: new for key, new in office.changes().items() if new} == {
        "host.hostname": '"mail.office.example"',
        "host.domains": '["office.example"]',
    }


def test_saved_and_sent(office: Office) -> None:
    """The file, the user, postmaster; without a server the message is not taken, and that is said."""
    with AccountBook(str(office.data), domains=("example.org",), hostname="mail.example.org") as book:
        book.add_user("you@example.org", "for trying")
    (office.data / "secrets").mkdir()
    (office.data / "secrets" / "you@example.org").write_text("for trying\n")
    office.answer_all()
    answer = office.post("check")
    assert path(answer) == "/setup/test" and answer.status_code == 200
    assert 'domains = ["office.example"]' in office.config.read_text()
    assert "# Mail for these domains is ours" in office.config.read_text()
    assert ("supervisor", "reload", {}) in office.processes.asked
    assert office.users() == ["anna@office.example"]
    with AccountBook(str(office.data), domains=("office.example",), hostname="mail.office.example") as book:
        assert [(a.address, a.targets) for a in book.aliases()] == [
            ("postmaster@office.example", ("anna@office.example",))
        ]
    assert not (office.data / "secrets" / "you@example.org").exists()
    assert "Not taken" in answer.text and "you@example.org, which was for trying, is gone" in answer.text
    assert path(office.browser.post("/setup/leave", data={"csrf": "token"})) == "/"
    assert 'value="office.example"' in office.get("domain")


def test_a_good_password_is_shown_once(office: Office) -> None:
    """Made when none was typed; shown until one leaves."""
    office.answer_all()
    office.post("people", user="bert", password="")
    office.browser.post("/setup/leave", data={"csrf": "token"})
    office.post("domain", domain="office.example")
    office.post("out", way_out="later")
    office.post("people", user="bert", password="")
    office.post("in", way_in="collected", port_in="25")
    text = office.post("check").text
    [password] = re.findall(r"<code>([a-z2-9-]{19})</code>", text)
    assert password in office.get("test")
    office.browser.post("/setup/leave", data={"csrf": "token"})
    assert path(office.browser.get("/setup/test")) == "/setup/people"
    assert password not in office.get("people")


def test_what_is_not_answered_comes_first(office: Office) -> None:
    """Who goes to the end by hand is led to the question that is open."""
    assert path(office.browser.get("/setup/check")) == "/setup/domain"
    office.post("domain", domain="office.example")
    assert path(office.post("check")) == "/setup/out"
    assert path(office.browser.get("/setup/nonsense")) == "/setup/domain"


def test_a_port_that_cannot_be_opened_now(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why, at its field; who wants it at the next start gets the rest now, and this as a draft."""
    monkeypatch.setattr(setup, "port_fault", lambda address, _: Fault("start it as root", is_for_ever=False))
    office.answer_all()
    answer = office.post("in", way_in="internet", port_in="25")
    assert answer.status_code == 422 and "start it as root" in answer.text and "is_later" in answer.text
    answer = office.post("in", way_in="internet", port_in="25", is_later="on")
    assert path(answer) == "/setup/check" and "is not opened now" in answer.text
    assert "listener" not in office.changes()
    answer = office.post("check")
    assert 'address = "0.0.0.0:25"' not in office.config.read_text() and "is not open yet" in answer.text
    assert list(office.changes()) == ["listener"] and "0.0.0.0:25" in office.changes()["listener"]


def test_a_port_that_another_program_has(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting again would not help: it has to be another one."""
    monkeypatch.setattr(
        setup, "port_fault", lambda address, _: Fault("another program has it.", is_for_ever=True)
    )
    answer = office.post("in", way_in="internet", port_in="25", is_later="on")
    assert answer.status_code == 422 and "another program has it." in answer.text


def test_the_connection_is_tried(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the page of the question by a button, before saving by itself; its steps in words."""
    asked: list[Any] = []

    async def trial(upstream: Any, _: Any, *, is_offline: bool) -> list[Step]:
        asked.append((upstream, is_offline))
        return [Step("Log-in", "failed", "The password is <wrong>.", "Type it again.", ("535 no",))]

    monkeypatch.setattr(setup, "test_upstream", trial)
    office.answer_all()
    text = office.post("out", "test", **OUT).text
    assert "The password is &lt;wrong&gt;." in text and "535 no" in text and "How mail goes out" in text
    assert "Type it again." in office.browser.get("/setup/check?try=1").text
    assert "Type it again." in office.browser.get("/live/setup/try").text
    upstream, is_offline = asked[-1]
    assert (upstream.host, upstream.port, upstream.tls) == ("smtp.isp.example", 465, "implicit")
    assert (upstream.username, upstream.password, is_offline) == ("office", "isp secret", False)


def test_edited_by_hand_meanwhile(office: Office) -> None:
    """Nothing is overwritten; it says where to decide."""
    office.answer_all()
    office.config.write_text(office.config.read_text().replace('host = ""', 'host = "other.example"'))
    answer = office.post("check")
    assert answer.status_code == 422 and "Save Settings" in answer.text
    assert "other.example" in office.config.read_text()
