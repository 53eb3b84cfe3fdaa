"""Links, kicks, mailboxes elsewhere and sites: lists in plain words, rows that are added, changed, moved and deleted by
plain forms; what is wrong beside its control; passwords typed and never shown."""

import asyncio
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from cmail.admin.mailbox_test import Tried
from cmail.link.collect.box import Access
from cmail.storage.account_book import AccountBook
from cmail.web.application import application
from cmail.web.desk import DraftError
from cmail.web.pages import table_test
from cmail.web.pages.table_kinds import COLLECT, KICK, KINDS, SITE, VIA, TableKind
from tests.support.fake_web import SETTINGS, OneSession, fake_context
from tests.support.plain_forms import Form, read_forms

PROGRAM: Final = '[[link.kick]]\nmethod = "command"\ncommand = ["/usr/local/bin/ask", "now"]  # ours\n'
OWN_FILE: Final = """\
[[link.kick]]
method = "etrn"
host = "mx.isp.example"
username = "ours"
password_file = "/etc/cmail/kick-password"
"""
# What is typed into the page of a new row, and what the file has then.
NEW: Final[dict[str, tuple[dict[str, str], dict[str, Any]]]] = {
    VIA.path: (
        {"name": "satellite", "device": "ppp0\nwwan*", "use": "urgent", "rate": "256", "cost": "0.5"}
        | {"largest": "2MiB", "budget": "20MiB", "window": "22:00-06:00"},
        {"name": "satellite", "device": ["ppp0", "wwan*"], "use": "urgent", "rate": 256, "cost": 0.5}
        | {"largest": "2MiB", "budget": "20MiB", "window": ["22:00-06:00"]},
    ),
    KICK.path: (
        {
            "method": "string",
            "host": "mx.isp.example",
            "port": "2525",
            "text": "hello",
            "wait": "30s",
            "repeat": "2",
        },
        {
            "method": "string",
            "host": "mx.isp.example",
            "port": 2525,
            "text": "hello",
            "wait": "30s",
            "repeat": 2,
        },
    ),
    COLLECT.path: (
        {
            "name": "anna",
            "protocol": "pop3",
            "host": "pop.isp.example",
            "username": "anna4711",
            "tls": "required",
        }
        | {"to": "anna@example.org", "port": "1100", "keep": "true", "largest": "1MiB", "every": "1h"},
        {
            "name": "anna",
            "protocol": "pop3",
            "host": "pop.isp.example",
            "username": "anna4711",
            "tls": "required",
        }
        | {"to": "anna@example.org", "port": 1100, "keep": True, "largest": "1MiB", "every": "1h"},
    ),
    SITE.path: (
        {
            "name": "ship",
            "domains": "ship.example.org",
            "user": "ship@example.org",
            "networks": "192.0.2.0/28",
        }
        | {"host": "192.0.2.7:25", "tls": "none", "largest": "2MiB", "messages": "500", "size": "1GiB"}
        | {"stays": "5m"},
        {
            "name": "ship",
            "domains": ["ship.example.org"],
            "user": "ship@example.org",
            "networks": ["192.0.2.0/28"],
        }
        | {"host": "192.0.2.7:25", "tls": "none", "largest": "2MiB", "messages": 500, "size": "1GiB"}
        | {"stays": "5m"},
    ),
}


