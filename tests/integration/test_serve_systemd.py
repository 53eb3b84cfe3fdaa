"""`cmail serve` under systemd, whose part is played here: readiness, reload, watchdog, held sockets."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.house import SETTINGS, RunningCmail, reachable, wait_for

# What systemd does between fork and exec: the socket becomes descriptor 3, and the variables are set.
START = (
    "import os, sys; held = int(sys.argv[1]); os.dup2(held, 3); os.set_inheritable(3, True); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='smtp'); "
    "os.execv(sys.executable, [sys.executable, '-m', 'cmail', 'serve', '--config', sys.argv[2]])"
)


class Systemd:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = reachable(folder) / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self.path.chmod(0o777)
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def has_heard(self, state: str, count: int = 1) -> bool:
        """Whether a state was told so often."""
        while True:
            try:
                self.heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return sum(each.startswith(state) for each in self.heard) >= count


def test_ready_reload_watchdog_stop(tmp_path: Path) -> None:
    """READY=1 when it serves, RELOADING=1 and READY=1 around a reload, WATCHDOG=1 all the time,
    STOPPING=1 at the end; and no start screen in the journal."""
    systemd = Systemd(tmp_path)
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1000000"}
    with RunningCmail(tmp_path, environ=environ) as cmail:
        wait_for(lambda: systemd.has_heard("READY=1"), "READY=1")
        wait_for(lambda: systemd.has_heard("WATCHDOG=1", 2), "two WATCHDOG=1")
        cmail.hang_up()
        wait_for(lambda: systemd.has_heard("READY=1", 2), "the second READY=1")
        assert systemd.heard.index("RELOADING=1") < len(systemd.heard) - 1
        assert systemd.has_heard("MONOTONIC_USEC=")
        cmail.stop()
        assert systemd.has_heard("STOPPING=1")
        assert cmail.screen() == ""


@pytest.mark.limit(300)
def test_no_watchdog_while_a_worker_hangs(tmp_path: Path) -> None:
    """A worker that does not answer is mentioned, and systemd hears no WATCHDOG=1 until it does."""
    systemd = Systemd(tmp_path)
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1000000"}
    with RunningCmail(tmp_path, environ=environ) as cmail:
        pid = cmail.pid("worker-1")
        os.kill(pid, signal.SIGSTOP)
        try:
            cmail.wait_for_log("worker-1 has not answered for")
            systemd.has_heard("WATCHDOG=1")
            before = systemd.heard.count("WATCHDOG=1")
            time.sleep(3)  # three times what systemd would wait
            systemd.has_heard("WATCHDOG=1")
            assert systemd.heard.count("WATCHDOG=1") == before
        finally:
            os.kill(pid, signal.SIGCONT)
        cmail.wait_for_log("worker-1 answers again")
        wait_for(lambda: systemd.has_heard("WATCHDOG=1", before + 1), "WATCHDOG=1")


def test_socket_that_systemd_holds(tmp_path: Path) -> None:
    """Socket activation: connections of before the start are served, by every worker's one socket."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        settings = SETTINGS.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
        cmail = RunningCmail(tmp_path, settings=settings)
        early = socket.create_connection(("127.0.0.1", port), 60)
        with open(cmail.log_file, "ab") as log:
            cmail.process = subprocess.Popen(
                [sys.executable, "-c", START, str(held.fileno()), str(cmail.config)],
                pass_fds=[held.fileno()],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            assert early.recv(100).startswith(b"220 ")
            assert cmail.port("smtp") == port
        finally:
            early.close()
            assert cmail.stop() == 0
