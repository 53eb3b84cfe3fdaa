"""Collecting is killed at each of its steps, on either side: each message comes once, none is lost."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.limit(600)
@pytest.mark.parametrize("keep", ["delete", "keep"])
@pytest.mark.parametrize(("role", "least"), [("link", 40), ("worker", 40)])
def test_killed_at_each_step(tmp_path: Path, role: str, least: int, keep: str) -> None:
    """SIGKILL before and after each sync, rename, commit, question and answer; then it goes on. Each message is
    delivered (or in quarantine) once; with `delete` the box is empty, else nothing in it has gone."""
    command = [sys.executable, "-m", "tests.crash.collect_steps", str(tmp_path), role, keep]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert int(done.stdout) >= least
