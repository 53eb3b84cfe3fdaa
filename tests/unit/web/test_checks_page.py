"""The page of Checks: rows in words, checked in the background, begun again by a form; with and without scripts."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Final

import pytest
from starlette.testclient import TestClient

from cmail.admin.checks.board import Result
from cmail.admin.checks.finding import Finding, State
from cmail.web.application import application
from tests.support.fake_checks import World, fake_board
from tests.support.fake_web import OneSession, fake_context

STATES: Final = [
    (
        "mx:example.org",
        Finding(State.WRONG, "No MX.", "One.", "Enter <it>.", ('a "record"',), ("raw & said",)),
    ),
    ("spf:example.org", Finding(State.LOOK, "Odd.")),
    ("dmarc:example.org", Finding(State.GOOD, "There.")),
    ("reverse", Finding(State.UNKNOWN, "Off line: cannot be checked now.")),
]


class Page:
    """A browser before the application, with a board whose outside is a table."""

    def __init__(self, folder: Path) -> None:
        context, _ = fake_context(folder)
        self.world = World()
        self.board = fake_board(self.world, data_dir=str(folder))
        self.session = OneSession(application(replace(context, checks=self.board)))
        self.browser = TestClient(self.session, follow_redirects=False)

    def text(self, path: str = "/checks") -> str:
        """A page as it comes."""
        answer = self.browser.get(path)
        assert answer.status_code == 200
        return answer.text

    def settle(self) -> str:
        """The rows when nothing is checked any more."""
        for _ in range(500):
            text = self.text("/live/checks")
            if "Checking" not in text:
                return text
        raise AssertionError("it does not end")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    found = Page(tmp_path)
    with found.browser:  # one event loop for all requests: checks live on between them
        yield found


def row(text: str, name: str) -> str:
    """One row of the page."""
    found = re.search(rf'<article [^>]*id="check-{re.escape(name)}">.*?</article>', text, re.DOTALL)
    assert found, name
    return found[0]


def test_a_look_does_not_wait(page: Page) -> None:
    """The page is there at once, says that it is checking, and asks for itself again until all is known."""
    first = page.text()
    assert "Checking" in first and 'hx-get="/live/checks"' in first
    assert '<a href="/checks">Show what is known now</a>' in first, "without scripts"
    last = page.settle()
    assert "Checking" not in last and "hx-get" not in last
    assert '<span class="mark is-good">good</span>' in row(last, "mx:example.org")
    assert "not checked" in row(last, "port25") and "only done when you ask" in row(last, "port25")


def test_every_state_has_its_word_and_its_colour(page: Page) -> None:
    """What is, what should be, what to do, the record to copy, the raw reply; all of it escaped."""
    page.text()
    page.settle()
    page.board._results.update({name: Result(finding, 1_800_000_000_000) for name, finding in STATES})
    text = page.text()
    for name, finding in STATES:
        shown = row(text, name)
        assert f">{finding.state}</span>" in shown and finding.found in shown
        assert "Check again</button>" in shown and "<time" in shown
    wrong = row(text, "mx:example.org")
    assert 'class="check is-wrong"' in wrong and 'class="mark is-wrong"' in wrong
    assert '<pre class="record">a &#34;record&#34;</pre>' in wrong and "raw &amp; said" in wrong
    assert "Enter &lt;it&gt;." in wrong and "What should be: One." in wrong
    assert "1 wrong" in text and "1 look at it" in text


def test_check_again_of_one_row(page: Page) -> None:
    """A posted form checks this row and no other, and leads back to the page."""
    page.text()
    page.settle()
    page.world.dns.records["example.org", "MX"] = ["0 ."]
    page.world.dns.asked.clear()
    answer = page.browser.post("/checks/run", data={"name": "mx:example.org"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/checks")
    assert "takes no mail at all" in unescape(row(page.settle(), "mx:example.org"))
    assert {asked for asked in page.world.dns.asked if asked != "forget"} == {"MX example.org"}


def test_check_all_again_asks_what_bothers_others_too(page: Page) -> None:
    """The button asks for everything, port 25 included."""
    page.browser.post("/checks/run", data={"name": "all"})
    assert "Port 25 is open" in row(page.settle(), "port25")


def test_with_scripts_the_rows_come_back_at_once(page: Page) -> None:
    """htmx gets the rows instead of a redirect."""
    answer = page.browser.post("/checks/run", data={"name": "disk"}, headers={"hx-request": "true"})
    assert answer.status_code == 200 and "<html" not in answer.text
    assert "checking" in row(answer.text, "disk")
    page.settle()


def test_a_row_that_is_gone(page: Page) -> None:
    """A form of before, for a domain that is ours no more, is answered in words."""
    assert page.browser.post("/checks/run", data={"name": "mx:gone.example"}).status_code == 303
    assert "no such check" in page.text()
    page.settle()


def test_off_line(tmp_path: Path) -> None:
    """Rows that need the Internet say so neutrally; nothing is red, nobody is asked."""
    page = Page(tmp_path)
    page.world.is_down = True
    with page.browser:
        page.browser.post("/checks/run", data={"name": "all"})
        text = page.settle()
    assert text.count("Off line: cannot be checked now.") == 7
    assert 'class="mark is-wrong"' not in text and page.world.dns.asked == ["forget"]


def test_no_inline_script_or_style(page: Page) -> None:
    """What the policy would forbid is not there; [Copy] comes from a file."""
    text = page.text()
    assert "<script>" not in text and " style=" not in text and " onclick=" not in text
    assert "/static/checks.js?v=" in text and ">Copy<" not in text
    page.settle()
