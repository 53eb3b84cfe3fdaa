"""Every page, of the menu and beside it, in a real browser: nothing cut at 360 and 1600 px, WCAG AA in light and
dark, no complaint on the console, the keyboard reaches everything, nothing is fetched from elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmail.web.page import MENU
from tests.support.browser import NARROW, WIDE, log_in, window
from tests.support.house import SETTINGS, RunningCmail
from tests.support.office import PASSWORD, command, further_pages, office

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(400)]
LOOKS: dict[str, Any] = {
    "wide and light": {"width": WIDE, "is_dark": False},
    "narrow and light": {"width": NARROW, "is_dark": False},
    "narrow and dark": {"width": NARROW, "is_dark": True},
    "wide and dark": {"width": WIDE, "is_dark": True},
}

# What has more in it than it shows, though nothing can be scrolled there; what is meant for ears is left out.
CUT_OFF = """[...document.querySelectorAll('body *')].filter(e => {
  const style = getComputedStyle(e);
  return e.checkVisibility() && e.clientWidth > 1 && !e.matches('.unseen, .unseen *') &&
    (['hidden', 'clip'].includes(style.overflowX) || style.textOverflow === 'ellipsis') &&
    e.scrollWidth > e.clientWidth + 1;
}).map(e => e.outerHTML.slice(0, 120))"""


# What comes and goes: one of each.
ROWS = {
    "/links": {"link.via.name": "satellite", "link.via.device": "ppp0\nwwan*", "link.via.rate": "256"},
    "/kicks": {"link.kick.host": "mx.isp.example", "link.kick.text": "example.org"},
    "/collect": {"collect.name": "anna", "collect.host": "imap.isp.example", "collect.username": "anna"}
    | {"collect.to": "anna@example.org", "password": "secret"},
    "/sites": {"site.name": "ship", "site.domains": "ship.example", "site.user": "ship@example.org"},
}


def add_row(page: Any, address: str, values: dict[str, str]) -> None:
    """The form of a new row, filled in."""
    page.goto(address)
    for name, value in values.items():
        page.fill(f'[name="{name}"]', value)
    with page.expect_navigation():
        page.locator("main button:not(.unseen):has-text('OK')").first.click()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with office(tmp_path_factory.mktemp("office")) as (_, url):
        yield url


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_looks_right(url: str, launched: Any, look: str) -> None:
    """No sideways scrolling, no violation of WCAG A and AA that axe finds, no error on the console."""
    wrong = []
    with window(launched, bypass_csp=True, **LOOKS[look]) as page:
        for path in ("/login", "/first?key=used-up"):
            page.goto(url + path)
            wrong += judge(page, path)
        log_in(page, url, PASSWORD)
        further = [path for _, path in further_pages(page, url)]
        for path in [*(path for path, _ in MENU), *further]:
            assert page.goto(url + path).status == 200, path
            wrong += judge(page, path)
        page.goto(f"{url}/queue")
        page.check("input[name=pick]")
        with page.expect_navigation():
            page.click("main button:has-text('Return to sender')")
        wrong += judge(page, "the confirmation")
        page.goto(f"{url}/advanced")
        page.fill('[id="smtp.advanced.timeout"]', "soon")
        with page.expect_navigation():
            page.locator("main button:not(.unseen):has-text('OK')").first.click()
        wrong += judge(page, "a wrong value")
        page.goto(f"{url}/advanced")
        page.fill('[id="smtp.advanced.timeout"]', "45s")
        with page.expect_navigation():
            page.locator("main button:not(.unseen):has-text('OK')").first.click()
        add_row(page, f"{url}/collect/add", {})
        wrong += judge(page, "a row with what is wrong")
        for path, values in ROWS.items():
            add_row(page, f"{url}{path}/add", values)
        for path in ("/advanced", *ROWS, "/collect/1", "/save"):
            page.goto(url + path)
            wrong += judge(page, f"{path} with a change that is not saved")
        with page.expect_navigation():
            page.click("main button:has-text('Discard')")
        expected = (
            "Failed to load resource: the server responded with a status of 4"  # 403 and 422, asked for above
        )
        wrong += [words for words in page.complaints if not words.startswith(expected)]
    assert wrong == []


def test_the_first_page_of_all_looks_right(launched: Any, tmp_path: Path) -> None:
    """The link of the first run, in each look: where a password is chosen."""
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with RunningCmail(tmp_path, settings=settings) as house:
        link = command(house, "page", "link").strip()
        wrong = []
        for look in LOOKS.values():
            with window(launched, bypass_csp=True, **look) as page:
                assert page.goto(link).status == 200
                wrong += [*judge(page, str(look)), *page.complaints]
    assert wrong == []


def judge(page: Any, name: str) -> list[str]:
    """What is wrong with how the page looks."""
    from axe_playwright_python.sync_playwright import Axe

    wrong = []
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        wrong.append(f"{name}: wider than the window")
    wrong += [f"{name}: cut off: {html}" for html in page.evaluate(CUT_OFF)]
    options = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
    for violation in Axe().run(page, options=options).response["violations"]:
        nodes = [node["html"][:120] for node in violation["nodes"][:3]]
        wrong.append(f"{name}: {violation['id']}: {violation['help']}: {nodes}")
    return wrong


@pytest.mark.parametrize("has_scripts", [True, False], ids=["with scripts", "without scripts"])
def test_every_page_by_itself(url: str, launched: Any, has_scripts: bool) -> None:
    """Nothing is fetched from elsewhere, the policy forbids nothing that a page has, each page has one heading and
    its place in the menu."""
    with window(launched, has_scripts=has_scripts) as page:
        fetched: list[str] = []
        page.on("request", lambda request: fetched.append(request.url))
        log_in(page, url, PASSWORD)
        for path, words in MENU:
            assert page.goto(url + path).status == 200, path
            assert page.locator("h1").count() == 1, path
            assert page.locator("nav a[aria-current]").inner_text().startswith(words.split(" ")[0]), path
        assert [each for each in fetched if not each.startswith(url)] == []
        assert page.complaints == []


def test_the_keyboard_reaches_everything(url: str, launched: Any) -> None:
    """Tab goes through every link and control in order, beginning with the way past the menu; each shows that it
    is there."""
    with window(launched, width=1280) as page:
        log_in(page, url, PASSWORD)
        for path in (
            "/",
            "/smtp",
            "/queue",
            "/users",
            "/log",
            "/quarantine",
            "/save",
            "/password",
            "/collect",
            "/collect/add",
        ):
            page.goto(url + path)
            count = page.locator("a[href], button, input:not([type=hidden]), select, textarea").count()
            seen = set()
            for _ in range(count + 5):
                page.keyboard.press("Tab")
                seen.add(page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
                if len(seen) == 1:
                    assert "skip" in next(iter(seen))
            visible = page.evaluate(
                "[...document.querySelectorAll('a[href], button, select, textarea')]"
                ".filter(e => e.checkVisibility() && !e.disabled && e.tabIndex >= 0)"
                ".map(e => e.outerHTML.slice(0, 200))"
            )
            assert set(visible) <= seen, (path, set(visible) - seen)
