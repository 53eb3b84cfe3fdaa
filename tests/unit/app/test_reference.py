"""The manual of the settings file."""

from pathlib import Path

from cmail.app.catalog import read_catalog
from cmail.app.reference import render_reference
from cmail.app.settings import Settings

MANUAL = Path(__file__).parents[3] / "docs" / "reference" / "config.md"


def test_manual_is_current() -> None:
    """docs/reference/config.md is what the program prints: python -m cmail.app.reference > it."""
    assert MANUAL.read_text() == render_reference()


def test_every_setting_has_a_sentence() -> None:
    """No key stands in the manual without saying what it is."""
    for table in read_catalog(Settings).walk():
        for setting in table.settings.values():
            assert setting.sentence.endswith("."), setting.key