class House:
    """The pages with a settings file behind them."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        self.context, self.processes = fake_context(folder, SETTINGS + more)
        self.browser = TestClient(OneSession(application(self.context)))
        self.status = 0

    def get(self, path: str) -> str:
        answer = self.browser.get(path)
        self.status = answer.status_code
        return answer.text

    def forms(self, path: str) -> dict[str, Form]:
        return {form.action: form for form in read_forms(self.get(path))}

    def post(self, path: str, values: dict[str, str]) -> str:
        answer = self.browser.post(path, data=values)
        self.status = answer.status_code
        return answer.text

    def row(self, kind: TableKind, place: str, typed: dict[str, str], way: str = "") -> str:
        """The form of a row as it stands, but for what is typed; OK, or another button."""
        path = f"{kind.path}/{place}"
        values = dict(self.forms(path)[path].values)
        for name, value in typed.items():
            values[name if name in ("password", "remove-password") else f"{kind.key}.{name}"] = value
        return self.post(path + way, values)

    def press(self, kind: TableKind, number: int, what: str, to: str = "") -> str:
        """A button of the list."""
        action = f"{kind.path}/{number}/{what}"
        for form in read_forms(self.get(kind.path)):
            if form.action == action and form.values.get("to", "") == to:
                return self.post(action, form.values)
        raise AssertionError(f"no button {action} {to}")

    def drafted(self, kind: TableKind) -> list[dict[str, Any]]:
        return list(self.context.desk.settings()[kind.key].value)

    def save(self) -> str:
        """Save Settings; the text of the file."""
        assert "Saved." in self.post("/save", {})
        return (self.folder / "cmail.toml").read_text()

    def secrets(self) -> list[str]:
        return sorted(path.read_text() for path in (self.folder / "data" / "secrets").glob("*-password-*"))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.path))
def test_a_row_is_added_changed_and_deleted(house: House, kind: TableKind) -> None:
    """All its controls: the file has what was typed and nothing else; opened again, the form shows it; deleted, the
    file is as it was."""
    before = (house.folder / "cmail.toml").read_text()
    assert kind.empty in house.get(kind.path)
    typed, wanted = NEW[kind.path]
    secret = {"password": "s3cret!"} if kind is COLLECT else {}
    assert "Save Settings makes it hold" in house.row(kind, "add", {**typed, **secret}), house.status
    assert "Not saved yet" in house.get(kind.path)
    text = house.save()
    rows = tomllib.loads(text)
    for part in kind.key.split("."):
        rows = rows[part]
    found = dict(rows[0])  # type: ignore[index]
    assert bool(found.pop("password_file", None)) is (kind is COLLECT)
    assert found == wanted and len(rows) == 1 and text.startswith(before.rstrip("\n"))
    assert "Not saved yet" not in house.get(kind.path)

    form = house.forms(f"{kind.path}/1")[f"{kind.path}/1"].values
    assert {name: form[f"{kind.key}.{name}"] for name in typed} == typed
    assert "s3cret!" not in house.get(f"{kind.path}/1")
    assert "Nothing was changed." in house.row(kind, "1", {}) and not house.context.desk.changes()
    name = "host" if kind is KICK else "name"
    house.row(kind, "1", {name: "other.example" if kind is KICK else "other"})
    assert house.drafted(kind)[0][name].startswith("other")
    house.press(kind, 1, "delete")
    assert house.save() == before and house.secrets() == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.path))
def test_every_column_has_its_control(house: House, kind: TableKind) -> None:
    """What the file can say of a row, its page can; but for the program of a kick."""
    names = {each.key.rpartition(".")[2] for each in house.context.desk.settings()[kind.key].columns}
    assert set(kind.columns) == names - {"command"} and len(kind.columns) == len(set(kind.columns))
    text = house.get(f"{kind.path}/add")
    for name in kind.columns:
        assert f'name="{"password" if name == "password_file" else f"{kind.key}.{name}"}"' in text, name
    assert "program" not in text or kind is KICK


WRONG: Final = {
    VIA.path: ({"name": "a b", "rate": "-1", "window": "soon"}, ["name", "rate", "window"]),
    KICK.path: ({"method": "etrn", "host": "a b", "wait": "soon", "username": "ours"}, ["host", "wait"]),
    COLLECT.path: ({"name": "", "host": "", "to": "nobody"}, ["name", "host", "username", "to"]),
    SITE.path: ({"name": "ship", "domains": "", "user": "", "stays": "0s"}, ["domains"]),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.path))
def test_what_is_wrong_is_said_beside_its_control(house: House, kind: TableKind) -> None:
    """With what would be right, and what was typed is still there; nothing is drafted."""
    typed, names = WRONG[kind.path]
    text = house.row(kind, "add", typed)
    assert house.status == 422
    for name in names:
        part = text[text.index(f'id="field-{kind.key}.{name}"') :]
        part = part[: part.index("</div>")]
        assert 'class="error"' in part, (name, part)
        assert f">{typed.get(name, '')}</textarea>" in part or f'value="{typed.get(name, "")}"' in part
    assert house.drafted(kind) == [] and "[[" not in text


def test_examples_are_as_somebody_types_them(house: House) -> None:
    """On every page: not as the file has them, in quotes."""
    text = house.post("/advanced", {"exchange.every": "1 hour", "exchange.at": "8am"})
    assert house.status == 422 and "For example: 1h</strong>" in text
    assert "For example: 08:00 or Mon-Fri 12:30 or 22:00-06:00</strong>" in text


def test_lists_that_are_typed_as_a_file_has_them(house: House) -> None:
    """With the quotes that the sentences show, and commas: they are meant for the file."""
    house.row(
        VIA, "add", {"name": "satellite", "window": '"22:00-06:00",\r\n "Mon-Fri 12:00-13:00"\r\n08:00-09:00'}
    )
    assert house.drafted(VIA)[0]["window"] == ["22:00-06:00", "Mon-Fri 12:00-13:00", "08:00-09:00"]


def test_what_somebody_else_has_saved_or_discarded(house: House) -> None:
    """Save Settings in a page that is older than that: nothing is said to be saved."""
    house.row(VIA, "add", {"name": "satellite"})
    house.post("/save/discard", {})
    assert "There was nothing to be saved" in house.post("/save", {}) and "Saved." not in house.get("/save")


def test_a_long_list_reads_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each of its rows: with a thousand sites nobody else would be answered for twenty seconds."""
    rows = "".join(
        f'[[site]]\nname = "s{n}"\ndomains = ["s{n}.example"]\nuser = "a@example.org"\n' for n in range(50)
    )
    house = House(tmp_path, rows)
    settings, asked = house.context.desk.settings, [0]

    def counted() -> Any:
        asked[0] += 1
        return settings()

    monkeypatch.setattr(house.context.desk, "settings", counted)
    assert house.get("/sites").count(">Change</a>") == 50 and asked[0] < 10


