"""The browser, started once for all tests of a file."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import chromium


@pytest.fixture(scope="module")
def launched() -> Iterator[Any]:
    """Windows of it come from window()."""
    with chromium() as launched:
        yield launched
