"""Where settings and data folder are, found quickly and said clearly when they are not there."""

import os
from pathlib import Path

import pytest

from cmail.app import config
from cmail.cli.exits import Exit, Refusal
from cmail.cli.place import find_config, find_place, find_running

FILE = """
[host]
hostname = "Mail.Example.org"
domains = ["Example.org", "example.net"]
data_dir = "data"
[smtp.advanced]
max_message_size = "10MiB"
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CMAIL_CONFIG", raising=False)


def test_what_is_read(tmp_path: Path) -> None:
    """The same values as the whole check of the file gives."""
    path = tmp_path / "cmail.toml"
    path.write_text(FILE)
    place = find_place(str(path))
    settings = config.load_text(FILE, str(path), is_machine_checked=False)
    assert place.data_dir == settings.host.data_dir == str(tmp_path / "data")
    assert place.hostname == settings.host.hostname
    assert place.domains == settings.host.domains
    assert place.message_size_max == settings.smtp.advanced.max_message_size
    assert place.bare_name_domain == "example.org"


@pytest.mark.parametrize("size", ["1000", "64KiB", "1.5MiB", "2GiB", "10MiB"])
def test_sizes(tmp_path: Path, size: str) -> None:
    """Sizes mean the same to the quick reader and to the whole check."""
    text = f'[smtp.advanced]\nmax_message_size = "{size}"\n'
    path = tmp_path / "cmail.toml"
    path.write_text(text)
    try:
        expected = config.load_text(text, is_machine_checked=False).smtp.advanced.max_message_size
    except ValueError:
        return  # refused there: the server does not run with it
    assert find_place(str(path)).message_size_max == expected


def test_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, then $CMAIL_CONFIG, then ./var/cmail.toml."""
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "cmail.toml").write_text(FILE)
    assert find_config() == os.path.join("var", "cmail.toml")
    monkeypatch.setenv("CMAIL_CONFIG", "/from/environment")
    assert find_config() == "/from/environment"
    assert find_config("/named") == "/named"


def test_missing_is_said(tmp_path: Path) -> None:
    """Exit 78, and what to do."""
    with pytest.raises(Refusal, match="config init") as refused:
        find_place(str(tmp_path / "none.toml"))
    assert refused.value.code == Exit.CONFIG
    (tmp_path / "bad.toml").write_text("host = [")
    with pytest.raises(Refusal, match="not TOML"):
        find_place(str(tmp_path / "bad.toml"))


def test_a_data_folder_that_is_no_text_is_not_guessed(tmp_path: Path) -> None:
    """Exit 78: a message must not be left where no server of these settings ever looks."""
    (tmp_path / "cmail.toml").write_text("[host]\ndata_dir = 3\n")
    with pytest.raises(Refusal, match=r"host\.data_dir must be text") as refused:
        find_place(str(tmp_path / "cmail.toml"))
    assert refused.value.code == Exit.CONFIG


BROKEN = {
    "behind it": FILE + "[queue\n",
    "before it": "[queue\n" + FILE,
    "beside it": FILE.replace('"Mail', "Mail"),
    "spaces": FILE.replace("data_dir", "  data_dir ").replace("[host]", " [ host ]  # here") + "[queue\n",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_being_edited(tmp_path: Path, broken: str) -> None:
    """Where the server runs is found all the same, with what is wrong; where none runs, that is all there is to say.
    A data_dir of another table, or one that is being typed, is none."""
    path = tmp_path / "cmail.toml"
    path.write_text(broken)
    with pytest.raises(Refusal, match="not TOML"):
        find_running(str(path))
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "run" / "link.sock").touch()
    place, trouble = find_running(str(path))
    assert place.data_dir == str(tmp_path / "data") and "not TOML" in trouble
    for other in (broken.replace('"data"', '"data'), broken.replace("host", "hosts")):
        path.write_text(other)
        with pytest.raises(Refusal, match="not TOML"):
            find_running(str(path))
    path.write_text(FILE)
    assert find_running(str(path)) == (find_place(str(path)), "")
