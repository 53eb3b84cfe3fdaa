"""The manual of the settings file and what `cmail config show` prints."""

import tomllib
from pathlib import Path

from cmail.app import config
from cmail.app.catalog import read_catalog
from cmail.app.reference import as_data, print_settings, render_reference
from cmail.app.settings import Settings
from cmail.app.starter import starter_text

MANUAL = Path(__file__).parents[3] / "docs" / "reference" / "config.md"


def test_manual_is_current() -> None:
    """docs/reference/config.md is what the program prints: python -m cmail.app.reference > it."""
    assert MANUAL.read_text() == render_reference()


def test_every_setting_has_a_sentence() -> None:
    """No key stands in the manual without saying what it is."""
    for table in read_catalog(Settings).walk():
        for setting in table.settings.values():
            assert setting.sentence.endswith("."), setting.key


def test_what_is_printed_can_be_read_again() -> None:
    """The printed settings mean the same as the file that they came from."""
    text = starter_text("data") + '\n[queue]\nretry = ["90s", "1h"]\n[local]\nseparator = "\\\\"\n'
    settings = config.load_text(text, is_machine_checked=False)
    printed = print_settings(settings)
    assert config.load_text(printed, is_machine_checked=False) == settings
    assert as_data(settings)["queue"]["retry"] == [90, 3600]
    assert tomllib.loads(printed)["smtp"]["advanced"]["max_message_size"] == "50MiB"