def test_two_people_at_one_page(house: House) -> None:
    """What one of them has left as it was shown takes nothing back that the other has drafted meanwhile."""
    before = dict(house.forms("/advanced")["/advanced"].values)
    house.post("/advanced", {**before, "exchange.messages": "20", "queue.batch": "true"})
    house.post("/advanced", {**before, "exchange.oldest": "2h", "exchange.at": "08:00\r\n12:30"})
    drafted = {key: view.value for key, view in house.context.desk.settings().items()}
    assert (drafted["exchange.messages"], drafted["exchange.oldest"], drafted["queue.batch"]) == (
        20,
        "2h",
        True,
    )
    now = dict(house.forms("/advanced")["/advanced"].values)
    now.pop("queue.batch")
    house.post("/advanced", {**now, "exchange.at": ""})
    drafted = {key: view.value for key, view in house.context.desk.settings().items()}
    assert (drafted["exchange.at"], drafted["queue.batch"], drafted["exchange.messages"]) == ([], False, 20)


def test_a_file_that_somebody_breaks_meanwhile(house: House) -> None:
    """In an editor: Home and The Link stand, and say so; the pages of settings say why they cannot be shown; then all is as
    before."""
    with open(house.folder / "cmail.toml", "a") as file:
        file.write("\nx = [\n")
    house.context.overviews.forget()
    for path in ("/", "/link", "/queue", "/live/home", "/live/line"):
        text = house.get(path)
        assert house.status == 200, path
    assert "The settings file cannot be read: this is not TOML" in house.get("/")
    for path in ("/links", "/advanced", "/smtp", "/save", "/links/add"):
        text = house.get(path)
        assert house.status == 503 and "The settings file cannot be read" in text, path
    text = (house.folder / "cmail.toml").read_text()
    (house.folder / "cmail.toml").write_text(text.replace("\nx = [\n", ""))
    house.context.overviews.forget()
    assert "cannot be read" not in house.get("/") and "Add a link" in house.get("/links")


def test_one_more_than_there_may_be(tmp_path: Path) -> None:
    """Said of the whole list, as a sentence with the words of the page; all that there may be are shown."""
    house = House(tmp_path, "".join(f'[[link.via]]\nname = "v{n}"\n' for n in range(32)))
    assert house.get("/links").count(">Change</a>") == 32
    text = house.row(VIA, "add", {"name": "one-more"})
    assert house.status == 422 and "Links to the Internet: There may be 32 at most." in text


def test_the_password_of_a_mailbox(house: House) -> None:
    """Asked for; typed, it is in a file of its own; changed with the row; opened, moved and listed it is never shown."""
    typed, _ = NEW[COLLECT.path]
    text = house.row(COLLECT, "add", typed)
    part = text[text.index('id="field-collect.password_file"') :]
    assert "no server gives mail without a password" in part[: part.index("</div>")]
    house.row(COLLECT, "add", {**typed, "password": "first"})
    assert "it is not saved yet" in house.get("/collect/1")
    house.save()
    assert house.secrets() == ["first\n"] and "A password is set." in house.get("/collect/1")
    house.row(COLLECT, "1", {"password": "second", "host": "imap.example.net"})
    assert house.secrets() == ["first\n", "second\n"]
    house.save()
    assert house.secrets() == ["second\n"]
    for path in ("/collect", "/collect/1", "/save"):
        assert "second" not in house.get(path)


