"""What a test needs and has not: said as not run; in CI a failure. And a test that hangs is ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import time
import pytest

@pytest.mark.needs("no-such-program")
def test_that_needs():
    assert True

def test_that_does_not():
    assert True
"""


def run(folder: Path, text: str, ci: str) -> subprocess.CompletedProcess[str]:
    """Run a file of tests as `make test` runs ours."""
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c"]
    command += [str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "--basetemp", str(folder / "tmp")]
    environ = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, str(folder / "test_it.py")], capture_output=True, text=True, env=environ, timeout=60
    )


@pytest.mark.parametrize(
    ("ci", "code", "counts"), [("", 0, "1 passed, 1 skipped"), ("true", 1, "1 passed, 1 error")]
)
def test_what_is_missing_is_said(tmp_path: Path, ci: str, code: int, counts: str) -> None:
    """Elsewhere the run is green and says at its end what was not run and why; in CI it is red."""
    done = run(tmp_path, TESTS, ci)
    assert done.returncode == code, done.stdout + done.stderr
    assert counts in done.stdout
    assert "not run: no-such-program is not installed" in done.stdout


def test_a_hanging_test_is_ended(tmp_path: Path) -> None:
    """It fails with the place where it hung, and the next one runs."""
    text = "import pytest, time\n@pytest.mark.limit(0.2)\ndef test_hangs():\n    time.sleep(60)\n"
    done = run(tmp_path, text + "def test_next():\n    assert True\n", "")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout and "took longer than" in done.stdout
