"""The Link and its API against a running server: what no link can carry, what one question begins, what is told of it."""

import json
import smtplib
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.test_serve_kick import Trigger
from tests.support.fake_dns import FakeDnsServer
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.mailboxes_elsewhere import message
from tests.support.office import command
from tests.support.peers import Peers
from tests.support.scripted_pop3 import ScriptedPop3

RECORDS: Final = {("example.net", "MX"): ["10 mx.example.net."], ("mx.example.net", "A"): ["127.0.0.1"]}


class House:
    """The server, and a program with a token of its API."""

    def __init__(self, cmail: RunningCmail, box: ScriptedPop3, trigger: Trigger) -> None:
        self.cmail, self.box, self.trigger = cmail, box, trigger
        self._token = command(cmail, "token", "add", "program", "--scope", "admin").split()[-1]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """What it answers."""
        url = f"http://127.0.0.1:{self.cmail.port('admin')}/api/v1{path}"
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)

    def has_ended(self) -> bool:
        """Whether there was an exchange, and none goes on."""
        entries = self.ask("GET", "/exchanges")["exchanges"]
        return bool(entries) and all(entry["end"] for entry in entries)

    def attention(self) -> list[str]:
        """What needs attention, by the page and by the command, which say the same of it within a moment."""
        return wait_for(self._agreed, "page and command to say the same")[0]

    def _agreed(self) -> tuple[list[str]] | None:
        status = [sys.executable, "-m", "cmail", "status", "--json", "--config", str(self.cmail.config)]
        done = subprocess.run(status, capture_output=True, text=True, timeout=60, check=True)
        by_command = [each["words"] for each in json.loads(done.stdout)["attention"]]
        by_page = [each["words"] for each in self.ask("GET", "/status")["attention"]]
        return (by_command,) if set(by_command) <= set(by_page) else None


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Peers() as peers, Trigger(b"yes\r\n") as trigger:
        box, dns = peers.start(ScriptedPop3()), peers.start(FakeDnsServer(dict(RECORDS)))
        (tmp_path / "password").write_text("secret")
        (tmp_path / "password").chmod(0o600)
        settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
        more = (
            f'\n[smtp]\ndelivery = "mx"\n[dns]\nservers = ["{dns.address}"]\n[exchange]\nevery = "1h"\n'
            '[[link.via]]\nname = "satellite"\nrate = 256\nlargest = "100KiB"\n'
            f'[[link.kick]]\nmethod = "finger"\nhost = "127.0.0.1"\nport = {trigger.port}\nwait = "1s"\nrepeat = 0\n'
            f'[[collect]]\nname = "isp"\nprotocol = "pop3"\nhost = "127.0.0.1"\nport = {box.port}\ntls = "none"\n'
            f'username = "anna"\npassword_file = "{tmp_path}/password"\nto = "anna@example.org"\n'
        )
        with RunningCmail(tmp_path, settings=settings, more=more) as cmail:
            found = House(cmail, box, trigger)
            wait_for(found.has_ended, "the exchange of the start to be over")
            yield found


def test_what_is_told_and_what_begins(house: House) -> None:
    """A kick without an answer, mail that no link can carry and a wrong password need attention, for page and command.
    One question begins kick and collection; one that names a mailbox kicks nobody."""
    wait_for(lambda: any("no mail has come" in each for each in house.attention()), "the kick of the start")

    send(house.cmail, 200_000)
    wait_for(lambda: any("larger than what any link" in each for each in house.attention()), "it to be held")
    send(house.cmail, 90_000)
    send(house.cmail, 100)
    plan = wait_for(lambda: len((plan := house.ask("GET", "/plan"))["messages"]) == 2 and plan, "the plan")
    assert plan["waiting"]["messages"] == 2 and plan["next"] and plan["rate"] == 256
    small, medium = plan["messages"]
    assert small["order"] == "small (up to 64 KiB)" and small["to"] == ["bob@example.net"]
    assert medium["order"] == "medium (up to 1 MiB)"
    assert small["takes_s"] < 0.1 and medium["takes_s"] == pytest.approx(2.8, abs=0.1)
    assert plan["takes_s"] == 3, "at 32,000 octets a second"

    house.box.answers["PASS"] = b"-ERR wrong\r\n"
    kicked = len(house.trigger.heard)
    assert house.ask("POST", "/collect") == {"is_kicked": True, "collects": ["isp"]}
    wait_for(
        lambda: any("No mail is collected from isp" in each for each in house.attention()), "the trouble"
    )
    wait_for(lambda: len(house.trigger.heard) > kicked, "the kick")

    house.box.answers.clear()
    house.box.messages.append(("a", message(1)))
    kicked = len(house.trigger.heard)
    assert house.ask("POST", "/collect", {"names": ["isp"]}) == {"is_kicked": False, "collects": ["isp"]}
    house.cmail.wait_for_mail("anna@example.org")
    wait_for(
        lambda: house.ask("GET", "/collect")["mailboxes"][0]["words"] == "1 fetched", "what it says of it"
    )
    assert not any("isp" in each for each in house.attention()) and len(house.trigger.heard) == kicked
    with pytest.raises(urllib.error.HTTPError, match="422"):
        house.ask("POST", "/collect", {"names": ["nobody"]})


def send(cmail: RunningCmail, octets: int) -> None:
    """A message for the Internet."""
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        head = "From: anna@example.org\r\nSubject: hello\r\n\r\n"
        client.sendmail("anna@example.org", ["bob@example.net"], head + "x" * 70 + "\r\n" * (octets // 2))
