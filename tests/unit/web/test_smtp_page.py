"""SMTP Configuration: every control, the password that is never shown, providers, Test connection."""

import re
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cmail.web import providers
from cmail.web.application import application
from cmail.web.pages.smtp import KEYS
from tests.support.fake_web import SETTINGS, OneSession, fake_context
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

PASSWORD = "correct horse battery"


class House:
    """The page with a settings file behind it."""

    def __init__(self, folder: Path, settings: str = SETTINGS, **more: Any) -> None:
        self.folder = folder
        context, self.processes = fake_context(folder, settings)
        self.context = replace(context, **more)
        (folder / "data").mkdir(exist_ok=True)
        self.browser = TestClient(OneSession(application(self.context)))

    def post(self, path: str = "/smtp", **fields: str) -> str:
        """A form with these fields; the page that follows."""
        form = {key.replace("__", "."): value for key, value in fields.items()}
        answer = self.browser.post(path, data=form)
        self.status = answer.status_code
        return answer.text

    def draft(self) -> Mapping[str, str]:
        return {change.key: change.new for change in self.context.desk.changes()}

    def save(self) -> dict[str, Any]:
        """Save Settings; the file."""
        answer = self.browser.post("/save")
        assert "Saved." in answer.text, answer.text
        return tomllib.loads((self.folder / "cmail.toml").read_text())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


VALUES = {
    "smtp.delivery": ("mx", "mx"),
    "smtp.host": ("mail.provider.example", "mail.provider.example"),
    "smtp.port": ("465", 465),
    "smtp.tls": ("implicit", "implicit"),
    "smtp.username": ("anna", "anna"),
    "smtp.kick": ("true", True),
    "smtp.trigger_port": ("2079", 2079),
    "smtp.validation": ("", False),
}


def test_each_control_changes_the_file(house: House) -> None:
    """What is typed is in cmail.toml after OK and Save Settings, each key of the page."""
    assert set(VALUES) == set(KEYS)
    form = {key.replace(".", "__"): value for key, (value, _) in VALUES.items() if value}
    shown = {"smtp__kick-shown": "1", "smtp__validation-shown": "1"}
    assert "Save Settings makes it hold" in house.post(**form, **shown)
    saved = house.save()["smtp"]
    assert saved == {key.removeprefix("smtp."): value for key, (_, value) in VALUES.items()}


def test_the_page_shows_what_holds_and_what_is_drafted(house: House) -> None:
    """Values of the file, each with its sentence; after OK those of the draft."""
    page = house.browser.get("/smtp").text
    assert 'value="smtp.isp.example"' in page
    assert all(f'name="{key}"' in page for key in KEYS)
    assert "For troubleshooting" in page
    house.post(smtp__host="other.example")
    assert 'value="other.example"' in house.browser.get("/smtp").text


def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_is_kept(house: House) -> None:
    """A port that is none: nothing is drafted, the rest of the form is still there."""
    page = house.post(smtp__port="70000", smtp__host="new.example")
    assert house.status == 422
    assert 'value="70000"' in page
    assert 'value="new.example"' in page
    assert "must be a port" in page
    assert not house.draft()


def test_a_password_is_kept_and_never_shown(house: House) -> None:
    """It goes to a file in DATA/secrets that is its owner's alone; neither the page nor the file has it."""
    page = house.post(smtp__username="anna", password=PASSWORD)
    assert "A new password is set; it is not saved yet." in page
    smtp = house.save()["smtp"]
    kept = Path(smtp["password_file"])
    assert kept.parent == house.folder / "data" / "secrets"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (PASSWORD + "\n", 0o600)
    page = house.browser.get("/smtp").text
    assert "A password is set." in page
    assert PASSWORD not in page
    assert str(kept) not in page
    assert not re.search(r'<input type="password"[^>]*value', page)


def test_an_empty_password_leaves_the_one_that_is_set_and_the_box_removes_it(house: House) -> None:
    """OK on another change does not touch it; with the box, and without a user name, there is none."""
    house.post(smtp__username="anna", password=PASSWORD)
    before = house.save()["smtp"]["password_file"]
    house.post(smtp__username="bob", password="")
    assert house.save()["smtp"]["password_file"] == before
    page = house.post(**{"smtp__username": "", "remove-password": "1"})
    assert house.status == 200, page
    assert "The password is removed; that is not saved yet." in page
    assert "password_file" not in house.save()["smtp"]
    assert "None is set." in house.browser.get("/smtp").text


