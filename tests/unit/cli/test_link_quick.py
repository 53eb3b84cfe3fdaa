"""The short way of `cmail link up|down|probe`: the same lines as the long way, and quick to be there."""

import subprocess
import sys
from pathlib import Path

import pytest

from cmail.cli.exits import Refusal
from cmail.cli.link_quick import Quick, parse_quick

LINES = {
    "link up": Quick("up"),
    "link down ppp0": Quick("down", "ppp0"),
    "link up ppp0 --hook --config /x": Quick("up", "ppp0", "/x", True),
    "link --config /x up": None,
    "link up --config /x ppp0": Quick("up", "ppp0", "/x"),
    "link probe": Quick("probe"),
    "link probe --hook": None,
    "link up ppp0 ppp1": None,
    "link up --config": None,
    "link up --config --hook": None,
    "link up --help": None,
    "link up -- ppp0": None,
    "link status": None,
    "link": None,
    "queue list": None,
    "": None,
}


@pytest.mark.parametrize("line", LINES)
def test_what_is_taken(line: str) -> None:
    """What is plain; everything else is for click, which knows what to say of it."""
    assert parse_quick(line.split()) == LINES[line]


def test_a_hook_that_knows_no_device() -> None:
    """Its variable is empty: nobody is told that all links are up, or down."""
    with pytest.raises(Refusal, match="needs the name of a network device") as refused:
        Quick("up", is_by_hook=True).say()
    assert refused.value.code == 64


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    """Mail waits for it at each link-up: neither click nor asyncio, nor what they bring along."""
    config = tmp_path / "cmail.toml"
    config.write_text(f'[host]\nhostname = "a.example"\ndata_dir = "{tmp_path}"\n')
    code = (
        "import sys; from cmail.cli.main import run; code = run(sys.argv[1:]);"
        "print(code, *({'click', 'asyncio', 'dataclasses', 'logging', 'ssl'} & set(sys.modules)))"
    )
    line = [sys.executable, "-c", code, "link", "up", "ppp0", "--hook", "--config", str(config)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout == "69\n" and "the server is not running" in done.stderr
