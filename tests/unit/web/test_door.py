"""The door: hosts, log-in, sessions, foreign forms, tokens; and what machines may read."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from cmail.observe.metrics import METRICS, Snapshot
from cmail.web.application import guarded
from cmail.web.context import WebContext
from cmail.web.hosts import is_own_host
from tests.support.fake_web import FakeProcesses, fake_context

PASSWORD: Final = "correct horse"
FIGURES: Final[Snapshot] = {
    "cmail_messages_accepted_total": {"": 4711},
    "cmail_recipients_delivered_total": {"smtp": 3, "local": 4},
    "cmail_queue_recipients": {"queued": 15, "held": 2},
}


class House:
    """The application behind its door, a browser before it."""

    def __init__(self, folder: Path) -> None:
        context, self.processes = fake_context(folder)

        async def figures() -> Snapshot:
            return FIGURES

        self.context: WebContext = replace(context, figures=figures)
        self.browser = self.new_browser()

    def new_browser(self, address: str = "127.0.0.1") -> TestClient:
        application = guarded(self.context)
        return TestClient(
            application, base_url="http://mail.example.org", follow_redirects=False, client=(address, 4711)
        )

    def log_in(self) -> str:
        """With a password; the CSRF token of the session."""
        self.context.keys.set_password(PASSWORD)
        assert self.browser.post("/login", data={"password": PASSWORD}).status_code == 303
        return next(iter(self.context.sessions._by_hash.values())).csrf


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_stranger_sees_the_log_in_and_nothing_else(house: House) -> None:
    """Every page leads to the log-in, which says where one wanted to go; parts of pages say nothing."""
    house.context.keys.set_password(PASSWORD)
    answer = house.browser.get("/advanced")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fadvanced")
    assert house.browser.get("/live/line").status_code == 403
    page = house.browser.get("/login?next=/advanced")
    assert page.status_code == 200 and 'value="/advanced"' in page.text
    assert "smtp.isp.example" not in page.text


def test_log_in_and_out(house: House) -> None:
    """The right password opens a session in a cookie that no script can read; logging out ends it."""
    csrf = house.log_in()
    assert house.browser.get("/advanced").status_code == 200
    [cookie] = [c for c in house.browser.cookies.jar if c.name == "cmail_session"]
    assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "lax"
    assert house.browser.post("/logout", data={"csrf": csrf}).status_code == 303
    house.browser.cookies.set("cmail_session", str(cookie.value))
    assert house.browser.get("/advanced").status_code == 303


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "/logout"])
def test_log_in_leads_to_no_other_place(house: House, target: str) -> None:
    """`next` is a path of ours or it is left out."""
    house.context.keys.set_password(PASSWORD)
    answer = house.browser.post("/login", data={"password": PASSWORD, "next": target})
    assert answer.headers["location"] == "/"


def test_guessing_is_slowed_down(house: House) -> None:
    """After five wrong ones even the right password has to wait; from elsewhere it works."""
    house.context.keys.set_password(PASSWORD)
    said = [house.browser.post("/login", data={"password": f"guess {n}"}).status_code for n in range(6)]
    assert said == [403] * 5 + [429]
    assert house.browser.post("/login", data={"password": PASSWORD}).status_code == 429


def test_first_run(house: House) -> None:
    """Without a password there is no log-in, only the link, which works once."""
    key = house.context.keys.link()
    assert "cmail page link" in house.browser.get("/login").text
    assert house.browser.get("/first?key=wrong").status_code == 403
    assert house.browser.get(f"/first?key={key}").status_code == 200
    short = house.browser.post(f"/first?key={key}", data={"password": "short", "again": "short"})
    assert short.status_code == 422 and "8 characters" in short.text
    other = house.browser.post(f"/first?key={key}", data={"password": PASSWORD, "again": "x"})
    assert other.status_code == 422
    done = house.browser.post(f"/first?key={key}", data={"password": PASSWORD, "again": PASSWORD})
    assert done.status_code == 303 and house.browser.get("/").status_code == 200
    assert house.new_browser().get(f"/first?key={key}").status_code == 403
    house.browser.cookies.clear()
    assert house.browser.post("/login", data={"password": PASSWORD}).status_code == 303


def test_a_new_password_ends_all_sessions(house: House) -> None:
    """Who has changed it goes on; a session of before has to log in again."""
    csrf = house.log_in()
    old = dict(house.browser.cookies)
    wrong = house.browser.post(
        "/password", data={"csrf": csrf, "old": "no", "password": "another one", "again": "another one"}
    )
    assert wrong.status_code == 403
    right = {"csrf": csrf, "old": PASSWORD, "password": "another one", "again": "another one"}
    assert house.browser.post("/password", data=right).status_code == 303
    assert house.browser.get("/").status_code == 200
    stranger = house.new_browser()
    stranger.cookies.update(old)
    assert stranger.get("/").status_code == 303


def test_a_foreign_form_changes_nothing(house: House) -> None:
    """Without the token of the session, or from another origin, nothing is taken."""
    csrf = house.log_in()
    form = {"smtp.advanced.timeout": "45s"}
    assert house.browser.post("/advanced", data=form).headers["location"] == "/"
    assert house.browser.post("/advanced", data={**form, "csrf": "x" * 32}).status_code == 303
    foreign = {"origin": "https://evil.example"}
    assert house.browser.post("/advanced", data={**form, "csrf": csrf}, headers=foreign).status_code == 403
    assert house.browser.post("/login", data={"password": "x"}, headers=foreign).status_code == 403
    assert not house.context.desk.changes()
    assert house.browser.post("/advanced", data={**form, "csrf": csrf}).status_code == 303
    assert [change.new for change in house.context.desk.changes()] == ['"45s"']


def test_headers_of_every_answer(house: House) -> None:
    """No script but our own files, no frame, no guessing of types, nothing kept but what may be kept."""
    house.log_in()
    page = house.browser.get("/advanced").headers
    policy = dict(part.strip().split(" ", 1) for part in page["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'" == policy["style-src"]
    assert policy["frame-ancestors"] == "'none'"
    assert page["cache-control"] == "no-store" and page["x-content-type-options"] == "nosniff"
    assert "immutable" in house.browser.get("/static/cmail.css").headers["cache-control"]


def test_pages_have_no_inline_script_or_style(house: House) -> None:
    """What the policy would forbid is not there."""
    house.log_in()
    for path in ("/", "/advanced", "/save", "/password"):
        text = house.browser.get(path).text
        assert "<script>" not in text and " style=" not in text and " onclick=" not in text


def test_metrics_are_for_this_machine_and_for_tokens(house: House) -> None:
    """Prometheus on this machine reads them as it is; from elsewhere it needs a token."""
    body = house.browser.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert {name.removesuffix("_total") for name in METRICS} <= families.keys()
    samples = {(s.name, *s.labels.values()): s.value for f in families.values() for s in f.samples}
    assert samples["cmail_messages_accepted_total",] == 4711
    assert samples["cmail_queue_recipients", "held"] == 2
    elsewhere = house.new_browser("192.0.2.7")
    assert elsewhere.get("/metrics").status_code == 401
    token = house.context.keys.add_token("prometheus", "read")
    assert elsewhere.get("/metrics", headers={"authorization": f"Bearer {token}"}).status_code == 200
    house.context.keys.delete_token("prometheus")
    assert elsewhere.get("/metrics", headers={"authorization": f"Bearer {token}"}).status_code == 401


def test_health_says_what_is_wrong(house: House) -> None:
    """ok, or 503 with what is wrong in words; without a log-in."""
    assert house.browser.get("/health").text == "ok\n"
    processes: FakeProcesses = house.processes
    processes.answers["worker", "troubles"] = {"troubles": ["the disk is full"]}
    house.context.overviews.forget()
    answer = house.browser.get("/health")
    assert (answer.status_code, answer.text) == (503, "the disk is full\n")


HOSTS = [
    ("our name", "mail.example.org", True),
    ("with a port", "MAIL.example.org:8025", True),
    ("with its final dot", "mail.example.org.:8025", True),
    ("localhost", "localhost:8025", True),
    ("an address", "127.0.0.1:8025", True),
    ("an address of the network", "192.0.2.1", True),
    ("IPv6", "[::1]:8025", True),
    ("a name that somebody made lead here", "evil.example", False),
    ("one that begins like ours", "mail.example.org.evil.example", False),
    ("one that ends like an address", "x127.0.0.1", False),
    ("an open bracket", "[::1", False),
    ("a port that is none", "localhost:x", False),
]


@pytest.mark.parametrize(("host", "is_ours"), [row[1:] for row in HOSTS], ids=[row[0] for row in HOSTS])
def test_only_our_names_are_answered(house: House, host: str, is_ours: bool) -> None:
    """A page elsewhere whose name was made to lead to us (DNS rebinding) reads nothing."""
    assert is_own_host(host, frozenset(["mail.example.org"])) == is_ours
    answer = house.browser.get("/metrics", headers={"host": host})
    assert (answer.status_code == 200) == is_ours
    assert ("4711" in answer.text) == is_ours


def test_another_host_name_is_known_at_once(tmp_path: Path) -> None:
    """The settings give the server a new name while it serves: who comes by it is not sent away."""
    context, _ = fake_context(tmp_path)
    names = ["mail.example.org"]
    browser = TestClient(guarded(replace(context, hostname=lambda: names[-1])), follow_redirects=False)
    host = {"host": "post.example.net"}
    assert browser.get("/login", headers=host).status_code == 421
    names.append("post.example.net")
    assert browser.get("/login", headers=host).status_code != 421