def test_the_password_of_a_kick_goes_with_its_user_name(house: House) -> None:
    """Who has no log-in any more has no password; or it is removed by itself, and then there must be no user name."""
    house.row(KICK, "add", {"method": "atrn", "host": "a.example", "username": "ours", "password": "secret"})
    house.save()
    assert house.secrets() == ["secret\n"]
    text = house.row(KICK, "1", {"remove-password": "1"})
    assert house.status == 422 and "there is a username" in text
    house.row(KICK, "1", {"method": "etrn", "username": ""})
    house.save()
    assert house.secrets() == [] and "password_file" not in house.drafted(KICK)[0]


def test_the_password_of_a_site_goes_with_its_account(house: House) -> None:
    """Said what it is for; it outlives a change of the row, and is gone when the site has no account any more."""
    typed, _ = NEW[SITE.path]
    assert "CRAM-MD5" in house.get("/sites/add")
    house.row(SITE, "add", {**typed, "password": "secret"})
    house.save()
    house.row(SITE, "1", {"messages": "7"})
    house.save()
    assert house.secrets() == ["secret\n"] and "secret" not in house.get("/sites/1") + house.get("/sites")
    house.row(SITE, "1", {"user": ""})
    house.save()
    assert house.secrets() == [] and "password_file" not in house.drafted(SITE)[0]


def test_a_program_and_a_file_of_ones_own_stay_as_the_file_has_them(tmp_path: Path) -> None:
    """A step that runs a program is shown, passed by others, and not opened; a password file that the file names
    is shown by its name, and stays."""
    house = House(tmp_path, f"\n{PROGRAM}\n{OWN_FILE}")
    text = house.get("/kicks")
    assert "Runs /usr/local/bin/ask now." in text and 'href="/kicks/1"' not in text
    assert "changed in cmail.toml alone" in house.get("/kicks/1")
    assert "/etc/cmail/kick-password" in house.get("/kicks/2") and 'type="password"' not in house.get(
        "/kicks/2"
    )
    house.row(KICK, "2", {"host": "mx2.isp.example", "password": "sneaked in"})
    house.press(KICK, 2, "move", "up")
    house.row(KICK, "add", {"method": "connect", "host": "a.example"})
    text = house.save()
    assert PROGRAM in text and [row["method"] for row in house.drafted(KICK)] == [
        "etrn",
        "command",
        "connect",
    ]
    assert OWN_FILE.replace("mx.isp", "mx2.isp") in text and house.secrets() == []
    values = {f"link.kick.{name}": value for name, value in (("method", "command"), ("command", "/bin/sh"))}
    house.post("/kicks/add", values)
    assert all(row.get("command") in (None, ["/usr/local/bin/ask", "now"]) for row in house.drafted(KICK))


def test_a_step_that_runs_a_program_is_deleted(tmp_path: Path) -> None:
    """The page says that only the file or a version brings it back. Once saved it is gone; typed in again it is
    refused; the version from before has it."""
    house = House(tmp_path, f"\n{PROGRAM}")
    assert "only cmail.toml or" in house.get("/kicks")
    house.press(KICK, 1, "delete")
    assert house.drafted(KICK) == [] and "/usr/local" not in house.save()
    desk, program = house.context.desk, {"method": "command", "command": ["/usr/local/bin/ask", "now"]}
    with pytest.raises(DraftError) as refused:
        desk.change({"link.kick": [program]}, "anna")
    assert refused.value.problems[0].is_file_only
    first = min(each.number for each in desk.versions())
    asyncio.run(desk.bring_back(first, "anna"))
    assert house.drafted(KICK) == [program]


@pytest.mark.parametrize(("tls", "is_told"), [("", True), ("none", True), ("required", False)])
def test_a_password_for_who_is_not_verified(tmp_path: Path, tls: str, is_told: bool) -> None:
    """The list of kicks says so beside the step; what says nothing of tls is opportunistic."""
    said = f'tls = "{tls}"\n' if tls else ""
    house = House(tmp_path, f"\n{OWN_FILE}{said}")
    assert ("goes to a server that is not verified" in house.get("/kicks")) is is_told


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (SITE, 'name = "ship"\ndomains = ["ship.example"]\nuser = "bert@example.org"'),
        (COLLECT, 'name = "isp"\nprotocol = "pop3"\nhost = "x"\nusername = "x"\nto = "bert@example.org"'),
    ],
    ids=lambda each: getattr(each, "key", ""),
)
def test_an_account_that_is_not_there(tmp_path: Path, kind: TableKind, row: str) -> None:
    """The list says so beside the row, in words for who has no terminal; until it is there."""
    (tmp_path / "data").mkdir()
    house = House(tmp_path, f"\n[[{kind.key}]]\n{row}\n")
    with AccountBook(str(tmp_path / "data"), domains=("example.org",), hostname="mail.example.org") as book:
        assert "bert@example.org here" in house.get(kind.path) and "cmail user" not in house.get(kind.path)
        book.add_user("bert@example.org", "secret of bert")
    assert "bert@example.org here" not in house.get(kind.path)


