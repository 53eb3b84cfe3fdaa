"""Every page of the menu, in a real browser: nothing cut at 360 and 1600 px, WCAG AA in light and dark, no complaint
on the console, the keyboard reaches everything, nothing is fetched from elsewhere."""

from collections.abc import Iterator
from typing import Any

import pytest

from cmail.web.page import MENU
from tests.support.browser import NARROW, WIDE, chromium, log_in, window
from tests.support.office import PASSWORD, office

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(240)]
LOOKS: dict[str, Any] = {
    "wide and light": {"width": WIDE, "is_dark": False},
    "narrow and dark": {"width": NARROW, "is_dark": True},
    "wide and dark": {"width": WIDE, "is_dark": True},
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with office(tmp_path_factory.mktemp("office")) as (_, url):
        yield url


@pytest.fixture(scope="module")
def launched() -> Iterator[Any]:
    with chromium() as launched:
        yield launched


def paths(page: Any) -> list[str]:
    """The pages of the menu, and the first message of the queue."""
    found = [path for path, _ in MENU]
    message = page.query_selector("a[href^='/queue/']")
    return [*found, message.get_attribute("href")] if message else found


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_looks_right(url: str, launched: Any, look: str) -> None:
    """No sideways scrolling, no violation of WCAG A and AA that axe finds, no error on the console."""
    from axe_playwright_python.sync_playwright import Axe

    wrong = []
    with window(launched, bypass_csp=True, **LOOKS[look]) as page:
        log_in(page, url, PASSWORD)
        page.goto(f"{url}/queue")
        for path in paths(page):
            page.goto(url + path)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wrong.append(f"{path}: wider than the window")
            options = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
            for violation in Axe().run(page, options=options).response["violations"]:
                nodes = [node["html"][:120] for node in violation["nodes"][:3]]
                wrong.append(f"{path}: {violation['id']}: {violation['help']}: {nodes}")
        wrong += page.complaints
    assert wrong == []


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
        for path in ("/smtp", "/queue", "/save"):
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
