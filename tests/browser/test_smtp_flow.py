"""A person sets the server up on SMTP, Advanced SMTP and Host Configuration: each control changes cmail.toml, and the
running server goes by it after Save Settings; with scripts and without."""

import os
import pwd
import re
import smtplib
import socket
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.browser import chromium, log_in, window
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.office import PASSWORD, command
from tests.support.peers import Peers
from tests.support.ports import free_port
from tests.support.sink_mx import SinkMx

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(300)]

MAIL: Final = b"From: bob@example.net\r\nSubject: hello\r\n\r\nHello.\r\n"
NO_FROM: Final = b"Subject: hello\r\n\r\nHello.\r\n"
STRANGERS: Final = "192.0.2.0/24"  # whoever connects from here may not relay

LATER: Final = datetime.now() + timedelta(hours=12)
FAR: Final = f"{LATER:%H:00}-{LATER:%H:01}"  # a window that is not soon
# All controls of Advanced SMTP Configuration, what is typed and what the file says then.
ADVANCED: Final[Mapping[str, tuple[str | bool, Any]]] = {
    "smtp.advanced.timeout": ("45s", "45s"),
    "smtp.advanced.fallback_to_host": (False, False),
    "smtp.advanced.outbound_port": ("2025", 2025),
    "smtp.advanced.connections": ("7", 7),
    "smtp.advanced.messages_per_connection": ("50", 50),
    "smtp.advanced.idle": ("3s", "3s"),
    "queue.retry": ("1m\n2m", ["1m", "2m"]),
    "queue.lifetime": ("2d", "2d"),
    "queue.delay_notice": ("1h", "1h"),
    "queue.batch": (True, True),
    "exchange.every": ("2h", "2h"),
    "exchange.at": (FAR, [FAR]),
    "exchange.messages": ("9", 9),
    "exchange.oldest": ("3h", "3h"),
    "exchange.urgent": (False, False),
    "exchange.longest": ("20m", "20m"),
    "link.probe": ("off", "off"),
    "link.probe_every": ("90s", "90s"),
    "link.small": ("50KiB", "50KiB"),
    "smtp.advanced.max_message_size": ("1MiB", "1MiB"),
    "smtp.advanced.refuse_unknown_users": (False, False),
    "local.separator": ("-", "-"),
    "limits.sessions": ("500", 500),
    "limits.sessions_per_address": ("50", 50),
    "limits.connections_per_minute": ("90", 90),
    "limits.messages_per_minute": ("900", 900),
    "limits.recipients_per_minute": ("9000", 9000),
    "limits.recipients": ("100", 100),
    "limits.errors": ("3", 3),
    "limits.idle_commands": ("50", 50),
    "limits.login_failures_per_address": ("9", 9),
    "limits.login_failures_per_account": ("8", 8),
    "limits.login_timeout": ("1m", "1m"),
    "limits.command_timeout": ("4m", "4m"),
    "limits.data_timeout": ("2m", "2m"),
    "limits.data_rate": ("20", 20),
    "limits.handshakes": ("100", 100),
    "limits.future_release": ("10d", "10d"),
    "limits.deliver_by": ("2m", "2m"),
    "limits.free_space": ("32MiB", "32MiB"),
    "log.keep": ("20d", "20d"),
    "log.keep_size": ("100MiB", "100MiB"),
    "log.format": ("json", "json"),
    "dns.servers": ("127.0.0.1:5353", ["127.0.0.1:5353"]),
    "checks.time_servers": ("time.example.net", ["time.example.net"]),
    "checks.port25_domain": ("example.net", "example.net"),
    "admin.address": ("127.0.0.1:8026", "127.0.0.1:8026"),
    "host.workers": ("3", 3),
}


