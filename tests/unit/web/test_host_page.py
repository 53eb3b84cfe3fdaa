"""Host Configuration: names, listeners, relay networks, people here, forwarding of domains, the certificate."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cmail.admin.certificates import DAY_MS, Certificate
from cmail.storage.account_book import AccountBook
from cmail.web.application import application
from cmail.web.pages.host import KEYS
from tests.support.fake_web import SETTINGS, OneSession, fake_context

WITH_SOCKETS = SETTINGS.replace(
    "[smtp]\n",
    '[[listener]]\nkind = "lmtp"\naddress = "unix:/run/cmail/lmtp"\n\n[local]\nlmtp = "unix:/run/lmtp"\n\n[smtp]\n',
)


class House:
    """The page with a settings file and accounts behind it."""

    def __init__(self, folder: Path, settings: str = SETTINGS, **more: Any) -> None:
        self.folder = folder
        context, self.processes = fake_context(folder, settings)
        self.context = replace(context, **more)
        (folder / "data").mkdir()
        with self.book() as book:
            book.add_user("anna", "secret")
        self.browser = TestClient(OneSession(application(self.context)))

    def book(self) -> AccountBook:
        data = str(self.folder / "data")
        return AccountBook(data, domains=("example.org",), hostname="mail.example.org")

    def catch_alls(self) -> dict[str, tuple[str, ...]]:
        with self.book() as book:
            return {alias.address: alias.targets for alias in book.aliases()}

    def get(self) -> str:
        return self.browser.get("/host").text

    def post(self, path: str = "/host", **fields: str) -> str:
        """A form with these fields; the page that follows."""
        form = {key.replace("__", "."): value for key, value in fields.items()}
        answer = self.browser.post(path, data=form)
        self.status = answer.status_code
        return answer.text

    def listeners(self, *rows: tuple[str, str], **more: str) -> str:
        """The table of listeners, as it stands after somebody typed into it."""
        form = {"listeners": "1"}
        for number, (kind, address) in enumerate(rows):
            form |= {f"listener-{number}-kind": kind, f"listener-{number}-address": address}
        return self.post(**form, **more)

    def forward(self, domain: str, way: str, target: str, tls: str = "opportunistic") -> str:
        return self.post("/host/forward", domain=domain, way=way, target=target, tls=tls)

    def drafted(self) -> set[str]:
        return {change.key for change in self.context.desk.changes()}

    def save(self) -> dict[str, Any]:
        """Save Settings; the file."""
        answer = self.browser.post("/save")
        assert "Saved." in answer.text, answer.text
        return tomllib.loads((self.folder / "cmail.toml").read_text())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# Settings

VALUES = {
    "host.hostname": ("mx.example.net", "mx.example.net"),
    "host.domains": ("example.net\r\nexample.org\r\n", ["example.net", "example.org"]),
    "relay.networks": ("127.0.0.0/8\n192.168.7.0/24", ["127.0.0.0/8", "192.168.7.0/24"]),
    "local.delivery": ("lmtp", "lmtp"),
    "local.lmtp": ("127.0.0.1:24", "127.0.0.1:24"),
    "local.separator": ("-", "-"),
}


def test_each_control_changes_the_file(house: House) -> None:
    """What is typed is in cmail.toml after OK and Save Settings, each key of the page."""
    assert set(VALUES) == set(KEYS)
    house.post(**{key.replace(".", "__"): value for key, (value, _) in VALUES.items()})
    saved = house.save()
    for key, (_, value) in VALUES.items():
        table, _, name = key.partition(".")
        assert saved[table][name] == value


def test_a_wrong_value_is_said_at_its_field(house: House) -> None:
    """Nothing is drafted, and what was typed is still there."""
    page = house.post(relay__networks="0.0.0.0/0", host__hostname="ok.example.org")
    assert house.status == 422
    assert "open relay" in page
    assert "0.0.0.0/0" in page
    assert not house.drafted()


# Listeners


def test_a_listener_more_and_one_less(house: House) -> None:
    """The last line of the table is for one more; a box removes one; what stays is as it was."""
    assert "one more: 0.0.0.0:587" in house.get()
    house.listeners(("smtp", "127.0.0.1:2525"), ("submission", "127.0.0.1:2587"))
    assert house.save()["listener"] == [
        {"kind": "smtp", "address": "127.0.0.1:2525"},
        {"kind": "submission", "address": "127.0.0.1:2587"},
    ]
    more = {"listener-0-remove": "1"}
    house.listeners(("smtp", "127.0.0.1:2525"), ("submissions", "127.0.0.1:2465"), ("smtp", ""), **more)
    assert house.save()["listener"] == [{"kind": "submissions", "address": "127.0.0.1:2465"}]


def test_the_last_listener_can_go(house: House) -> None:
    """Then mail comes in by the sendmail command alone, and the file has none."""
    house.listeners(("smtp", "127.0.0.1:2525"), **{"listener-0-remove": "1"})
    assert "listener" not in house.save()


def test_a_wrong_address_is_said_in_its_line(house: House) -> None:
    """Two at one address, and one that is none: both are said, typed values stay."""
    page = house.listeners(("smtp", "127.0.0.1:2525"), ("submission", "127.0.0.1:2525"), ("smtp", "nowhere"))
    assert house.status == 422
    assert "is the address of [[listener]] number 1 already" in page
    assert "the port is missing" in page
    assert 'value="nowhere"' in page
    assert not house.drafted()


def test_sockets_are_set_in_the_file_only(tmp_path: Path) -> None:
    """One that the file names stays, shown and not to be changed; no other one comes in by a form."""
    house = House(tmp_path, WITH_SOCKETS)
    page = house.get()
    assert "unix:/run/cmail/lmtp" in page
    assert "Set in cmail.toml only." in page
    socket = ("lmtp", "unix:/run/cmail/lmtp")
    house.listeners(
        ("smtp", "127.0.0.1:2526"), socket, ("lmtp", "unix:/tmp/evil"), local__lmtp="unix:/run/lmtp"
    )
    assert house.save()["listener"] == [
        {"kind": "smtp", "address": "127.0.0.1:2526"},
        {"kind": "lmtp", "address": "unix:/run/cmail/lmtp"},
    ]
    assert "in the file only" in house.post(local__lmtp="unix:/tmp/evil")


# Forwarding


def test_a_domain_goes_to_a_user_at_once(house: House) -> None:
    """The catch-all alias of the domain; the workers are told, nothing waits for Save Settings."""
    page = house.forward("example.org", "address", "anna")
    assert "goes to anna@example.org, at once" in page
    assert house.catch_alls() == {"@example.org": ("anna@example.org",)}
    assert not house.drafted()
    assert "Remove at once" in page


def test_a_domain_goes_to_several_addresses_and_another_choice_replaces_them(house: House) -> None:
    """Addresses elsewhere too; whom nobody has is noted."""
    house.forward("@Example.ORG.", "address", "anna, bob@example.net")
    assert house.catch_alls() == {"@example.org": ("anna@example.org", "bob@example.net")}
    page = house.forward("example.org", "address", "carla")
    assert house.catch_alls() == {"@example.org": ("carla@example.org",)}
    assert "Nobody here has carla@example.org (yet)." in page


def test_forwarding_to_an_address_is_removed_at_once(house: House) -> None:
    """The alias goes."""
    house.forward("example.org", "address", "anna")
    page = house.post("/host/forward-stop", domain="example.org", way="address")
    assert "goes to its own mailboxes alone, at once" in page
    assert not house.catch_alls()


def test_a_domain_goes_to_a_host_with_save_settings(house: House) -> None:
    """[[forward]] in the file; the same domain again changes its host; removed, the table is gone."""
    assert "Save Settings makes it hold" in house.forward("branch.example.org", "host", "10.0.0.7:2525")
    assert "Not saved yet." in house.get()
    assert house.save()["forward"] == [{"domain": "branch.example.org", "host": "10.0.0.7:2525"}]
    house.forward("b.example", "host", "mail.b.example", "required")
    house.forward("Branch.example.org", "host", "10.0.0.8")
    assert house.save()["forward"] == [
        {"domain": "branch.example.org", "host": "10.0.0.8"},
        {"domain": "b.example", "host": "mail.b.example", "tls": "required"},
    ]
    house.post("/host/forward-stop", domain="b.example", way="host")
    house.post("/host/forward-stop", domain="branch.example.org", way="host")
    assert "forward" not in house.save()


@pytest.mark.parametrize(
    ("domain", "way", "target", "words"),
    [
        ("", "address", "anna", "Which domain?"),
        ("example.org", "address", "", "Where to?"),
        ("other.example", "address", "anna", "is not one of our domains (example.org)"),
        ("example.org", "address", "no@good@address", "is not an address"),
        ("example.org", "host", "10.0.0.7", "Take it out of Domains above first"),
        ("mail.example.org", "host", "10.0.0.7", "is the host name"),
        ("b.example", "host", "unix:/run/x", "in the file only"),
        ("b.example", "host", "mail:x", "is not a port"),
        ("two words", "host", "mail", "is not a domain name"),
    ],
)
def test_what_cannot_be_forwarded(house: House, domain: str, way: str, target: str, words: str) -> None:
    """It is said at its field, typed values stay, nothing is changed."""
    page = house.forward(domain, way, target)
    assert house.status == 422
    assert words in page.replace("&#34;", '"')
    assert not house.drafted()
    assert not house.catch_alls()


def test_a_domain_can_move_to_a_host_in_one_draft(house: House) -> None:
    """Taken out of Domains and forwarded, then saved together."""
    house.post(host__domains="other.example")
    assert "OK: mail for example.org goes to 10.0.0.7" in house.forward("example.org", "host", "10.0.0.7")
    saved = house.save()
    assert saved["host"]["domains"] == ["other.example"]
    assert saved["forward"] == [{"domain": "example.org", "host": "10.0.0.7"}]


# The certificate


def certificate(days: float, *names: str, is_self_signed: bool = False) -> Certificate:
    import time

    now_ms = time.time_ns() // 1_000_000
    end_ms = now_ms + int(days * DAY_MS)
    return Certificate(names, "it", "Good Authority", now_ms - DAY_MS, end_ms, is_self_signed)


NAMED = SETTINGS + '[tls]\ncertificate_file = "/etc/mail.pem"\nkey_file = "/etc/mail.key"\n'
OWN = SETTINGS


@pytest.mark.parametrize(
    ("settings", "found", "words"),
    [
        (OWN, None, ["encryption is not offered"]),
        (OWN, certificate(3000, "mail.example.org", is_self_signed=True), ["vouches for itself", "Encrypt"]),
        (
            NAMED,
            certificate(60.5, "*.example.org"),
            ["holds 60 days more", "Good Authority", "/etc/mail.pem"],
        ),
        (NAMED, certificate(60.5, "www.example.org"), ["It is not for mail.example.org", "host name"]),
        (NAMED, certificate(5.5, "mail.example.org"), ["holds 5 days more", "Renew it"]),
        (NAMED, certificate(-2.5, "mail.example.org"), ["ended 2 days ago", "Renew it"]),
    ],
)
def test_the_certificate_in_use_and_what_to_do(
    tmp_path: Path, settings: str, found: Certificate | None, words: list[str]
) -> None:
    """Names, who vouches, days; an order where something is to be done."""
    page = House(tmp_path, settings, certificate=lambda: found).get()
    assert all(each in page for each in words)
    if found is not None:
        assert ", ".join(found.names) in page
