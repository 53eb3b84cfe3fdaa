"""A headless Chromium, with or without JavaScript, at any width, light or dark."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

WIDE: Final = 1600
NARROW: Final = 360


@contextmanager
def browser(*, has_scripts: bool = True, width: int = 1280, is_dark: bool = False) -> Iterator[Any]:
    """A page of Playwright's in Debian's chromium; whatever it says on its console is in page.complaints."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        context = chromium.new_context(
            java_script_enabled=has_scripts,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if is_dark else "light",
        )
        page: Any = context.new_page()
        page.complaints = []
        page.on("console", lambda said: said.type == "error" and page.complaints.append(said.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        try:
            yield page
        finally:
            context.close()
            chromium.close()
