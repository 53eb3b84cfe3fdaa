"""A person, a browser, a server with a plan of exchanges: the countdown, an exchange, a collection and a link by hand."""

import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.test_serve_kick import Trigger
from tests.support.browser import chromium, log_in, window
from tests.support.fake_dns import FakeDnsServer
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.mailboxes_elsewhere import message
from tests.support.office import PASSWORD, command
from tests.support.peers import Peers
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.sink_mx import SinkMx

RECORDS: Final = {("example.net", "MX"): ["10 mx.example.net."], ("mx.example.net", "A"): ["127.0.0.1"]}

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(400)]


class Flow:
    """The server, those around it, the browser's window."""

    def __init__(
        self, cmail: RunningCmail, sink: SinkMx, box: ScriptedPop3, trigger: Trigger, page: Any
    ) -> None:
        self.cmail, self.sink, self.box, self.trigger, self.page = cmail, sink, box, trigger, page
        self.url = f"http://127.0.0.1:{cmail.port('admin')}"

    def go(self, path: str = "/link") -> str:
        assert self.page.goto(self.url + path).status == 200
        return str(self.page.inner_text("main"))

    def press(self, button: str) -> str:
        """A button that posts; what is said on the page that follows."""
        with self.page.expect_navigation():
            self.page.click(f"main button:text-is('{button}')")
        return " ".join(self.page.locator(".said").all_inner_texts())

    def see(self, words: str) -> str:
        """Look until it is there; what else stands there then."""
        try:
            return str(wait_for(lambda: words in (text := self.go()) and text, f"{words!r} on the page"))
        except AssertionError:
            raise AssertionError(f"no {words!r} on the page: {self.go()}") from None

    def send(self) -> None:
        """A message for the Internet."""
        with smtplib.SMTP("127.0.0.1", self.cmail.port("smtp"), timeout=60) as client:
            head = "From: anna@example.org\r\nSubject: hello\r\n\r\n"
            client.sendmail("anna@example.org", ["bob@example.net"], head + "Hello.\r\n" * 50)

    def has_ended(self) -> bool:
        """Whether there was an exchange, and none goes on."""
        entries = self.cmail.ask("link", "link.history")["exchanges"]
        return bool(entries) and all(entry["end_ms"] for entry in entries)

    def is_open(self) -> bool:
        return bool(self.cmail.ask("link", "link.status")["exchange"]["is_open"])


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def flow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flow]:
    with Peers() as peers, Trigger(b"I shall look\r\n") as trigger:
        sink, box = peers.start(SinkMx()), peers.start(ScriptedPop3([("a", message(1))]))
        dns = peers.start(FakeDnsServer(dict(RECORDS)))
        (tmp_path / "password").write_text("secret")
        (tmp_path / "password").chmod(0o600)
        settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
        more = (
            f'\n[smtp]\ndelivery = "mx"\n[smtp.advanced]\noutbound_port = {sink.port}\n'
            f'[dns]\nservers = ["{dns.address}"]\n[exchange]\nevery = "10m"\nurgent = false\n'
            '[[link.via]]\nname = "satellite"\nrate = 256\ncost = 2.0\n'
            f'[[link.kick]]\nmethod = "finger"\nhost = "127.0.0.1"\nport = {trigger.port}\nwait = "1s"\nrepeat = 0\n'
            f'[[collect]]\nname = "isp"\nprotocol = "pop3"\nhost = "127.0.0.1"\nport = {box.port}\ntls = "none"\n'
            f'username = "anna"\npassword_file = "{tmp_path}/password"\nto = "anna@example.org"\n'
        )
        with (
            RunningCmail(tmp_path, settings=settings, more=more) as cmail,
            chromium() as launched,
            window(launched, has_scripts=request.param) as page,
        ):
            command(cmail, "page", "password", "--stdin", stdin=PASSWORD + "\n")
            found = Flow(cmail, sink, box, trigger, page)
            log_in(page, found.url, PASSWORD)
            wait_for(found.has_ended, "the exchange of the start to be over")
            yield found
            assert page.complaints == []