def test_the_order_of_steps(house: House) -> None:
    """Up and Down; the first has no Up, the last no Down."""
    for name in ("a", "b", "c"):
        house.row(KICK, "add", {"method": "connect", "host": f"{name}.example"})
    house.press(KICK, 3, "move", "up")
    house.press(KICK, 1, "move", "down")
    assert [row["host"][0] for row in house.drafted(KICK)] == ["c", "a", "b"]
    house.save()
    with pytest.raises(AssertionError):
        house.press(KICK, 1, "move", "up")
    assert "/links/1/move" not in house.get("/links")


def test_a_list_that_somebody_else_has_changed_meanwhile(house: House) -> None:
    """A form that is older than that does nothing to another row."""
    for name in ("a", "b"):
        house.row(KICK, "add", {"method": "connect", "host": f"{name}.example"})
    old = house.forms("/kicks/1")["/kicks/1"].values
    house.press(KICK, 1, "delete")
    for path in ("/kicks/1", "/kicks/1/delete", "/kicks/1/move"):
        assert "changed the list meanwhile" in house.post(path, old)
    assert "no such entry" in house.get("/kicks/7")
    assert [row["host"] for row in house.drafted(KICK)] == ["b.example"]


def test_the_kick_of_the_smtp_host_is_told(house: House) -> None:
    """It comes before the plan, and is set elsewhere."""
    assert "SMTP Host is kicked" not in house.get("/kicks")
    house.context.desk.change({"smtp.kick": True}, "anna")
    assert "Before them the SMTP Host is kicked: smtp.isp.example, port 79." in house.get("/kicks")
    assert 'href="/kicks"' in house.get("/smtp")


def test_a_mailbox_is_tried_as_it_is_drafted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the usual port, and the password that was typed or, where the file names one of its own, that which the
    server has read; off line nothing is tried."""
    own = '\n[[collect]]\nname = "own"\nprotocol = "imap"\nhost = "a.example"\nusername = "us"\n'
    house = House(tmp_path, own + 'to = "anna@example.org"\npassword_file = "own-password"\n')
    house.context = replace(house.context, password_of=lambda path: f"of {path}")
    house.browser = TestClient(OneSession(application(house.context)))
    tried: list[tuple[str, Access]] = []

    async def test(protocol: str, access: Access, _: object) -> Tried:
        tried.append((protocol, access))
        return Tried(is_ok=False, words="It said no.", advice="Try harder.")

    monkeypatch.setattr(table_test, "test_mailbox", test)
    typed = {
        "name": "anna",
        "protocol": "pop3",
        "host": "b.example",
        "username": "anna",
        "to": "anna@example.org",
    }
    text = house.row(COLLECT, "add", {**typed, "password": "s3cret!"}, "/test")
    assert "It said no. Try harder." in text and house.drafted(COLLECT)[1]["name"] == "anna"
    assert tried == [("pop3", Access("b.example", 995, "implicit", "", "anna", "", "s3cret!"))]
    house.row(COLLECT, "1", {"tls": "required", "host": "[::1]"}, "/test")
    assert tried[1] == ("imap", Access("::1", 143, "required", "", "us", "INBOX", "of own-password"))
    assert house.row(COLLECT, "1", {"host": "a b"}, "/test") and house.status == 422 and len(tried) == 2
    house.processes.answers["link", "link.status"] = {"is_down": True, "changed_wall_ms": 1, "last_kick": ""}
    house.context.overviews.forget()
    assert "We are off line" in house.row(COLLECT, "2", {}, "/test") and len(tried) == 2


@pytest.mark.parametrize("rows", ["site = [5]", 'site = [{name = "x", odd = 1}]', "site = 5"])
def test_a_file_that_says_something_else(tmp_path: Path, rows: str) -> None:
    """Said, and nothing is done to it."""
    house = House(tmp_path)
    file = house.folder / "cmail.toml"
    file.write_text(f"{rows}\n{file.read_text()}")
    assert "cannot be read" in house.get("/sites") and house.status == 200
    assert "cannot be read" in house.post("/sites/add", {"site.name": "x"})