class Flow:
    """The server, an upstream server, the browser's window."""

    def __init__(self, cmail: RunningCmail, sink: SinkMx, peers: Peers, page: Any) -> None:
        self.cmail, self.sink, self.peers, self.page = cmail, sink, peers, page
        self.url = f"http://127.0.0.1:{cmail.port('admin')}"

    def go(self, path: str) -> None:
        assert self.page.goto(self.url + path).status == 200

    def enter(self, values: Mapping[str, str | bool]) -> None:
        """Into the controls of this page, whatever kind they are."""
        for key, value in values.items():
            control = self.page.locator(f'main [name="{key}"]:not([type=hidden])').first
            kind = control.get_attribute("type")
            if isinstance(value, bool):
                control.set_checked(value)
            elif kind == "radio":
                self.page.check(f'main [name="{key}"][value="{value}"]')
            elif control.evaluate("e => e.tagName") == "SELECT":
                control.select_option(value)
            else:
                control.fill(value)

    def press(self, words: str) -> None:
        """The first visible button with these words; wait for the page that follows."""
        with self.page.expect_navigation():
            self.page.locator(f"main button:not(.unseen):has-text('{words}'):visible").first.click()

    def set(self, path: str, values: Mapping[str, str | bool]) -> None:
        """A page, its controls, OK."""
        self.go(path)
        self.enter(values)
        self.press("OK")
        assert "Save Settings makes it hold" in self.said()

    def save(self) -> dict[str, Any]:
        """Save Settings; the file."""
        self.go("/save")
        self.press("Save Settings")
        assert "Saved." in self.said()
        assert "did not take it over" not in self.said()
        return self.file()

    def file(self) -> dict[str, Any]:
        return tomllib.loads(self.cmail.config.read_text())

    def said(self) -> str:
        return " ".join(self.page.locator(".said").all_inner_texts())

    def client(self, number: int = 0) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.cmail.port("smtp", number), timeout=60)

    def send(self, to: str, message: bytes = MAIL) -> None:
        with self.client() as client:
            client.sendmail("bob@example.net", [to], message)