def test_a_password_with_a_line_end_is_refused(house: House) -> None:
    """It would not be the one that was meant."""
    assert "no line ends" in house.post(password="one\ntwo")
    assert house.status == 422


def test_a_file_that_cmail_toml_names_is_left_alone(tmp_path: Path) -> None:
    """The page says which file it is, offers no field, and a form that has one all the same changes nothing."""
    settings = SETTINGS + 'username = "anna"\npassword_file = "/etc/cmail/secret"\n'
    house = House(tmp_path, settings)
    page = house.browser.get("/smtp").text
    assert "cmail.toml names the file /etc/cmail/secret" in page
    assert 'type="password"' not in page
    house.post(**{"password": PASSWORD, "remove-password": "1"})
    assert not house.draft()
    assert not (tmp_path / "data" / "secrets").exists()


def test_a_password_of_the_environment_is_told(tmp_path: Path) -> None:
    """There is none in the file, and yet one is used."""
    house = House(tmp_path, smtp_password=lambda: "from outside")
    page = house.browser.get("/smtp").text
    assert "$CMAIL_SMTP_PASSWORD" in page
    assert "from outside" not in page


# Providers


@pytest.mark.parametrize("provider", providers.PROVIDERS, ids=lambda each: each.name)
def test_a_provider_of_the_table_can_be_used(provider: providers.Provider) -> None:
    """Each row: a host, a port that fits its encryption, what its log-in wants."""
    assert re.fullmatch(r"[a-z0-9.-]+\.[a-z0-9]+", provider.host)
    if provider.host != "127.0.0.1":
        assert (provider.port, provider.tls) in ((465, "implicit"), (587, "required"))
    assert provider.hint.endswith(".")
    assert not providers.oddity(provider.port, provider.tls, provider.host, "anna")
    assert providers.find(provider.name) is provider
    if provider.host != "127.0.0.1":
        assert providers.of_host(provider.host.upper() + ".") is provider


def test_there_are_many_providers_each_once() -> None:
    """Thirty at least; neither a name nor a host stands there twice."""
    assert len(providers.PROVIDERS) >= 30
    assert len({each.name for each in providers.PROVIDERS}) == len(providers.PROVIDERS)
    assert len({each.host for each in providers.PROVIDERS}) == len(providers.PROVIDERS)


def test_fill_in_takes_host_port_and_security(house: House) -> None:
    """They go into the draft, whatever stood in the fields, and what the provider wants is said."""
    page = house.post("/smtp/fill", provider="Gmail", smtp__host="half typed", smtp__port="x")
    assert house.draft() == {
        "smtp.host": '"smtp.gmail.com"',
        "smtp.port": "465",
        "smtp.tls": '"implicit"',
    }
    assert "app password" in page
    assert re.search(r"<option selected>Gmail</option>", page)


def test_fill_in_without_a_choice_says_so(house: House) -> None:
    """Nothing is changed."""
    assert "Choose your provider" in house.post("/smtp/fill", provider="")
    assert not house.draft()


@pytest.mark.parametrize(
    ("port", "tls", "host", "username", "words"),
    [
        (465, "required", "a.example", "", "expects TLS from the first byte"),
        (587, "implicit", "a.example", "", "greets in the clear"),
        (25, "required", "a.example", "anna", "block port 25"),
        (25, "opportunistic", "a.example", "anna", "not verified"),
        (587, "opportunistic", "a.example", "anna", "not verified"),
        (587, "none", "127.0.0.1", "anna", ""),
        (465, "implicit", "a.example", "anna", ""),
        (587, "required", "a.example", "anna", ""),
        (25, "opportunistic", "a.example", "", ""),
    ],
)
def test_odd_ports_are_noted(port: int, tls: str, host: str, username: str, words: str) -> None:
    """A hint where port and encryption do not fit, and none where they do."""
    found = providers.oddity(port, tls, host, username)
    assert words in found
    assert bool(words) == bool(found)


def test_the_hint_stands_at_the_drop_down(house: House) -> None:
    """Port 465 with STARTTLS: said on the page."""
    assert "expects TLS from the first byte" in house.post(smtp__port="465", smtp__tls="required")


# Test connection


