"""`link.status` with `is_heard`: who counts on what it says is answered when the workers do what it says."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.house import RunningCmail, wait_for


def test_who_wants_it_heard_is_answered_when_the_workers_have_heard(tmp_path: Path) -> None:
    """The link goes down while a worker is stopped: that it is down is known at once, that it is obeyed when the
    worker goes on."""
    with RunningCmail(tmp_path) as cmail, ThreadPoolExecutor(2) as threads:
        stopped = cmail.pid("worker-1")
        os.kill(stopped, signal.SIGSTOP)
        try:
            down = threads.submit(cmail.ask, "link", "link.down")
            wait_for(lambda: cmail.ask("link", "link.status")["is_down"], "the link to be down")
            heard = threads.submit(cmail.ask, "link", "link.status", is_heard=True)
            with pytest.raises(TimeoutError):
                heard.result(0.5)
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert heard.result(60)["is_down"] and down.result(60)["is_down"]