def own(cmail: RunningCmail) -> None:
    """As an installed server has it: its user may write the settings file (root started it)."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam("nobody")
        for path in (cmail.folder, cmail.config):
            os.chown(path, entry.pw_uid, entry.pw_gid)


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def flow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flow]:
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with Peers() as peers:
        sink = peers.start(SinkMx(users={"anna": "secret"}, extensions=("AUTH PLAIN",)))
        with (
            RunningCmail(tmp_path, settings=settings) as cmail,
            chromium() as launched,
            window(launched, has_scripts=request.param) as page,
        ):
            own(cmail)
            command(cmail, "page", "password", "--stdin", stdin=PASSWORD + "\n")
            found = Flow(cmail, sink, peers, page)
            log_in(page, found.url, PASSWORD)
            yield found
            assert page.complaints == []


def test_mail_goes_out_through_an_upstream_server(flow: Flow) -> None:
    """Host, port, security, user name and password: tried before they are saved, then used by the server. The
    password is in a file that only the server can read."""
    flow.go("/smtp")
    values = {"smtp.delivery": "smarthost", "smtp.host": "127.0.0.1", "smtp.port": str(flow.sink.port)}
    flow.enter({**values, "smtp.tls": "none", "smtp.username": "anna", "password": "wrong"})
    flow.press("Test connection")
    assert "It does not work yet" in flow.said()
    assert "User name or password is not accepted" in flow.page.inner_text(".steps .failed")
    assert "smtp" not in flow.file(), "nothing is saved by a test"

    flow.go("/smtp")
    flow.enter({"password": "secret"})
    flow.press("Test connection")
    assert "It works" in flow.said()
    assert not flow.sink.taken

    smtp = flow.save()["smtp"]
    assert Path(smtp["password_file"]).read_text() == "secret\n"
    assert {**smtp, "password_file": ""} == {
        "host": "127.0.0.1",
        "port": flow.sink.port,
        "tls": "none",
        "username": "anna",
        "password_file": "",
    }
    flow.send("carl@example.com")
    wait_for(lambda: flow.sink.taken, "the message at the upstream server")
    assert flow.sink.taken[0].user == "anna"


def test_a_provider_is_filled_in(flow: Flow) -> None:
    """A choice and a button: host, port and security stand in their fields, and what the provider wants is said."""
    flow.go("/smtp")
    flow.page.select_option("#provider", "Fastmail")
    flow.press("Fill in")
    assert "app password" in flow.said()
    assert flow.page.input_value('[id="smtp.host"]') == "smtp.fastmail.com"
    saved = flow.save()["smtp"]
    assert (saved["host"], saved["port"], saved["tls"]) == ("smtp.fastmail.com", 465, "implicit")


def test_the_kick_and_validation(flow: Flow) -> None:
    """With the kick on, the trigger port of the SMTP host hears of us when the line comes up; with Validation off
    a message without From is taken."""
    with pytest.raises(smtplib.SMTPDataError):
        flow.send("anna@example.org", NO_FROM)
    with socket.create_server(("127.0.0.1", 0)) as trigger:
        trigger.settimeout(60)
        port = trigger.getsockname()[1]
        values: dict[str, str | bool] = {
            "smtp.host": "127.0.0.1",
            "smtp.kick": True,
            "smtp.trigger_port": str(port),
        }
        flow.set("/smtp", {**values, "smtp.validation": False})
        smtp = flow.save()["smtp"]
        assert (smtp["kick"], smtp["trigger_port"], smtp["validation"]) == (True, port, False)
        command(flow.cmail, "link", "down")
        command(flow.cmail, "link", "up")
        client, _ = trigger.accept()
        with client:
            client.settimeout(60)
            assert client.recv(100) == b"example.org\r\n"
    flow.send("anna@example.org", NO_FROM)
    flow.cmail.wait_for_mail("anna@example.org")


def test_mail_by_mx(flow: Flow) -> None:
    """The other delivery: a message to an address literal goes there itself, not to an upstream server."""
    flow.set("/smtp", {"smtp.delivery": "mx"})
    flow.set("/advanced", {"smtp.advanced.outbound_port": str(flow.sink.port)})
    assert flow.save()["smtp"]["delivery"] == "mx"
    other = "127.0.0.2" if os.path.exists("/proc/net/fib_trie") else "127.0.0.1"
    flow.send(f"carl@[{other}]")
    rows = wait_for(flow.cmail.queue, "the message in the queue")
    assert rows[0]["route"] == f"mx:[{other}]"


def test_each_advanced_control_is_in_the_file_and_in_the_server(flow: Flow) -> None:
    """All of them at once; then size, recipients, errors, unknown users, batch and separator are seen from outside,
    and Reset brings a default back."""
    flow.go("/advanced")
    shown = set(flow.page.eval_on_selector_all("main [name]", "all => all.map(e => e.name)"))
    assert {name for name in shown if "." in name and not name.endswith(("-shown", "-was"))} == set(ADVANCED)
    flow.set("/advanced", {key: typed for key, (typed, _) in ADVANCED.items()})
    saved = flow.save()
    for key, (_, value) in ADVANCED.items():
        table = saved
        for part in key.split(".")[:-1]:
            table = table[part]
        assert table[key.rpartition(".")[2]] == value, key

    with flow.client() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(2**20)
        client.mail("bob@example.net")
        codes = [client.rcpt(f"u{n}@example.net")[0] for n in range(101)]
        assert (codes[99], codes[100]) == (250, 452)
    with flow.client() as client:
        client.ehlo()
        client.mail("bob@example.net")
        assert client.rcpt("nobody-knows@example.org")[0] == 250
    client = flow.client()
    assert [client.docmd("NONSENSE")[0] for _ in range(4)] == [500, 500, 500, 421]
    client.close()
    flow.send("anna-roof@example.org")
    flow.cmail.wait_for_mail("anna@example.org")
    flow.send("carl@example.com")
    assert wait_for(flow.cmail.queue, "mail that is batched")[0]["attempts"] == 0

    flow.go("/advanced")
    with flow.page.expect_navigation():
        flow.page.click('button[name=reset][value="smtp.advanced.max_message_size"]')
    assert "max_message_size" not in flow.save()["smtp"]["advanced"]
    with flow.client() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(50 * 2**20)


def test_names_listeners_and_networks(flow: Flow) -> None:
    """Another host name greets, a domain more is ours, a listener more answers and one less does not, who may not
    relay any more is refused, mail for people here goes to an LMTP server."""
    lmtp, port = flow.peers.start(SinkMx(is_lmtp=True)), free_port()
    old = flow.cmail.port("submission")
    flow.go("/host")
    flow.enter({"host.hostname": "post.example.org", "host.domains": "example.org\nexample.net"})
    flow.enter(
        {"relay.networks": STRANGERS, "local.delivery": "lmtp", "local.lmtp": f"127.0.0.1:{lmtp.port}"}
    )
    flow.enter({"local.separator": "=", "listener-1-remove": True})
    flow.enter({"listener-2-kind": "smtp", "listener-2-address": f"127.0.0.1:{port}"})
    flow.press("OK")
    saved = flow.save()
    assert saved["host"]["hostname"] == "post.example.org"
    assert saved["host"]["domains"] == ["example.org", "example.net"]
    assert saved["relay"]["networks"] == [STRANGERS]
    assert saved["local"] == {"delivery": "lmtp", "lmtp": f"127.0.0.1:{lmtp.port}", "separator": "="}
    assert [each["kind"] for each in saved["listener"]] == ["smtp", "smtp"]

    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        assert client.ehlo()[1].startswith(b"post.example.org")
        client.mail("bob@example.com")
        assert client.rcpt("carl@example.com")[0] == 550, "no relaying any more"
        assert client.rcpt("anna@example.net")[0] == 550, "a domain of ours: nobody has that address"
        assert b"Nobody here" in client.rcpt("anna@example.net")[1]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", old), 60).close()
    flow.send("anna=roof@example.org")
    wait_for(lambda: lmtp.taken, "the message at the LMTP server")


def test_domains_are_forwarded(flow: Flow) -> None:
    """To a user at once, to a host with Save Settings; mail of strangers goes there, and does no more when it is
    removed."""
    branch = flow.peers.start(SinkMx())
    flow.set("/host", {"relay.networks": STRANGERS})
    flow.go("/host")
    flow.enter({"domain": "example.org", "way": "address", "target": "anna"})
    flow.press("Forward")
    assert "at once" in flow.said()
    flow.send("whoever@example.org")
    flow.cmail.wait_for_mail("anna@example.org")

    flow.enter(
        {"domain": "branch.example", "way": "host", "target": f"127.0.0.1:{branch.port}", "tls": "none"}
    )
    flow.press("Forward")
    saved = flow.save()
    host = f"127.0.0.1:{branch.port}"
    assert saved["forward"] == [{"domain": "branch.example", "host": host, "tls": "none"}]
    flow.send("anybody@branch.example")
    wait_for(lambda: branch.taken, "the message at the branch")

    flow.go("/host")
    flow.press("Remove at once")
    flow.go("/host")
    with flow.page.expect_navigation():
        flow.page.click("#forwarding tr:has-text('branch.example') button")
    assert "forward" not in flow.save()
    for address in ("anybody@branch.example", "whoever@example.org"):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            flow.send(address)


def test_the_certificate_in_use_is_shown(flow: Flow) -> None:
    """The one that a client of the server is shown: made here, for the host name."""
    flow.go("/host")
    words = flow.page.inner_text("#certificate")
    assert "vouches for itself" in words
    assert "mail.example.org" in words
    assert re.search(r"holds 36\d\d days more", words)


def test_what_the_delivery_does_not_need_is_folded_by_scripts_alone(
    flow: Flow, request: pytest.FixtureRequest
) -> None:
    """With scripts the other part folds, and opens when it is chosen; without them everything is there. Security
    and port go together."""
    flow.go("/smtp")
    has_scripts = "without" not in request.node.callspec.id
    assert flow.page.is_visible("#domain") is not has_scripts
    assert flow.page.is_visible('[id="smtp.host"]')
    flow.page.check('[name="smtp.delivery"][value=mx]')
    assert flow.page.is_visible("#domain")
    assert flow.page.is_visible('[id="smtp.host"]') is not has_scripts
    flow.page.check('[name="smtp.delivery"][value=smarthost]')
    flow.enter({"smtp.port": "587", "smtp.tls": "implicit"})
    assert flow.page.input_value('[id="smtp.port"]') == ("465" if has_scripts else "587")
    flow.enter({"smtp.host": "smtp.isp.example", "smtp.port": "587"})
    flow.press("OK")
    assert "greets in the clear" in flow.page.inner_text('[id="field-smtp.tls"]')
