"""`make bench-link` where links cannot be emulated: a clear word, nothing measured, and no error."""

import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[2] / "bench" / "link" / "run.py"
NOBODY = 65534


def test_without_rights_it_says_that_it_is_skipped() -> None:
    """As a user without rights: SKIPPED and why, at once; exit 0, so that who runs all measurements goes on."""
    rights = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [sys.executable, str(RUN)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **rights,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("SKIPPED: links cannot be emulated here: only root ")
    assert done.stdout.endswith("Nothing was measured.\n")
