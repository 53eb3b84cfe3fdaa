"""More sessions than a shell's usual 1,024 files: the server sees to its own limit."""

import resource
import smtplib
import socket
from contextlib import ExitStack
from pathlib import Path

from tests.support.house import SETTINGS, RunningCmail

SESSIONS = 1300


def test_more_sessions_than_the_usual_limit_of_files(tmp_path: Path) -> None:
    """One worker started under a soft limit of 1,024 files greets 1,300 clients at once, and serves one
    more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings = SETTINGS.replace("workers = 2", "workers = 1")
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
        try:
            cmail = stack.enter_context(RunningCmail(tmp_path, settings=settings))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(SESSIONS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", cmail.port("smtp")), 10))
            assert client.recv(100).startswith(b"220 ")
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=10) as one_more:
            assert one_more.noop()[0] == 250
