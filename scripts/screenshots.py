#!/usr/bin/env python3
# `make screenshots`: a picture of every page, for docs/img.
"""`make screenshots`: every page into docs/img, wide and narrow, light and dark, with some mail."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cmail.web.page import MENU  # noqa: E402
from tests.support.browser import NARROW, WIDE, chromium, log_in, window  # noqa: E402
from tests.support.office import PASSWORD, office  # noqa: E402

LOOKS = ((WIDE, False), (NARROW, False), (WIDE, True))


def main() -> None:
    """Take them all."""
    folder = ROOT / "docs" / "img"
    folder.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as temporary,
        office(Path(temporary)) as (_, url),
        chromium() as launched,
    ):
        for width, is_dark in LOOKS:
            with window(launched, width=width, is_dark=is_dark) as page:
                log_in(page, url, PASSWORD)
                page.goto(f"{url}/queue")
                first = page.query_selector("a[href^='/queue/']")
                message = first.get_attribute("href") if first else None
                named = [(path.strip("/") or "home", path) for path, _ in MENU]
                for name, path in [*named, *([("message", message)] if message else [])]:
                    page.goto(url + path)
                    look = f"{width}{'-dark' if is_dark else ''}"
                    page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
                    print(f"docs/img/{name}-{look}.png", flush=True)


if __name__ == "__main__":
    main()