def test_what_is_typed_is_tried_and_not_saved(house: House) -> None:
    """The button takes the form as it stands, password and all: each step is on the page that follows, no message
    is sent, and the file is as it was."""
    before = (house.folder / "cmail.toml").read_text()
    sink = SinkMx(users={"anna": PASSWORD}, extensions=("AUTH PLAIN",))
    with Peers() as peers:
        page = house.post(
            "/smtp/test",
            smtp__host="127.0.0.1",
            smtp__port=str(peers.start(sink).port),
            smtp__username="anna",
            password=PASSWORD,
            sender="anna@example.org",
        )
    assert "It works:" in page
    assert "Logged in as anna (PLAIN)." in page
    assert sink.lines("MAIL") == ["MAIL FROM:<anna@example.org>"]
    assert not sink.taken
    assert PASSWORD not in page
    assert (house.folder / "cmail.toml").read_text() == before
    assert "not saved yet" in page


def test_a_step_that_fails_says_what_to_do(house: House) -> None:
    """TLS from the first byte at a port that greets in the clear; the raw lines are escaped."""
    with Peers() as peers:
        sink = peers.start(SinkMx({"connect": b"220 <b>sink</b>\r\n"}))
        page = house.post(
            "/smtp/test", smtp__host="127.0.0.1", smtp__port=str(sink.port), smtp__tls="implicit"
        )
        assert "It does not work yet" in page
        assert "greets in the clear" in page
        page = house.post("/smtp/test", smtp__tls="required")
    assert "does not offer STARTTLS" in page
    assert "&lt;b&gt;sink" in page
    assert "<b>sink" not in page


def test_the_running_password_is_used_where_the_file_names_its_own(tmp_path: Path) -> None:
    """A file that only root could read: the server knows what is in it."""
    settings = SETTINGS + 'username = "anna"\npassword_file = "/root/secret"\n'
    house = House(tmp_path, settings, smtp_password=lambda: PASSWORD)
    sink = SinkMx(users={"anna": PASSWORD}, extensions=("AUTH PLAIN",))
    with Peers() as peers:
        page = house.post("/smtp/test", smtp__host="127.0.0.1", smtp__port=str(peers.start(sink).port))
    assert "Logged in as anna" in page


def test_the_providers_words_are_shown_when_the_password_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has forgotten the app password reads of it there."""
    here = replace(providers.PROVIDERS[0], host="127.0.0.1", hint="Make an app password at the lighthouse.")
    monkeypatch.setattr(providers, "of_host", lambda host: here)
    sink = SinkMx(users={"anna": "other"}, extensions=("AUTH PLAIN",))
    with Peers() as peers:
        port = str(peers.start(sink).port)
        page = house.post(
            "/smtp/test", smtp__host="127.0.0.1", smtp__port=port, smtp__username="anna", password=PASSWORD
        )
    assert "lighthouse" in page


def test_off_line_it_says_so(house: House) -> None:
    """The link process knows; no name server is asked."""
    house.processes.answers[("link", "link.status")] = {"is_down": True, "changed_wall_ms": 1}
    assert "This machine is off line" in house.post("/smtp/test")


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("/smtp/test", {"sender": "no address"}, "no address to send from"),
        ("/smtp/test", {"sender": "a@b>\r\nRCPT TO:<c@d"}, "no address to send from"),
        ("/smtp/test-domain", {"domain": ""}, "Type the domain"),
        ("/smtp/test-domain", {"domain": "two words"}, "no domain to look for"),
        ("/smtp/test", {"smtp__port": "x"}, "must be a whole number"),
    ],
)
def test_what_cannot_be_tried(house: House, path: str, fields: dict[str, str], words: str) -> None:
    """The page says what is wrong, and nothing is tried."""
    assert words in house.post(path, **fields)
    assert house.status == 422


def test_mail_hosts_of_a_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name servers of the settings are asked; nobody answers here, and that is said in words."""
    monkeypatch.setattr("cmail.admin.upstream_test.STEP_S", 0.5)
    house = House(tmp_path, SETTINGS + '\n[dns]\nservers = ["127.0.0.1:1"]\n')
    page = house.post("/smtp/test-domain", domain="example.net")
    assert "Step by step: the mail hosts of example.net" in page
    assert "It does not work yet" in page


def test_the_certificate_of_a_strange_server_is_text(house: House) -> None:
    """Whatever stands in it is shown, and is no page of ours."""
    import trustme

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA(organization_name="<script>x</script>").issue_cert("a.example").configure_cert(tls)
    with Peers() as peers:
        port = str(peers.start(SinkMx(tls=tls)).port)
        page = house.post("/smtp/test", smtp__host="127.0.0.1", smtp__port=port, smtp__tls="required")
    assert "&lt;script&gt;x" in page
    assert "<script>x" not in page
