"""`cmail checks` and its page against a real name server (nsd) and a server that runs."""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.nsd_server import NsdServer
from tests.support.ports import free_port
from tests.support.sink_mx import SinkMx
from tests.support.threads import in_thread

pytestmark = pytest.mark.needs("nsd", "root")

ORG: Final = """
@ MX 10 mail
@ TXT "v=spf1 mx " "include:_spf.example.net -all"
_dmarc TXT "v=DMARC1; p=reject; rua=mailto:postmaster@example.org"
mail A 192.0.2.1
"""
NET: Final = """
@ MX 0 .
@ TXT "v=spf1 mix -all"
_spf TXT "v=spf1 ip4:198.51.100.0/24 -all"
sink MX 10 mx.sink
mx.sink A 127.0.0.2
"""
REVERSE: Final = "1 PTR mail.example.org.\n"


@dataclass
class Scene:
    """A server with two domains, and a zone for each."""

    cmail: RunningCmail
    nsd: NsdServer

    def checks(self, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Exit code and rows by name of `cmail checks --json`."""
        done = subprocess.run(
            [sys.executable, "-m", "cmail", "checks", "--json", "--config", str(self.cmail.config), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )  # fmt: skip
        assert done.stdout, done.stderr
        return done.returncode, {row["name"]: row for row in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    port = free_port()
    zones = {"example.org": ORG, "example.net": NET, "2.0.192.in-addr.arpa": REVERSE}
    settings = SETTINGS.replace('["example.org"]', '["example.org", "example.net", "broken.example"]')
    more = (
        '\n[smtp]\ndelivery = "mx"\n[smtp.advanced]\n'
        f"outbound_port = {port}\n[checks]\ntime_servers = []\n"
        'port25_domain = "sink.example.net"\n'
    )
    settings = settings.replace('[admin]\naddress = ""', '[admin]\naddress = "127.0.0.1:0"')
    with NsdServer(zones, broken=["broken.example"]) as nsd:
        more += f'[dns]\nservers = ["{nsd.address}"]\n'
        sink = SinkMx(host="127.0.0.2", port=port)
        with in_thread(sink):
            house = RunningCmail(tmp_path_factory.mktemp("checks"), settings=settings, more=more)
            with house as cmail:
                yield Scene(cmail, nsd)


def test_every_row(scene: Scene) -> None:
    """What a real name server says of good, wrong and broken zones; 1 because something is wrong."""
    code, rows = scene.checks()
    assert code == 1
    states = {name: row["state"] for name, row in rows.items()}
    assert states["mx:example.org"] == "good", rows["mx:example.org"]
    assert states["dmarc:example.org"] == "good"
    assert states["reverse"] in ("good", "wrong"), "the address that this machine has is judged too"
    assert "192.0.2.1 is called mail.example.org, which leads back" in rows["reverse"]["found"]
    assert states["mx:example.net"] == states["spf:example.net"] == "wrong"
    assert "takes no mail" in rows["mx:example.net"]["found"] and "mix" in rows["spf:example.net"]["found"]
    assert states["dmarc:example.net"] == "look at it" and rows["dmarc:example.net"]["records"]
    assert {states[f"{kind}:broken.example"] for kind in ("mx", "spf", "dmarc")} == {"not known"}
    assert states["port25"] == "good" and rows["port25"]["raw"][0].startswith("220")
    assert "Self-signed, for mail.example.org" in rows["certificate"]["found"], "as the listener shows it"
    assert states["disk"] in ("good", "look at it") and states["clock"] == "not known"


def test_one_row_and_one_domain(scene: Scene) -> None:
    """A name, a kind or a domain; 0 when nothing is wrong, 64 for what is none."""
    code, rows = scene.checks("mx:example.org")
    assert code == 0 and list(rows) == ["mx:example.org"]
    code, rows = scene.checks("dmarc")
    assert code == 0 and len(rows) == 3
    code, rows = scene.checks("example.net")
    assert code == 1 and list(rows) == ["mx:example.net", "spf:example.net", "dmarc:example.net"]
    done = subprocess.run(
        [sys.executable, "-m", "cmail", "checks", "nonsense", "--config", str(scene.cmail.config)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 64 and "mx:example.org" in done.stderr


def test_the_words(scene: Scene) -> None:
    """For people: the state, what is, what should be, the record on a line of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "cmail", "checks", "dmarc:example.net", "--config", str(scene.cmail.config)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("look at it dmarc:example.net: ")
    assert lines[-1].strip().startswith('_dmarc.example.net. 3600 IN TXT "v=DMARC1; p=none')


def test_the_page(scene: Scene) -> None:
    """The same rows on the page of the running server, after [Check all again]."""
    browser = Browser(scene.cmail)
    csrf = browser.log_in()
    assert browser.post("/checks/run", {"name": "all", "csrf": csrf})[0] == 303

    def settled() -> str:
        text = browser.get("/live/checks")
        return "" if "Checking" in text else text

    text = wait_for(settled, "all checks to end")
    assert "Mail for example.org goes to mail.example.org (priority 10). That is this server." in text
    assert "Port 25 is open" in text and "Self-signed, for mail.example.org" in text
    assert "example.net takes no mail at all" in text


class Browser:
    """One that logs in and keeps its cookie."""

    def __init__(self, cmail: RunningCmail) -> None:
        self._cmail = cmail
        [address] = [p["address"] for p in cmail.status()["listeners"] if p["kind"] == "admin"]
        self._host, _, port = address.rpartition(":")
        self._port, self._cookie = int(port), ""

    def _ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        link = http.client.HTTPConnection(self._host, self._port, timeout=60)
        headers = {"Cookie": self._cookie} if self._cookie else {}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        link.request(method, path, body, headers)
        answer = link.getresponse()
        text = answer.read().decode()
        if cookie := answer.headers.get("set-cookie"):
            self._cookie = cookie.partition(";")[0]
        link.close()
        return answer.status, text

    def get(self, path: str) -> str:
        """A page."""
        status, text = self._ask("GET", path)
        assert status == 200, (status, text)
        return text

    def post(self, path: str, fields: dict[str, str]) -> tuple[int, str]:
        """A form."""
        return self._ask("POST", path, urlencode(fields))

    def log_in(self) -> str:
        """With a password that `cmail page password` sets; the CSRF token."""
        subprocess.run(
            [sys.executable, "-m", "cmail", "page", "password", "--stdin", "--config", str(self._cmail.config)],
            input="correct horse\n", text=True, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        assert self.post("/login", {"password": "correct horse"})[0] == 303
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/save"))
        assert found
        return found[1]
