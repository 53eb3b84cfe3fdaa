"""Sessions and the limit of open files: more than a shell's usual 1,024, and what happens where there are few."""

import os
import resource
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.house import SETTINGS, RunningCmail, wait_for

SESSIONS = 1300
ONE = SETTINGS.replace("workers = 2", "workers = 1")
FILES = 256
ROOM = FILES // 2 - 32  # a file of content beside each, and some for everything else


@contextmanager
def few_files(tmp_path: Path) -> Iterator[RunningCmail]:
    """A server of one worker that may open 256 files, whatever it would like."""
    cmail = RunningCmail(tmp_path, settings=ONE)
    if not cmail.data.exists():
        cmail._make_accounts()
    with ExitStack() as stack:
        stack.callback(cmail.stop)
        cmail.launch()
        assert cmail.process is not None
        resource.prlimit(cmail.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        wait_for(cmail._is_ready, "the server to listen")
        yield cmail


def connect(cmail: RunningCmail, timeout_s: float = 60) -> socket.socket:
    """A client that has not heard anything yet."""
    return socket.create_connection(("127.0.0.1", cmail.port("smtp")), timeout_s)


def allow_files(pid: int, count: int) -> None:
    """Another soft limit for a process that runs. As its own user: even root may not be allowed to."""
    status = Path(f"/proc/{pid}/status").read_text()
    ids = {name: int(status.split(f"{name}:")[1].split()[0]) for name in ("Uid", "Gid")}
    code = (
        "import resource, sys; pid, count = map(int, sys.argv[1:]); N = resource.RLIMIT_NOFILE;"
        " hard = resource.prlimit(pid, N)[1]; resource.prlimit(pid, N, (min(count, hard), hard))"
    )
    who: Any = {"user": ids["Uid"], "group": ids["Gid"]} if os.geteuid() == 0 else {}
    python = ["/usr/bin/env", "python3", "-c", code]
    subprocess.run([*python, str(pid), str(count)], check=True, cwd="/", **who)


def _is_asleep(pid: int) -> bool:
    """Whether a process does nothing, a moment later."""
    time.sleep(0.05)
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def send_one(client: smtplib.SMTP) -> None:
    """A message over a session that is open."""
    client.sendmail("a@example.com", ["anna@example.org"], b"From: <a@example.net>\r\nSubject: x\r\n\r\n")


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
            client = stack.enter_context(socket.create_connection(("127.0.0.1", cmail.port("smtp")), 60))
            assert client.recv(100).startswith(b"220 ")
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as one_more:
            assert one_more.noop()[0] == 250


def test_few_files(tmp_path: Path) -> None:
    """Where 256 files may be open there is room for 96 sessions, said in the log at the start; the next client
    hears 421, those who are in send mail that is delivered, and when they go all is as before."""
    with few_files(tmp_path) as cmail, ExitStack() as stack:
        cmail.wait_for_log(f"only {ROOM} sessions at once")
        sender = stack.enter_context(smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60))
        clients = [stack.enter_context(connect(cmail)) for _ in range(200)]
        codes = [client.recv(100)[:9] for client in clients]
        assert codes[: ROOM - 1] == [b"220 mail."] * (ROOM - 1)
        assert set(codes[ROOM - 1 :]) == {b"421 4.3.2"}
        for _ in range(20):
            send_one(sender)
        cmail.wait_for_mail("anna@example.org", 20)
        for client in clients:
            client.close()
        wait_for(lambda: connect(cmail).recv(4) == b"220 ", "room again")
        assert "Traceback" not in cmail.log() and "Too many open files" not in cmail.log()


def test_no_file_is_left(tmp_path: Path) -> None:
    """The limit comes down under a running server until nothing can be opened: clients wait, it is said once, the
    worker does not spin, nobody dies; what a session sends meanwhile is kept or put off with 4xx. When files may
    be opened again those who waited are served, and all that got its 250 is delivered, without hands."""
    with (
        RunningCmail(tmp_path, settings=ONE, more='[queue]\nretry = ["1s"]\n') as cmail,
        ExitStack() as stack,
    ):
        worker, port = cmail.pid("worker-0"), cmail.port("smtp")
        sender = stack.enter_context(smtplib.SMTP("127.0.0.1", port, timeout=60))
        send_one(sender)
        cmail.wait_for_mail("anna@example.org", 1)
        allow_files(worker, 3)
        waiting = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(50)]
        cmail.wait_for_log("no connection can be accepted")
        accepted = sum(_is_taken(sender) for _ in range(10))
        assert sum(_is_asleep(worker) for _ in range(40)) > 20  # who spins never sleeps
        assert cmail.log().count("no connection can be accepted") == 1
        allow_files(worker, 8192)
        for client in waiting:
            client.settimeout(60)
            assert client.recv(4) == b"220 "
        cmail.wait_for_mail("anna@example.org", 1 + accepted)
        assert cmail.pid("worker-0") == worker


def _is_taken(client: smtplib.SMTP) -> bool:
    try:
        send_one(client)
    except smtplib.SMTPResponseException as error:
        assert 400 <= error.smtp_code < 500, error
        return False
    return True
