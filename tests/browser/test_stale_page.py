"""A page that is left open says so when nobody answers it any more, or when its log-in is over."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import browser, log_in
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.office import PASSWORD, command

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(300)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[RunningCmail]:
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with RunningCmail(tmp_path, settings=settings) as house:
        command(house, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        yield house


def open_link(house: RunningCmail, page: Any) -> None:
    """The Link, looked at by somebody whose clock the test turns."""
    url = f"http://127.0.0.1:{house.port('admin')}"
    log_in(page, url, PASSWORD)
    page.clock.install()
    page.goto(f"{url}/link")
    for _ in range(20):  # it asks each three seconds; the next time when it has been answered
        with page.expect_response("**/live/**"):
            page.clock.run_for(3_000)
    wait_for(lambda: page.locator("#stale").count() == 0, "it is answered")


def test_what_is_not_refreshed_is_said_to_be_old(house: RunningCmail) -> None:
    """The page hangs for a while: "On line" does not stand there as if it were so; then it does again."""
    with browser() as page:
        open_link(house, page)
        admin = house.pid("admin")
        os.kill(admin, signal.SIGSTOP)
        try:
            page.clock.run_for(25_000)
            page.wait_for_selector("#stale:has-text('The server does not answer.')")
        finally:
            os.kill(admin, signal.SIGCONT)
        page.wait_for_selector("#stale", state="detached")


def test_who_is_logged_out_elsewhere_is_told(house: RunningCmail) -> None:
    """In another tab: what stands here is not refreshed, and the way in is offered."""
    with browser() as page:
        open_link(house, page)
        page.context.clear_cookies()
        page.clock.run_for(5_000)
        page.wait_for_selector("#stale:has-text('You are logged in no more.')")
        assert page.locator("#stale a").get_attribute("href") == "/login?next=%2Flink"
