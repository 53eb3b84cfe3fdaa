"""What every test can count on: a limit on its time, and a word when what it needs is missing.

@pytest.mark.needs("swaks", "root")   reported as not run where one is missing; in CI it fails
@pytest.mark.limit(300)               seconds, where the usual limit is too little
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Final

import hypothesis
import pytest

from tests.support.terminal import has_terminals

# A test that takes longer hangs: say where, and go on with the next. What even this cannot end,
# a call that never returns, ends the whole run with its trace (faulthandler_timeout in pyproject).
LIMIT_S: Final = 300.0
IN_CI: Final = os.environ.get("CI", "").lower() not in ("", "0", "false")
NOT_RUN: Final = "not run: "

# Programs of an administrator (postfix, nsd, tc) stand where an ordinary PATH does not look.
PROGRAM_PATH: Final = os.pathsep.join(
    [
        str(Path(sys.executable).parent),
        os.environ.get("PATH", ""),
        "/usr/local/sbin:/usr/sbin:/sbin",
    ]
)

# The same examples on every machine: what fails in CI fails here, and nothing fails by chance.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
# Another seed each time, and many more: for an afternoon of looking (CMAIL_FUZZ=1 make test).
hypothesis.settings.register_profile("search", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("search" if os.environ.get("CMAIL_FUZZ") else "house")


def why_missing(need: str) -> str | None:
    """Why a test that needs this cannot run here; None when it can."""
    if need == "root":
        return None if os.geteuid() == 0 else "only root can do this"
    if need == "terminal":
        return None if os.geteuid() == 0 or has_terminals() else "there is no /dev/pts"
    if need == "atheris":
        return None if find_spec("atheris") else "atheris is not installed: it has wheels for x86-64 alone"
    if need == "compiled helper":
        found = find_spec("cmail.protocol.smtp._scan")
        return None if found else "the compiled helper is not built"
    return None if shutil.which(need, path=PROGRAM_PATH) else f"{need} is not installed"


class TookTooLong(KeyboardInterrupt):
    """Ends a test from within. Of this family because an event loop lets nothing else through."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    needs = [need for mark in item.iter_markers("needs") for need in mark.args]
    missing = [why for need in needs if (why := why_missing(need))]
    if missing and IN_CI:
        pytest.fail(f"{NOT_RUN}{'; '.join(missing)}", pytrace=False)
    if missing:
        pytest.skip(f"{NOT_RUN}{'; '.join(missing)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    limit_s = _limit_of(item)

    def end(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLong(f"took longer than {limit_s:.0f} s")

    if threading.current_thread() is not threading.main_thread():
        return (yield)
    previous = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        return (yield)
    except TookTooLong as error:
        raise TimeoutError(str(error)) from error  # fails this test alone, and shows where it was
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the end, in so many words, what was not run: a green line must not hide it."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} {'test' if count == 1 else 'tests'} {reason}")


def _limit_of(item: pytest.Item) -> float:
    mark = item.get_closest_marker("limit")
    return float(mark.args[0]) if mark else LIMIT_S
