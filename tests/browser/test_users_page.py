"""Users and Aliases, Engine Monitor and the chart as a person uses them: what is done on the page, the server does."""

import re
import smtplib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import SCRIPTS, log_in, window
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.office import PASSWORD, command, send

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(400)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCmail]:
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with RunningCmail(tmp_path_factory.mktemp("house"), settings=settings) as house:
        command(house, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        yield house


class Person:
    """Who is logged in, and looks."""

    def __init__(self, house: RunningCmail, page: Any) -> None:
        self.page = page
        self.url = f"http://127.0.0.1:{house.port('admin')}"
        log_in(page, self.url, PASSWORD)

    def press(self, button: str) -> str:
        """A button, and what the next page says."""
        with self.page.expect_navigation():
            self.page.click(button)
        return " ".join(self.page.locator(".said, .error").all_inner_texts())


def may_log_in(house: RunningCmail, address: str, password: str) -> bool:
    """As a mail program does."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", house.port("submission"), timeout=60) as client:
        client.starttls(context=context)
        try:
            return client.login(address, password)[0] == 235
        except smtplib.SMTPAuthenticationError:
            return False


@SCRIPTS
def test_a_user_comes_and_goes(house: RunningCmail, launched: Any, has_scripts: bool) -> None:
    """Added with a password of ours, logged in with it, given another one, deleted: the server knows each time
    when the page comes back."""
    name = f"bert{has_scripts}@example.org".lower()
    with window(launched, has_scripts=has_scripts) as page:
        person = Person(house, page)
        page.goto(f"{person.url}/users")
        page.fill("#user-address", name.partition("@")[0])
        said = person.press("form[action='/users/add'] button")
        [password] = re.findall(r"The password is (\S+) ", said)
        assert may_log_in(house, name, password)
        page.click(f"text={name} >> nth=-1")
        page.fill("#password", "another password")
        person.press("text=Change the password")
        assert may_log_in(house, name, "another password") and not may_log_in(house, name, password)
        page.click("text=Delete this user")
        assert "stays" in page.inner_text("main")
        person.press(f"button:has-text('Delete {name}')")
        assert not may_log_in(house, name, "another password")
        assert page.complaints == []


@SCRIPTS
def test_an_alias_leads_there_at_once(house: RunningCmail, launched: Any, has_scripts: bool) -> None:
    """Mail to it goes where the page said; after it is deleted it is refused."""
    name = f"sales{has_scripts}".lower()
    before = len(house.mailbox("anna@example.org"))
    with window(launched, has_scripts=has_scripts) as page:
        person = Person(house, page)
        page.goto(f"{person.url}/users")
        page.fill("#alias-address", name)
        page.fill("#alias-targets", "anna")
        assert "leads to anna@example.org" in person.press("form[action='/users/alias'] button")
        send(house, f"{name}@example.org", "Offer")
        house.wait_for_mail("anna@example.org", before + 1)
        page.click(f"text={name}@example.org >> nth=-1")
        assert "is deleted" in person.press("text=Delete this alias")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(house, f"{name}@example.org", "Offer")


def test_the_engine_is_alive(house: RunningCmail, launched: Any) -> None:
    """With scripts the figures follow by themselves, and the chart is drawn; without, the table has them, and the
    button reads the settings anew."""
    with window(launched) as page:
        person = Person(house, page)
        page.goto(f"{person.url}/engine")
        [before] = map(int, re.findall(r"Accepted\s+(\d+) message", page.inner_text("main")))
        send(house, "anna@example.org", "For the monitor")
        follows = r"Accepted\s+(\d+) message"
        wait_for(lambda: int(re.findall(follows, page.inner_text("main"))[0]) > before, "the figure")
        wait_for(lambda: page.locator("#chart canvas").count(), "the chart")
        assert not page.locator("#chart-table tbody").is_visible() and page.complaints == []
    with window(launched, has_scripts=False) as page:
        person = Person(house, page)
        page.goto(f"{person.url}/engine")
        assert (
            page.locator("#chart-table tbody tr").count() == 24
            and page.locator("#chart-table tbody").is_visible()
        )
        number = house.status()["settings"]
        assert f"number {number + 1}" in person.press("text=Read settings anew")
        assert house.status()["settings"] == number + 1


def test_the_figures_outlive_a_restart(house: RunningCmail, launched: Any) -> None:
    """What was counted before the server was stopped is today's still."""
    send(house, "anna@example.org", "Before the restart")

    def today(page: Any, url: str) -> int:
        page.goto(f"{url}/engine")
        return int(page.locator(".counts .figure").first.inner_text())

    with window(launched, has_scripts=False) as page:
        person = Person(house, page)
        wait_for(lambda: today(page, person.url) > 0, "the first figures")
        before = today(page, person.url)
    house.stop()
    house.start()
    with window(launched, has_scripts=False) as page:
        person = Person(house, page)
        assert today(page, person.url) >= before
