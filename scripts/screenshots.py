#!/usr/bin/env python3
# `make screenshots`: a picture of every page, for docs/img.
"""Every page into docs/img, some of them on a phone and in the dark too, with some mail."""

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cmail.web.application import application  # noqa: E402
from cmail.web.page import MENU  # noqa: E402
from tests.support.browser import NARROW, WIDE, chromium, log_in, window  # noqa: E402
from tests.support.fake_link import tell_much  # noqa: E402
from tests.support.fake_web import OneSession, fake_context, served  # noqa: E402
from tests.support.office import PASSWORD, further_pages, office  # noqa: E402

LINK = "/link"

SOME = ("home", "smtp", "queue", "message", "log", "users")  # on a phone, and in the dark
LOOKS = {
    (WIDE, False): None,
    (NARROW, False): SOME,
    (WIDE, True): ("home", "engine"),
    (NARROW, True): ("home",),
}


def main() -> None:
    """Take them all."""
    folder = ROOT / "docs" / "img"
    folder.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as temporary,
        office(Path(temporary)) as (_, url),
        chromium() as launched,
    ):
        for (width, is_dark), wanted in LOOKS.items():
            with window(launched, width=width, is_dark=is_dark) as page:
                log_in(page, url, PASSWORD)
                named = [(path.strip("/") or "home", path) for path, _ in MENU] + further_pages(page, url)
                for name, path in named:
                    if path != LINK and (wanted is None or name in wanted):
                        take(page, url + path, folder / f"{name}-{width}{'-dark' if is_dark else ''}.png")
        take_link(launched, folder)


def take_link(launched: Any, folder: Path) -> None:
    """The Link, with a satellite, a plan and a past, which the office has not."""
    with tempfile.TemporaryDirectory() as temporary:
        context, processes = fake_context(Path(temporary))
        tell_much(processes)
        with served(OneSession(application(context))) as url, window(launched, width=WIDE) as page:
            take(page, url + LINK, folder / f"link-{WIDE}.png")


def take(page: Any, url: str, path: Path) -> None:
    """One picture of a whole page, when its scripts have drawn."""
    page.goto(url)
    page.wait_for_timeout(500)
    page.screenshot(path=path, full_page=True)
    print(path.relative_to(ROOT), flush=True)


if __name__ == "__main__":
    main()