def test_a_day_at_the_link(flow: Flow, request: pytest.FixtureRequest) -> None:
    """The countdown and the plan, an exchange by hand, Collect now, a link taken down and put up; with scripts the
    page does what it shows by itself."""
    exchange_by_hand(flow)
    collect_now(flow)
    link_by_hand(flow)
    if "with scripts" in request.node.name:
        page_lives(flow)


def exchange_by_hand(flow: Flow) -> None:
    """Mail waits: the page says for when, counts down, says what will go and how long it takes. Asked for by hand it
    goes, and the last exchange stands below with what came and what it cost."""
    flow.send()
    flow.box.messages.append(("b", message(2, 20_000)))
    text = flow.see("1 message waits for the Internet")
    assert "All of it goes; that takes" in text and "at 256 kbit/s" in text and "bob@example.net" in text
    assert re.search(r"in\s+(9 min \d+ s|9 min|10 min)", text) and "every 10 minutes" in text
    assert flow.sink.taken == []
    assert "next exchange at" in flow.page.inner_text("#line")
    flow.go("/")
    assert "waits for the next exchange" in flow.page.inner_text("main")
    flow.go()
    assert "An exchange begins" in flow.press("Exchange now")
    wait_for(lambda: flow.sink.taken, "the message to arrive")
    wait_for(lambda: not flow.is_open(), "the exchange to be over")
    text = flow.see("Nothing waits for the Internet.")
    row = flow.page.locator("table.history tbody tr").first.inner_text()
    assert "asked for by hand" in row and "satellite" in row and "collect: isp: 1 fetched" in row, row
    assert re.search(r"0\.0[34]", row), row


def collect_now(flow: Flow) -> None:
    """One button begins kick and collection together: the server is kicked, the message comes, and both stand on the
    page with what was said."""
    kicked = len(flow.trigger.heard)
    flow.box.messages.append(("c", message(3)))
    flow.go()
    assert "The kick begins, and mail is collected from isp, both at once." in flow.press("Collect now")
    wait_for(lambda: len(flow.trigger.heard) > kicked, "the kick")
    flow.cmail.wait_for_mail("anna@example.org", 3)
    text = flow.see("1 fetched")
    assert "finger: says our domain" in text and "worked" in text
    assert "I shall look" in flow.see("no mail came")
    assert "The kick begins." in flow.press("Kick now")
    wait_for(lambda: len(flow.trigger.heard) > kicked + 1, "the second kick")


def link_by_hand(flow: Flow) -> None:
    """Taken down: off line everywhere, nothing is offered that cannot be, mail waits. Put up: mail goes again."""
    flow.go()
    said = flow.press("Take down")
    assert "The link satellite is down: mail for the Internet waits" in said
    text = flow.see("it was taken down by hand")
    assert "Off line since" in flow.page.inner_text("#line")
    assert flow.page.locator("main button:text-is('Exchange now')").count() == 0
    assert flow.cmail.ask("link", "link.status")["is_down"] and "Put up" in text
    flow.send()
    assert "The link satellite is up." in flow.press("Put up")
    assert flow.press("Off line by hand") == "Off line: mail for the Internet waits, and does not get older."
    assert flow.press("On line") == "On line: everything that waits for the line starts now."
    assert not flow.cmail.ask("link", "link.status")["is_down"] and len(flow.sink.taken) == 1
    flow.press("Exchange now")
    wait_for(lambda: len(flow.sink.taken) == 2, "the message to arrive")
    wait_for(lambda: not flow.is_open(), "the exchange to be over")


def page_lives(flow: Flow) -> None:
    """With scripts: the countdown moves by the second, and mail that comes appears by itself."""
    flow.go()
    place = flow.page.locator("#exchange-title ~ p .countdown")
    first = place.inner_text()
    flow.page.wait_for_function(
        "first => document.querySelector('#exchange-title ~ p .countdown').textContent !== first", arg=first
    )
    second = place.inner_text()
    assert re.fullmatch(r"\d+ min( \d+ s)?|\d+ s", second) and seconds(second) < seconds(first)
    flow.send()
    flow.page.wait_for_selector("#link-plan:has-text('1 message waits')")


def seconds(words: str) -> int:
    """9 min 58 s as a number."""
    units = {"s": 1, "min": 60, "h": 3600}
    return sum(int(count) * units[unit] for count, unit in re.findall(r"(\d+) (s|min|h)", words))
