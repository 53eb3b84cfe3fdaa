"""A person, a browser, a server with mail that waits: why it waits, hold, release, return, delete, send, off line."""

import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.browser import chromium, window
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

PASSWORD: Final = "a long password"
GREY: Final = b"450 4.2.0 <bob@example.net>: Recipient address rejected: Greylisted\r\n"
DRAW: Final = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: anna@example.org\r\nX: <script>alert(1)</script>\r\n\r\n<b>bold</b>\r\n"

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(300)]


class Flow:
    """The server, the upstream server that puts everything off, the browser's window."""

    def __init__(self, cmail: RunningCmail, sink: SinkMx, peers: Peers, page: Any) -> None:
        self.cmail, self.sink, self.peers, self.page = cmail, sink, peers, page
        self.url = f"http://127.0.0.1:{cmail.port('admin')}"

    def come_in(self) -> None:
        """The first run: the link that the server prints, a password."""
        [key] = set(re.findall(r"/first\?key=([\w-]+)", self.cmail.screen() + self.cmail.log()))
        self.page.goto(f"{self.url}/first?key={key}")
        self.page.fill("#password", PASSWORD)
        self.page.fill("#again", PASSWORD)
        with self.page.expect_navigation():
            self.page.click("text=Go on")

    def send(self, *to: str) -> None:
        """Messages that wait, each tried once."""
        with smtplib.SMTP("127.0.0.1", self.cmail.port("smtp")) as client:
            for recipient in to:
                client.sendmail("anna@example.org", [recipient], DRAW)
        wait_for(lambda: set(to) <= self.tried(), f"a first attempt for {to}")

    def tried(self) -> set[str]:
        return {row["to"] for row in self.cmail.queue() if row["attempts"]}

    def states(self) -> dict[str, str]:
        return {row["to"]: row["state"] for row in self.cmail.queue()}

    def go(self, path: str) -> None:
        assert self.page.goto(self.url + path).status == 200

    def see(self, path: str, words: str) -> None:
        """Figures are a second old at most: look until it is there."""

        def is_there() -> bool:
            self.go(path)
            return words in self.text()

        wait_for(is_there, f"{words!r} on {path}")

    def tick(self, *to: str) -> None:
        for recipient in to:
            self.page.check(f"tr:has-text('{recipient}') input[name=pick]")

    def press(self, button: str) -> None:
        """A button that posts: wait for the page that follows."""
        with self.page.expect_navigation():
            self.page.click(f"main button:has-text('{button}')")

    def said(self) -> str:
        return " ".join(self.page.locator(".said").all_inner_texts())

    def text(self) -> str:
        return str(self.page.inner_text("main"))


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def flow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flow]:
    with Peers() as peers:
        sink = peers.start(SinkMx(script={"RCPT": GREY}))
        settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
        smtp = f'\n[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\ntls = "none"\n'
        with (
            RunningCmail(tmp_path, settings=settings, more=smtp) as cmail,
            chromium() as launched,
            window(launched, has_scripts=request.param) as page,
        ):
            found = Flow(cmail, sink, peers, page)
            found.come_in()
            yield found
            assert page.complaints == []


def test_a_queue_is_put_in_order(flow: Flow) -> None:
    """Mail waits: the page says why in plain words. One is held and released, one returned, one deleted, and
    the rest is sent; each of it is seen to have happened in the server."""
    flow.send("bob@example.net", "carl@example.com", "dora@example.net", "emil@example.net")

    flow.see("/", "4 recipients wait")
    assert "(greylisting)" in flow.text()
    flow.tick("bob@example.net")
    flow.press("Hold")
    assert "1 recipient is on hold" in flow.said()
    assert flow.states()["bob@example.net"] == "held"

    flow.go("/queue?state=held")
    assert "carl@example.com" not in flow.text()
    flow.tick("bob@example.net")
    flow.press("Release")
    assert "1 recipient is released" in flow.said()
    wait_for(lambda: flow.states()["bob@example.net"] == "queued", "it to be released")

    flow.go("/queue?to=dora")
    flow.tick("dora@example.net")
    flow.press("Return to sender")
    assert "Return 1 recipient to the sender?" in flow.text()
    flow.page.fill("#because", "She has left.")
    flow.press("Return to sender: 1 recipient")
    assert "1 recipient is returned" in flow.said()
    [report] = flow.cmail.wait_for_mail("anna@example.org")
    assert b"She has left." in report

    flow.go("/queue?domain=example.com")
    flow.page.check("#all")
    flow.press("Delete")
    assert "Delete 1 recipient?" in flow.text() and "example.com" in flow.text()
    flow.press("Delete: 1 recipient")
    assert "1 recipient is deleted." in flow.said()
    wait_for(lambda: set(flow.states()) == {"bob@example.net", "emil@example.net"}, "the report to be gone")

    flow.peers.heal(flow.sink)
    flow.go("/queue")
    flow.page.check("#all")
    flow.press("Send now")
    assert "2 recipients are tried now." in flow.said()
    wait_for(lambda: len(flow.sink.taken) == 2, "both to arrive")
    wait_for(lambda: not flow.cmail.queue(), "the queue to be empty")
    flow.go("/queue")
    assert "The queue is empty" in flow.text()


