"""The start screen: its line for a test message can be typed as it stands."""

import os
import shlex
import shutil
from pathlib import Path

import pytest

from cmail.app import config
from cmail.app.screen import start_screen

FILE = """
[host]
hostname = "mail.example.org"
domains = ["example.org"]
data_dir = "data"
"""
# name: (what stands where one is, what stands on PATH, how the program is called)
PLACES = {
    "in a checkout": (".venv/bin/cmail", "", ".venv/bin/cmail"),
    "installed on PATH": ("", "bin/cmail", "cmail"),
}


def typed(folder: Path) -> list[str]:
    """The words of the line that the screen tells to type."""
    path = str(folder / "cmail.toml")
    shown = start_screen(config.load_text(FILE, path, is_machine_checked=False), path, [], None)
    [line] = [line for line in shown.splitlines() if "send-test" in line]
    return shlex.split(line)


@pytest.mark.parametrize("name", PLACES)
def test_the_program_as_it_is_called_here(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way, where it works."""
    here, on_path, called = PLACES[name]
    for place in filter(None, (here, on_path)):
        program = tmp_path / place
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert typed(tmp_path) == [called, "send-test", "--config", "cmail.toml", "you@example.org"]


def test_from_elsewhere_the_whole_path_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither here nor on PATH: the program that runs, by its path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    program = typed(tmp_path)[0]
    assert os.path.isabs(program) and shutil.which(program) == program
