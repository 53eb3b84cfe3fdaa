"""Save Settings as a person does it: the bar, old and new, a hand edit meanwhile, one-click return; figures of today;
with and without scripts."""

import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_smtp_flow import own
from tests.support.browser import chromium, log_in, window
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.office import PASSWORD, command

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(400)]
COMMENT = "# our own words, which stay\n"


class Flow:
    """The server and the browser's window."""

    def __init__(self, cmail: RunningCmail, page: Any) -> None:
        self.cmail, self.page = cmail, page
        self.url = f"http://127.0.0.1:{cmail.port('admin')}"

    def go(self, path: str) -> str:
        assert self.page.goto(self.url + path).status == 200
        return self.text()

    def press(self, words: str) -> str:
        """A button that posts; the page that follows."""
        with self.page.expect_navigation():
            self.page.locator(f"main button:not(.unseen):has-text('{words}'):visible").first.click()
        return self.text()

    def set(self, path: str, key: str, value: str) -> str:
        self.go(path)
        self.page.fill(f'[id="{key}"]', value)
        return self.press("OK")

    def text(self) -> str:
        return str(self.page.inner_text("main"))

    def file(self) -> str:
        return self.cmail.config.read_text()

    def edit(self, old: str, new: str) -> None:
        """By hand, in an editor."""
        assert old in self.file()
        self.cmail.config.write_text(self.file().replace(old, new))

    def size(self) -> int:
        """What the running server takes."""
        with smtplib.SMTP("127.0.0.1", self.cmail.port("smtp"), timeout=60) as client:
            client.ehlo()
            return int(client.esmtp_features["size"])


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def flow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flow]:
    settings = COMMENT + SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    more = (
        '\n[smtp]\nhost = "old.example.net"  # our provider\n\n[smtp.advanced]\nmax_message_size = "9MiB"\n'
    )
    with (
        RunningCmail(tmp_path, settings=settings, more=more) as cmail,
        chromium() as launched,
        window(launched, has_scripts=request.param) as page,
    ):
        own(cmail)
        command(cmail, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        found = Flow(cmail, page)
        log_in(page, found.url, PASSWORD)
        yield found


def test_ok_then_save_then_return(flow: Flow) -> None:
    """OK changes nothing that runs; every page says how many changes wait, the badge in the menu too; Save Settings
    lists old and new; the file keeps comments and order; one click on the version of before brings all of it back."""
    before = flow.file()
    flow.set("/advanced", "smtp.advanced.max_message_size", "1MiB")
    flow.set("/smtp", "smtp.host", "new.example.net")
    assert flow.file() == before and flow.size() == 9 * 2**20
    assert "2 changes are not saved." in flow.go("/log")
    assert flow.page.inner_text("nav .badge") == "2"
    page = flow.go("/save")
    for words in ("old.example.net", "new.example.net", "9MiB", "1MiB", "SMTP Host", "Max incoming size"):
        assert words in page, words
    assert "Saved." in flow.press("Save Settings")
    expected = before.replace('"old.example.net"', '"new.example.net"').replace('"9MiB"', '"1MiB"')
    assert flow.file() == expected, "comments, order and all else are as they were"
    assert flow.size() == 2**20 and flow.page.locator(".unsaved").count() == 0
    assert "Saved." in flow.press("Return to this")
    assert flow.file() == before and flow.size() == 9 * 2**20
    assert len(flow.page.locator("section[aria-labelledby=versions-title] tbody tr").all()) == 3


def test_all_that_is_wrong_is_said_and_nothing_is_written(flow: Flow) -> None:
    """Each at its field, what was typed kept; Discard ends the draft."""
    before = flow.file()
    flow.go("/advanced")
    flow.page.fill('[id="smtp.advanced.timeout"]', "soon")
    flow.page.fill('[id="queue.lifetime"]', "for ever")
    page = flow.press("OK")
    assert flow.page.locator(".field.wrong").count() == 2
    assert flow.page.input_value('[id="queue.lifetime"]') == "for ever" and "such as" in page
    assert flow.file() == before
    flow.set("/smtp", "smtp.host", "new.example.net")
    flow.go("/save")
    assert "The changes are gone" in flow.press("Discard the changes")
    assert flow.file() == before and flow.page.locator(".unsaved").count() == 0


def test_a_hand_edit_meanwhile_is_merged_or_asked_about(flow: Flow) -> None:
    """Another key and a comment that somebody wrote into the file stay; for the same key the page asks, and until it
    has an answer nothing is written. Either answer holds."""
    flow.set("/smtp", "smtp.host", "ours.example.net")
    flow.edit('"9MiB"', '"8MiB"  # by hand')
    flow.go("/save")
    assert "Saved." in flow.press("Save Settings")
    assert '"ours.example.net"  # our provider' in flow.file() and '"8MiB"  # by hand' in flow.file()
    assert flow.size() == 8 * 2**20, "what was written by hand holds too"

    for answer, kept in (("theirs", "theirs.example.net"), ("ours", "again.example.net")):
        now = re.search(r'host = ("[^"]+\.example\.net")  # our', flow.file())
        assert now
        flow.set("/smtp", "smtp.host", "again.example.net")
        flow.edit(now[1], '"theirs.example.net"' if answer == "theirs" else '"third.example.net"')
        edited = flow.file()
        page = flow.go("/save")
        assert "Edited by hand meanwhile" in page and "Which shall hold?" in page
        flow.press("Save Settings")
        assert flow.file() == edited, "nobody has said yet what shall hold"
        flow.page.check(f'input[name="keep-smtp.host"][value="{answer}"]')
        flow.press("Save Settings")
        assert f'host = "{kept}"' in flow.file(), answer
        assert flow.page.locator(".unsaved").count() == 0


def first_figure(flow: Flow) -> str:
    """What came in today."""
    return str(flow.page.locator("#today li").first.inner_text()).split()[0]


def test_today_is_now(flow: Flow) -> None:
    """Mail that has just come in is counted on the page that is opened then; with scripts on one that is open."""
    flow.go("/")
    for number in (1, 2):
        with smtplib.SMTP("127.0.0.1", flow.cmail.port("smtp"), timeout=60) as client:
            client.sendmail(
                "b@example.net", ["anna@example.org"], "From: b@example.net\r\nSubject: x\r\n\r\nx\r\n"
            )
        flow.cmail.wait_for_mail("anna@example.org", number)
        if number == 1:
            wait_for(lambda: flow.go("/") and first_figure(flow) == "1", "the first message to be counted")
    counted = flow.page.locator("#today .figure").first
    if flow.page.evaluate("typeof htmx !== 'undefined'"):
        wait_for(lambda: counted.inner_text() == "2", "the second message to be counted")
        wait_for(lambda: flow.page.locator("#events li").count() >= 4, "what happened to it")
    else:
        assert counted.inner_text() == "1"
