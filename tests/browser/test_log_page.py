"""The log in a real browser before a running server: live with scripts, by links without them, a day to take away."""

import smtplib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.browser import NARROW, log_in, window
from tests.support.house import RunningCmail, wait_for
from tests.support.office import PASSWORD, office, send

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(400)]
SECRET: Final = "not for the log 4711"
WAIT_S: Final = 60.0
ROWS: Final = "#log-rows li"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningCmail, str]]:
    with office(tmp_path_factory.mktemp("office")) as found:
        yield found


def sentences(page: Any) -> list[str]:
    """What the rows say."""
    return list(page.locator(f"{ROWS} p").all_inner_texts())


def test_what_happens_is_seen_as_it_happens(running: tuple[RunningCmail, str], launched: Any) -> None:
    """With scripts: a message that is sent now stands on top without a reload, once; paused nothing comes, and
    going on brings what came meanwhile."""
    house, url = running
    with window(launched) as page:
        log_in(page, url, PASSWORD)
        page.goto(f"{url}/log")
        page.wait_for_selector("#log-live-words:text-is('Live')")
        assert not page.is_visible("#log-refresh")
        before = page.locator(ROWS).count()
        send(house, "bob@example.net", "Now")
        sent = "Mail from anna@example.org to bob@example.net was delivered to 127.0.0.1."
        wait_for(lambda: page.locator(ROWS).count() >= before + 2, "the new rows", WAIT_S)
        assert sentences(page)[0] == sent and "came in from" in sentences(page)[1]
        page.click("#log-pause")
        page.wait_for_selector("#log-live-words:text-is('Paused')")
        count = page.locator(ROWS).count()
        send(house, "anna@example.org", "While nobody looks")
        wait_for(
            lambda: "put into" in page.request.get(f"{url}/log?q=anna").text(), "the log to have it", WAIT_S
        )
        assert page.locator(ROWS).count() == count
        page.click("#log-pause")
        wait_for(lambda: page.locator(ROWS).count() >= count + 2, "what came meanwhile", WAIT_S)
        assert "was put into the mailbox of anna@example.org" in sentences(page)[0]
        ids = page.eval_on_selector_all(ROWS, "rows => rows.map(row => row.id)")
        assert len(ids) == len(set(ids))
        assert page.complaints == []


def test_so_many_rows_and_no_more(running: tuple[RunningCmail, str], launched: Any) -> None:
    """The live list is bounded: it forgets the oldest."""
    house, url = running
    with window(launched) as page:
        log_in(page, url, PASSWORD)
        page.goto(f"{url}/log")
        page.wait_for_selector("#log-live-words:text-is('Live')")
        page.evaluate(
            "list => { const row = list.firstElementChild; for (let n = 0; n < 600; n++)"
            " { const more = row.cloneNode(true); more.id = 'more-' + n; list.append(more); } }",
            page.query_selector("#log-rows"),
        )
        send(house, "bob@example.net", "One more")
        wait_for(lambda: page.locator(ROWS).count() <= 500, "rows to go", WAIT_S)
        assert page.locator(ROWS).count() == 500


@pytest.mark.parametrize("has_scripts", [True, False], ids=["with scripts", "without scripts"])
def test_search_and_filters(running: tuple[RunningCmail, str], launched: Any, has_scripts: bool) -> None:
    """A form finds a message by address and kind; its raw line is a click away; its queue id leads to all about it;
    Refresh shows what is new."""
    house, url = running
    with window(launched, has_scripts=has_scripts) as page:
        log_in(page, url, PASSWORD)
        page.goto(f"{url}/log")
        page.fill("#log-q", "grey@example.com")
        page.press("#log-q", "Enter")
        page.wait_for_selector("h2:text-is('What was found')")
        assert "greylisting" in sentences(page)[0]
        row = page.locator(ROWS).first
        assert not row.locator("pre").is_visible()
        row.locator("summary").click()
        assert "451 4.7.1 Greylisted, please try again in 300 seconds" in row.locator("pre").inner_text()
        row.locator("a").click()
        page.wait_for_url(f"{url}/log?q=*")
        found = sentences(page)
        assert "Mail from anna@example.org came in from" in found[-1] and "greylisting" in " ".join(found)
        page.goto(f"{url}/log")
        for box in page.locator("input[name=kind]").all():
            box.set_checked(box.get_attribute("value") == "server")
        page.click("button:text-is('Show')")
        assert any("Ready: version" in words for words in sentences(page))
        assert not any("Mail from" in words for words in sentences(page))
        if not has_scripts:
            page.goto(f"{url}/log")
            send(house, "bob@example.net", "By hand")
            for _ in range(200):
                page.click("#log-refresh")
                if "bob@example.net was delivered" in sentences(page)[0]:
                    break
            assert "bob@example.net was delivered" in sentences(page)[0]
        assert page.complaints == []


def test_a_day_to_take_away(running: tuple[RunningCmail, str], launched: Any, tmp_path: Path) -> None:
    """The download is the log of the day: every line that standard error has had since the rights were dropped;
    no password in it, and the files are for the server alone."""
    house, url = running
    with (
        smtplib.SMTP("127.0.0.1", house.port("submission"), timeout=60) as client,
        pytest.raises(smtplib.SMTPException),
    ):
        client.starttls()
        client.login("anna@example.org", SECRET)
    with window(launched, has_scripts=False, width=NARROW) as page:
        page.goto(f"{url}/login")
        page.fill("#password", SECRET)
        page.press("#password", "Enter")
        log_in(page, url, PASSWORD)
        page.goto(f"{url}/log")
        with page.expect_download() as download:
            page.click("a:text('Download')")
        path = tmp_path / "day.log"
        download.value.save_as(path)
    octets = path.read_bytes()
    assert b"SASL PLAIN authentication failed" in octets and b"page: a log-in from 127.0.0.1 failed" in octets
    assert SECRET.encode() not in octets and PASSWORD.encode() not in octets
    said, kept = house.log().splitlines(), octets.decode().splitlines()
    ready, last = (
        next(n for n, line in enumerate(said) if words in line) for words in ("ready:", "page: a log-in")
    )
    assert set(said[ready : last + 1]) <= set(kept) <= set(said)
    folder = house.data / "log"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
