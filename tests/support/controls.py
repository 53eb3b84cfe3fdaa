"""The controls of the pages of settings: a server whose page is used with plain forms, and how each one is tried."""

import smtplib
import socket
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cmail.app.desk import AT_RESTART
from cmail.web.pages import advanced, host, smtp
from tests.support.house import RunningCmail, wait_for
from tests.support.office import PASSWORD, command
from tests.support.peers import Peers
from tests.support.plain_forms import PlainBrowser, Typed
from tests.support.sink_mx import SinkMx

MAIL: Final = "From: anna@example.org\r\nSubject: hello\r\n\r\nHello.\r\n"
NO_FROM: Final = "Subject: hello\r\n\r\nHello.\r\n"
BUSY: Final = {"RCPT": b"451 4.3.0 later\r\n"}
LOOPBACK: Final = "127.0.0.0/8"
KEYS: Final = {**dict.fromkeys(smtp.KEYS, "/smtp"), **dict.fromkeys(host.KEYS, "/host")} | dict.fromkeys(
    advanced.DIALOG.keys, "/advanced"
)
START: Final = """\
[host]
hostname = "mail.example.org"
domains = ["example.org"]
data_dir = "data"
user = "nobody"
workers = 1

[[listener]]
kind = "smtp"
address = "127.0.0.1:0"

[[listener]]
kind = "submission"
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:{port}"

[relay]
networks = ["192.0.2.0/24"]

[smtp]
host = "127.0.0.1"
tls = "none"

[smtp.advanced]
connections = 1
idle = "5m"
"""


@dataclass
class House:
    """The server, its page, its peers; `browser` is somebody who is logged in."""

    cmail: RunningCmail
    peers: Peers
    browser: PlainBrowser = field(init=False)

    def enter(self) -> None:
        self.browser = PlainBrowser(f"http://127.0.0.1:{self.cmail.port('admin')}")
        self.browser.post("/login", "/login", {"password": PASSWORD})

    def ok(self, typed: Typed) -> None:
        """Into the controls, OK on each page."""
        for path in sorted({KEYS[key] for key in typed}):
            values = {key: value for key, value in typed.items() if KEYS[key] == path}
            page = self.browser.post(path, path, values)
            assert "Save Settings makes it hold" in page.text, page.text

    def save(self) -> str:
        page = self.browser.post("/save", "/save", {})
        assert "Saved." in page.text and "did not take it over" not in page.text, page.text
        return page.text

    def reset(self, key: str) -> None:
        path = KEYS[key]
        self.browser.post(path, path, {}, ("reset", key))
        self.save()

    def file(self, key: str) -> Any:
        """What cmail.toml says; None: nothing."""
        return of(self.cmail.config.read_text(), key)

    def restart(self) -> None:
        self.cmail.stop()
        self.cmail.start()
        self.enter()

    def put_back(self, text: str) -> None:
        """The settings of before, and no draft."""
        page = self.browser.get("/save")
        if any(form.action == "/save" for form in page.forms):
            self.browser.send("/save/discard", page.form("/save").values)
        is_old = any(self.file(key) != of(text, key) for key in AT_RESTART)
        self.cmail.config.write_text(text)
        if is_old:
            self.restart()
        else:
            command(self.cmail, "config", "reload")

    def sink(self, **more: Any) -> SinkMx:
        return self.peers.start(SinkMx(**more))

    def client(self, kind: str = "smtp", source: str = "127.0.0.1") -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.cmail.port(kind), timeout=60, source_address=(source, 0))

    def talk(self, kind: str = "smtp") -> socket.socket:
        """A connection; the greeting or refusal is still to be read."""
        return socket.create_connection(("127.0.0.1", self.cmail.port(kind)), 60)

    def send(self, to: str = "carl@example.com", text: str = MAIL) -> None:
        """As anna does, from her mail program."""
        with self.client("submission") as client:
            client.login("anna@example.org", "secret")
            client.sendmail("anna@example.org", [to], text)

    def waiting(self, what: str = "reason") -> dict[str, Any]:
        """The recipient that waits, as soon as it has a reason to."""
        rows = wait_for(lambda: [r for r in self.cmail.queue() if r[what]], f"a recipient with {what}")
        return dict(rows[0])


def of(text: str, key: str) -> Any:
    """A setting in the text of a file."""
    found: Any = tomllib.loads(text)
    for part in key.split("."):
        found = found.get(part, {})
    return None if found == {} else found


Way = Callable[[House], None]
# key -> what is typed, what the file says, what is seen
WAYS: Final[dict[str, tuple[str | bool, Any, Way]]] = {}


def control(key: str, typed: str | bool, value: Any = None) -> Callable[[Way], Way]:
    """The way in which a control is tried. `value`: as the file has it; None: as it is typed."""

    def note(way: Way) -> Way:
        WAYS[key] = typed, typed if value is None else value, way
        return way

    return note


def change(house: House, key: str, **more: Any) -> str:
    """The control is typed into, with what goes with it, and saved; the file has it."""
    typed, value, _ = WAYS[key]
    house.ok({key: typed, **more.get("more", {})})
    said = house.save()
    assert house.file(key) == value
    return said
