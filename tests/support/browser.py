"""A headless Chromium, with or without JavaScript, at any width, light or dark."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

SCRIPTS: Final = pytest.mark.parametrize(
    "has_scripts", [True, False], ids=["with scripts", "without scripts"]
)
PATIENCE_MS: Final = 90_000.0  # for what comes: a slow machine has other things to do as well
WIDE: Final = 1600
NARROW: Final = 360
_ARGUMENTS: Final = ["--disable-dev-shm-usage", "--force-color-profile=srgb"]


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's chromium, driven by Playwright; pages come from window()."""
    from playwright.sync_api import sync_playwright

    arguments = [*_ARGUMENTS, "--no-sandbox"] if os.geteuid() == 0 else _ARGUMENTS
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def window(
    launched: Any, *, has_scripts: bool = True, width: int = 1280, is_dark: bool = False, **more: Any
) -> Iterator[Any]:
    """A page in a context of its own; whatever it says on its console is in page.complaints."""
    context = launched.new_context(
        java_script_enabled=has_scripts,
        viewport={"width": width, "height": 900},
        color_scheme="dark" if is_dark else "light",
        **more,
    )
    page: Any = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.complaints = []
    page.on("console", lambda said: said.type == "error" and page.complaints.append(said.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    try:
        yield page
    finally:
        context.close()


@contextmanager
def browser(*, has_scripts: bool = True, width: int = 1280, is_dark: bool = False) -> Iterator[Any]:
    """One window in a browser of its own."""
    with (
        chromium() as launched,
        window(launched, has_scripts=has_scripts, width=width, is_dark=is_dark) as page,
    ):
        yield page


def log_in(page: Any, url: str, password: str) -> None:
    """Through the form, as a person does."""
    page.goto(f"{url}/login")
    page.fill("#password", password)
    page.press("#password", "Enter")
    page.wait_for_url(f"{url}/")