def test_a_message_is_looked_at(flow: Flow) -> None:
    """From the list to the message: why, the raw reply, its header and its content, which do nothing, its
    attempts from the log; then it is held there."""
    flow.send("bob@example.net")
    flow.go("/queue")
    flow.page.click("a:has-text('bob@example.net')")
    assert flow.page.inner_text("h1") == "Grüße"
    assert "(greylisting)" in flow.text()
    assert "450 4.2.0" not in flow.text(), "the raw reply is one click away"
    flow.page.click("summary:has-text('The raw words')")
    assert "450 4.2.0" in flow.text()
    assert "<script>alert(1)</script>" in flow.text()
    flow.press("Hold")
    assert flow.states() == {"bob@example.net": "held"} and "1 recipient is on hold" in flow.said()
    link = flow.page.locator("text=Each attempt, from the log")
    if link.count():  # without scripts
        link.click()
    flow.page.wait_for_selector("ol.log li")
    assert "bob@example.net" in flow.text()
    flow.go(f"/queue/{flow.cmail.queue()[0]['id']}/content")
    assert "<b>bold</b>" in flow.text()


def test_off_line_by_hand(flow: Flow) -> None:
    """Off line, and everybody sees it on every page; on line again."""
    flow.go("/")
    flow.press("Off line by hand")
    assert "Off line: mail for the Internet waits" in flow.said()
    flow.go("/queue")
    assert "Off line since" in flow.page.inner_text("#line")
    assert flow.cmail.ask("link", "link.status")["is_down"]
    flow.go("/")
    flow.press("On line")
    assert "On line since" in flow.page.inner_text("#line")
    assert not flow.cmail.ask("link", "link.status")["is_down"]


@pytest.mark.parametrize("flow", [True], indirect=True, ids=["with scripts"])
def test_a_list_lives_and_keeps_what_is_ticked(flow: Flow) -> None:
    """With scripts: what comes in appears by itself, unless something is ticked, which is not taken away; one
    box ticks all of them."""
    flow.send("bob@example.net")
    flow.go("/queue")
    flow.send("carl@example.net")
    flow.page.wait_for_selector("tr:has-text('carl@example.net')")
    flow.tick("carl@example.net")
    flow.page.click("h1")
    flow.send("dora@example.net")
    assert not _is_refreshed(flow), "nothing is fetched for a list in which something is ticked"
    assert flow.page.is_checked("tr:has-text('carl@example.net') input[name=pick]")
    assert flow.page.locator("tr:has-text('dora@example.net')").count() == 0
    flow.page.check("#pick-page")
    assert flow.page.locator("input[name=pick]:checked").count() == 2
    flow.page.uncheck("#pick-page")
    flow.page.focus("tr:has-text('carl@example.net') a")
    assert not _is_refreshed(flow), "nor for one that somebody goes through by keyboard"
    flow.page.click("h1")
    flow.page.wait_for_selector("tr:has-text('dora@example.net')")


def _is_refreshed(flow: Flow) -> bool:
    """Whether the list asks for its rows while the status line, which asks as often, does so twice."""
    asked: list[str] = []

    def note(request: Any) -> None:
        asked.append(request.url)

    def has_looked() -> bool:
        flow.page.wait_for_timeout(100)
        return sum("/live/line" in url for url in asked) >= 2

    flow.page.on("request", note)
    wait_for(has_looked, "the page to look twice")
    flow.page.remove_listener("request", note)
    return any("/live/queue" in url for url in asked)
