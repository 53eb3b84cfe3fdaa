"""What else is looked after on the page: the quarantine, the checks, passwords and tokens; with scripts and without."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.test_users_page import Person
from tests.support.browser import SCRIPTS, window
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.office import PASSWORD, command, leave_broken

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(400)]


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCmail]:
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with RunningCmail(tmp_path_factory.mktemp("house"), settings=settings) as house:
        command(house, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        yield house


def look(person: Person) -> str:
    """The one message that is in quarantine."""
    person.page.goto(f"{person.url}/quarantine")
    with person.page.expect_navigation():
        person.page.click("text=Look at it")
    return str(person.page.inner_text("main"))


@SCRIPTS
def test_the_quarantine_is_emptied(house: RunningCmail, launched: Any, has_scripts: bool) -> None:
    """A message with two subjects is looked at, repaired and released, and arrives with one; another is released as
    it is; a third is deleted and arrives nowhere. Home says that something is there, then not any more."""
    with window(launched, has_scripts=has_scripts) as page:
        person = Person(house, page)
        leave_broken(house)
        assert "Subject: stands more than once" in look(person)
        assert "epaired" in person.press("main button:has-text('Repair it')")
        if not page.locator("main button:has-text('Release it')").count():
            look(person)
        person.press("main button:has-text('Release it')")
        [repaired] = house.wait_for_mail("anna@example.org")
        assert repaired.count(b"Subject: Scan 17") == 1

        again(house)
        wait_for(lambda: "1 message is in quarantine" in home(person), "Home to say so")
        look(person)
        person.press("main button:has-text('Release it')")
        assert house.wait_for_mail("anna@example.org", 2)[1].count(b"Subject: Scan 17") == 2

        again(house)
        look(person)
        page.locator("main details summary").last.click()
        person.press("main button:has-text('Delete it')")
        page.goto(f"{person.url}/quarantine")
        assert page.locator("text=Look at it").count() == 0
        wait_for(lambda: "message is in quarantine" not in home(person), "Home to say no more of it")
        assert len(house.mailbox("anna@example.org")) == 2 and page.complaints == []


def again(house: RunningCmail) -> None:
    """One more that nobody could read as it was meant."""
    count = house.log().count("is in quarantine")
    leave_broken(house)
    house.wait_for_log("is in quarantine", count + 1)


def home(person: Person) -> str:
    """What needs attention; it may be a moment old."""
    person.page.goto(f"{person.url}/")
    return str(person.page.locator("main section").first.inner_text())


@SCRIPTS
def test_a_check_is_made_again(house: RunningCmail, launched: Any, has_scripts: bool) -> None:
    """The disk, by its button: the row has what is and what should be; off line the rows that need the Internet say
    so, and none is red."""
    command(house, "link", "down")
    with window(launched, has_scripts=has_scripts) as page:
        person = Person(house, page)

        def words() -> str:
            if not has_scripts:
                page.goto(f"{person.url}/checks")
            return str(page.inner_text("main"))

        page.goto(f"{person.url}/checks")
        wait_for(lambda: "free of" in words(), "the disk to be checked")
        page.click("button[aria-label='Check again: disk']")
        wait_for(lambda: "free of" in words() and "What should be" in words(), "the disk to be checked again")
        wait_for(lambda: "off line" in words().lower() and "checking" not in words(), "the other rows")
        assert page.locator(".is-wrong").count() == 0 and page.complaints == []


@SCRIPTS
def test_a_token_opens_the_api_until_it_is_deleted(
    house: RunningCmail, launched: Any, has_scripts: bool
) -> None:
    """Made on the page, shown once, used by a program, deleted on the page."""
    with window(launched, has_scripts=has_scripts) as page:
        person = Person(house, page)
        page.goto(f"{person.url}/password")
        page.fill("main input[name=name]", "monitor")
        said = person.press("main button:has-text('Make a token')")
        found = re.search(r"not shown again: (\S+)", said)
        assert found
        assert status(person.url, found[1]) in (200, 403)
        page.goto(f"{person.url}/password")
        assert found[1] not in page.content()
        assert "works no more" in person.press("main button:has-text('Delete')")
        assert status(person.url, found[1]) == 401


def status(url: str, token: str) -> int:
    """What the API says to it."""
    asked = urllib.request.Request(f"{url}/api/v1/status", headers={"authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
