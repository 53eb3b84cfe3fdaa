"""The first run of a person who is no mail expert: a link, a password, four questions, a message that went through."""

import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.browser import NARROW, WIDE, window
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

PASSWORD: Final = "a long password"
COMMENT: Final = "# a comment of the administrator's\n"

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(300)]


class Beginner:
    """A server that nobody has set up, the provider's server, a window."""

    def __init__(self, cmail: RunningCmail, sink: SinkMx, page: Any) -> None:
        self.cmail, self.sink, self.page = cmail, sink, page

    def come_in(self) -> None:
        """The link that the server prints, a password."""
        [key] = set(re.findall(r"/first\?key=([\w-]+)", self.cmail.screen() + self.cmail.log()))
        self.page.goto(f"http://127.0.0.1:{self.cmail.port('admin')}/first?key={key}")
        self.page.fill("#password", PASSWORD)
        self.page.fill("#again", PASSWORD)
        self.press("Go on")

    def press(self, words: str) -> None:
        """A button, and the page that follows."""
        with self.page.expect_navigation():
            self.page.click(f"button:visible:has-text('{words}') >> nth=-1")

    def title(self) -> str:
        return str(self.page.inner_text("h1"))

    def text(self) -> str:
        return str(self.page.inner_text("main"))

    def answer_all(self) -> None:
        """The four questions, up to the list of changes."""
        self.page.fill("#domain", "office.example")
        self.press("Next")
        self.page.fill("#host", "127.0.0.1")
        self.page.fill("#port", str(self.sink.port))
        self.page.check("input[name=tls][value=opportunistic]")
        self.page.fill("#username", "office")
        self.page.fill("#smtp_password", "isp secret")
        self.press("Next")
        self.page.fill("#user", "anna")
        self.press("Next")
        self.press("Next")


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def beginner(request: pytest.FixtureRequest, tmp_path: Path, launched: Any) -> Iterator[Beginner]:
    settings = COMMENT + SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with Peers() as peers:
        sink = peers.start(SinkMx(users={"office": "isp secret"}, extensions=("PIPELINING", "AUTH PLAIN")))
        cmail = RunningCmail(tmp_path, settings=settings, users=())
        if os.geteuid() == 0:  # the page may write the file
            entry = pwd.getpwnam("nobody")
            for path in (cmail.folder, cmail.config):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        with cmail, window(launched, has_scripts=request.param) as page:
            found = Beginner(cmail, sink, page)
            found.come_in()
            yield found
            assert [each for each in page.complaints if "422" not in each] == []  # that a form is wrong


def test_from_the_link_to_a_message_that_went_through(beginner: Beginner) -> None:
    """Four questions, the connection tried, the changes listed, saved with the comment kept; the first user's
    message is delivered, one to the outside is relayed, and both are in fact there."""
    page = beginner.page
    assert beginner.title() == "Your domain"
    beginner.answer_all()
    assert beginner.title() == "Try and save" and "office.example" in beginner.text()
    if page.locator("text=Try the connection to").count():
        page.goto(page.url + "?try=1")
    wait_for(lambda: "Logged in as office" in beginner.text(), "the trial of the connection")
    beginner.press("Save and send a message")
    assert beginner.title() == "A message goes through"
    wait_for(lambda: "It went through" in beginner.text(), "the message to anna")
    assert len(beginner.cmail.wait_for_mail("anna@office.example")) == 1
    [password] = re.findall(r"password of anna@office.example is ([a-z2-9-]{19})", beginner.text())
    page.fill("#address", "bob@else.example")
    beginner.press("Send")
    wait_for(lambda: beginner.text().count("It went through") == 2, "the message to bob")
    sink = beginner.sink
    wait_for(lambda: any("bob@else.example" in taken.recipients[0] for taken in sink.taken), "it there")
    beginner.press("Done")
    assert beginner.title() == "Home"
    text = beginner.cmail.config.read_text()
    assert text.startswith(COMMENT) and 'domains = ["office.example"]' in text and password not in text
    assert beginner.cmail.ask("worker-0", "status")["users"] == 1


def test_back_and_next_lose_nothing(beginner: Beginner) -> None:
    """Whoever goes back finds what was typed; what is wrong is said at its field."""
    page = beginner.page
    page.fill("#domain", "office")
    beginner.press("Next")
    assert "no dot" in beginner.text() and page.input_value("#domain") == "office"
    page.fill("#domain", "office.example")
    beginner.press("Next")
    page.fill("#host", "smtp.isp.example")
    beginner.press("Back")
    assert page.input_value("#domain") == "office.example"
    assert page.input_value("#hostname") == "mail.office.example"
    beginner.press("Next")
    assert page.input_value("#host") == "smtp.isp.example"
    page.select_option("#provider", label="Gmail")
    beginner.press("Fill in")
    assert page.input_value("#host") == "smtp.gmail.com" and "app password" in beginner.text()


@pytest.mark.parametrize("beginner", [True], indirect=True, ids=["with scripts"])
@pytest.mark.parametrize(
    ("width", "is_dark"), [(NARROW, True), (WIDE, False)], ids=["narrow and dark", "wide"]
)
def test_each_step_looks_right(beginner: Beginner, launched: Any, width: int, is_dark: bool) -> None:
    """No sideways scrolling and no violation of WCAG A and AA on any of the steps, also with errors shown."""
    from axe_playwright_python.sync_playwright import Axe

    wrong = []
    beginner.answer_all()
    beginner.press("Save and send a message")
    wait_for(lambda: "It went through" in beginner.text(), "the message to anna")
    cookies = beginner.page.context.cookies()
    with window(launched, width=width, is_dark=is_dark, bypass_csp=True) as page:
        page.context.add_cookies(cookies)
        for step in ("domain", "out", "people", "in", "check", "test", "wrong"):
            url = f"http://127.0.0.1:{beginner.cmail.port('admin')}/setup/{step.replace('wrong', 'out')}"
            page.goto(url)
            if step == "wrong":
                page.fill("#port", "x")
                with page.expect_navigation():
                    page.click("button:visible:has-text('Next') >> nth=-1")
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wrong.append(f"{step}: wider than the window")
            options = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
            for violation in Axe().run(page, options=options).response["violations"]:
                nodes = [node["html"][:160] for node in violation["nodes"][:3]]
                wrong.append(f"{step}: {violation['id']}: {violation['help']}: {nodes}")

    assert wrong == []
