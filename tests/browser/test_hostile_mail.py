"""Mail, peers and names that would like to be a page: shown everywhere, they do nothing and break nothing."""

import smtplib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.support.browser import NARROW, chromium, log_in, window
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.office import PASSWORD, command
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(400)]

EVIL: Final = (
    "<b class=evil>x</b><script class=evil>window.evil=1</script><img class=evil src=x onerror=alert(1)>"
)
LONG: Final = "w" * 900
RTL: Final = "\u202egnp.exe\u2066\u200f"
FIELDS: Final = f"X-Evil: {EVIL}\r\nX-Long: {LONG}\r\nX-Rtl: {RTL}\r\nX-Bell: \x07\x1b[31m\x9b\r\n"
BODY: Final = f"{EVIL}\r\n</pre></main>{EVIL}\r\n{LONG}\r\n{RTL}\r\n\x07\x1b]0;title\x07\r\n"
SENDER: Final = '"<b class=evil>"@example.net'
REPLY: Final = f"451 4.7.1 {EVIL[:300]} {'r' * 150}".encode() + b"\r\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCmail]:
    """A hostile message waits, another is in quarantine, a hostile client was refused."""
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with Peers() as peers:
        sink = peers.start(SinkMx({"RCPT": REPLY}))
        smtp = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\ntls = "none"\n'
        with RunningCmail(tmp_path_factory.mktemp("hostile"), settings=settings, more=smtp) as house:
            command(house, "page", "password", "--stdin", stdin=PASSWORD + "\n")
            attack(house)
            yield house


def attack(house: RunningCmail) -> None:
    subject = f"Subject: {EVIL} {RTL} {LONG}\r\n"
    head = f"From: {SENDER}\r\n{subject}{FIELDS}\r\n"
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        client.ehlo("evil.example")
        client.mail(SENDER)
        client.rcpt('"<img/src=x/onerror=alert(1)/class=evil>"@example.com')
        code, words = client.data((head + BODY).encode("utf-8"))
        assert code == 250, words
        client.mail("<script>@example.net")
        client.rcpt("<script class=evil>nobody@example.org")
        client.rset()
        client.mail(SENDER)
        assert client.rcpt(f'"{"n" * 60}<b class=evil>"@example.org')[0] >= 500
    broken = f"From: {SENDER}\nSubject: {EVIL}\nSubject: {RTL} {LONG}\n{FIELDS}\n{BODY}".replace("\r\n", "\n")
    code_of = "import sys; from cmail.cli.sendmail import main; sys.argv[0] = 'sendmail'; main()"
    arguments = ["-C", str(house.config), "-f", "a@example.org", "anna@example.org"]
    subprocess.run([sys.executable, "-c", code_of, *arguments], input=broken.encode(), timeout=60, check=True)
    wait_for(lambda: "is in quarantine" in house.log(), "the message in quarantine")
    wait_for(lambda: any(row["reason"] for row in house.queue()), "the hostile reply")


@pytest.mark.parametrize("has_scripts", [True, False], ids=["with scripts", "without scripts"])
def test_it_is_text_wherever_it_is_shown(house: RunningCmail, has_scripts: bool) -> None:
    """Lists, the message, its content and log, the confirmation, the log, the quarantine: no element comes out of it,
    no mark turns the direction of what stands beside it, no control character is in the page, nothing is wider
    than a phone. That it is shown at all is looked at too."""
    queue_id = house.queue()[0]["id"]
    with chromium() as launched, window(launched, has_scripts=has_scripts, width=NARROW) as page:
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        url = f"http://127.0.0.1:{house.port('admin')}"
        log_in(page, url, PASSWORD)
        paths = [
            "/", "/queue", f"/queue/{queue_id}", f"/queue/{queue_id}/content", f"/queue/{queue_id}/log", "/log",
            f"/log?q={queue_id}", f"/log?q={quote(EVIL[:150])}", "/quarantine", "/users", f"/users?q={quote(EVIL)}",
            f"/queue?to={quote(EVIL[:100])}",
        ]  # fmt: skip
        wrong = [words for path in paths for words in look(page, url, path)]
        page.goto(f"{url}/queue")
        page.check("input[name=pick]")
        with page.expect_navigation():
            page.click("main button:has-text('Delete')")
        wrong += judge(page, "the confirmation")
        page.goto(f"{url}/quarantine")
        page.locator("main a[href^='/quarantine/']").first.click()
        page.wait_for_url("**/quarantine/*")
        wrong += judge(page, "one in quarantine")
        assert "<b class=evil>" in page.inner_text("main"), "shown as letters"
        assert wrong == [] and page.complaints == []


def look(page: Any, url: str, path: str) -> list[str]:
    assert page.goto(url + path).status == 200, path
    return judge(page, path)


def judge(page: Any, name: str) -> list[str]:
    """What is wrong with the page that is shown."""
    text = page.content()
    wrong = [
        f"{name}: has {mark!a}"
        for mark in ("\u202e", "\u2066", "\u200f", "\x07", "\x1b", "\x9b")
        if mark in text
    ]
    if page.evaluate("document.querySelectorAll('.evil, main script:not([src])').length || window.evil"):
        wrong.append(f"{name}: an element came out of it")
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        wrong.append(f"{name}: wider than the window")
    return wrong
