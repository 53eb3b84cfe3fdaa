"""scripts/install: what it does on a bare machine, when it does nothing, and what it says when it cannot.

Python and pip are played by a small script, so that nothing is fetched; `make install` on a real bare
machine is tried by who releases.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A Debian without ensurepip: its pip (which can work from outside) is all that there is.
PYTHON = r"""#!/bin/sh
case "$0" in */.venv/bin/python) inside=yes ;; esac
case "$1 $2" in
    "-c "*) exit ${PYTHON_IS_OLD:-0} ;;
    "-m venv")
        case "$*" in *--without-pip*) ;; *) exit 1 ;; esac
        mkdir -p .venv/bin; touch .venv/pyvenv.cfg; cp "$0" .venv/bin/python; echo venv >>log ;;
    "-m pip")
        [ -z "$inside" ] && [ "$3" = --python ] || exit 1
        [ "$5" = --version ] && exit 0
        echo "pip $5 $8" >>log
        [ -z "$PIP_FAILS" ] || { echo "no such package"; exit 1; }
        echo "#!$PWD/.venv/bin/python" >.venv/bin/cmail; chmod +x .venv/bin/cmail ;;
    *) exit 1 ;;
esac
"""


class Checkout:
    """A folder with what the installation reads, and a Python that only notes what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir(parents=True)
        for name in ("scripts/install", "scripts/find-python", "pyproject.toml", "setup.py"):
            shutil.copy(ROOT / name, folder / name)
        self.python = folder / "python"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)

    def install(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs the script; the environment is the ordinary one and what is given."""
        return subprocess.run(
            [self.folder / "scripts/install", *arguments],
            env={**os.environ, "PYTHON": str(self.python), **environment},
            capture_output=True,
            text=True,
        )

    def done(self) -> list[str]:
        """What Python and pip were told, in order."""
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A folder in which nothing is installed yet."""
    return Checkout(tmp_path / "cmail")


def test_first_and_second_time(checkout: Checkout) -> None:
    """Without ensurepip the system's pip installs into the environment; the second time nothing is done."""
    assert checkout.install().returncode == 0
    assert checkout.done() == ["venv", "pip install ."]
    again = checkout.install()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert checkout.done() == ["venv", "pip install ."]


def test_new_dependencies_are_installed(checkout: Checkout) -> None:
    """After a pull that changed pyproject.toml it installs again, into the same environment."""
    checkout.install()
    with (checkout.folder / "pyproject.toml").open("a") as project:
        project.write("# another\n")
    assert checkout.install().returncode == 0
    assert checkout.done() == ["venv", "pip install .", "pip install ."]


def test_what_the_tests_need_is_installed_when_asked_for(checkout: Checkout) -> None:
    """`make test` after `make install` adds the tools; `make run` after that does nothing."""
    checkout.install()
    checkout.install("test")
    checkout.install("test")
    checkout.install()
    assert checkout.done() == ["venv", "pip install .", "pip install .[test]"]


def test_a_folder_that_was_moved_gets_a_new_environment(checkout: Checkout) -> None:
    """An environment knows its folder by its whole path: after a move it is made again, not half used."""
    checkout.install()
    moved = checkout.folder.rename(checkout.folder.with_name("elsewhere"))
    done = subprocess.run([moved / "scripts/install"], env={**os.environ, "PYTHON": str(moved / "python")})
    assert done.returncode == 0
    assert (moved / "log").read_text().splitlines() == ["venv", "pip install ."] * 2


def test_what_failed_is_said_and_tried_again(checkout: Checkout) -> None:
    """When pip fails, its words are shown, the exit code says so, and the next time it is tried again."""
    failed = checkout.install(PIP_FAILS="1")
    assert failed.returncode != 0
    assert "no such package" in failed.stderr
    assert checkout.install().returncode == 0
    assert (checkout.folder / ".venv/bin/cmail").exists()


def test_an_old_python_is_refused_in_words(checkout: Checkout) -> None:
    """Python before 3.11: what is needed and how to name another, and no environment is left behind."""
    refused = checkout.install(PYTHON_IS_OLD="1")
    assert refused.returncode != 0
    assert "Python 3.11 or newer is needed" in refused.stderr
    assert "make install PYTHON=" in refused.stderr
    assert not (checkout.folder / ".venv").exists()


def test_make_run_becomes_the_server(tmp_path: Path) -> None:
    """The last thing that `make run` does is exec: who ends make ends the server, and nothing stays."""
    config = tmp_path / "cmail.toml"
    config.touch()
    shown = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "run", f"CONFIG={config}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.rstrip().endswith(f"exec .venv/bin/cmail serve --config {config}")
