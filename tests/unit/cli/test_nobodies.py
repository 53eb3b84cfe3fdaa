"""Accounts that the settings name and that are not there: `cmail config check`, and what other commands know of it."""

from pathlib import Path

import pytest

from cmail.cli.main import run
from cmail.cli.nobodies import nobodies_of, warnings_of
from cmail.cli.place import find_place
from cmail.storage.account_book import AccountBook

SETTINGS = """\
[host]
hostname = "mail.example.org"
domains = ["Example.org"]
data_dir = "data"
[[site]]
name = "ship"
domains = ["ship.example"]
user = "ship@example.org"
"""


def test_config_check_says_it_until_it_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A note, no mistake: the account may come later. Before anybody has one, and when there are others."""
    config = tmp_path / "cmail.toml"
    config.write_text(SETTINGS)
    (tmp_path / "data").mkdir()

    def checked() -> str:
        assert run(["config", "check", "--config", str(config)]) == 0
        return capsys.readouterr().out

    assert "note: site ship: there is no account ship@example.org here" in checked()
    with AccountBook(str(tmp_path / "data"), domains=("example.org",), hostname="mail.example.org") as book:
        book.add_user("anna@example.org", "secret of anna")
        assert "note: site ship:" in checked()
        assert "(cmail user add ship@example.org)" in warnings_of(find_place(str(config)), "site")["ship"]
        assert warnings_of(find_place(str(config)), "collect") == {}
        book.add_user("ship@example.org", "secret of the ship")
    assert "site ship" not in checked()
    assert nobodies_of(find_place(str(config))) == []


def test_accounts_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """config check says that it could not look; other commands have better things to tell."""
    config = tmp_path / "cmail.toml"
    config.write_text(SETTINGS)
    (tmp_path / "data" / "accounts.sqlite3").mkdir(parents=True)
    assert run(["config", "check", "--config", str(config)]) == 0
    assert "note: whether the accounts" in capsys.readouterr().out
    assert nobodies_of(find_place(str(config))) == ()
