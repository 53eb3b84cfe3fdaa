"""The supervisor and its processes in every odd state: it looks after all of them, and never spins."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmail.app import supervisor as module
from cmail.app.child import Child, Tether
from cmail.app.supervisor import EX_OSERR, Supervisor
from cmail.app.systemd import Notifier
from cmail.net.control import decode, encode
from tests.support.house import RunningCmail
from tests.support.ports import free_port

END_S = 30.0


def obedient(tether: Tether) -> int:
    """A process that answers everything and stops when it is told."""
    with tether.stream.makefile("rwb") as stream:
        for line in stream:
            stream.write(encode({"ok": {}}))
            stream.flush()
            if decode(line)["ask"] == "stop":
                return 0
    return 0


class Unlucky(Child):
    """Its first start works; then the machine has no room for a process for some tries."""

    def __init__(self, tries_in_vain: int, is_lucky_first: bool = True) -> None:
        super().__init__("worker-0", obedient)
        self.starts = 0 if is_lucky_first else 1
        self.tries_in_vain = tries_in_vain

    def start(self, now: float, before: Callable[[], None]) -> None:
        """As Child does, or not."""
        self.starts += 1
        if 2 <= self.starts <= self.tries_in_vain + 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        super().start(now, before)


@pytest.fixture
def signals() -> Iterator[None]:
    """The signal handlers of the test run are back afterwards."""
    kept = {number: signal.getsignal(number) for number in module._SIGNALS}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def run_folder() -> Iterator[str]:
    """A folder for the control socket."""
    folder = tempfile.mkdtemp(prefix="cmail-run-")
    yield folder
    shutil.rmtree(folder)


class Turns:
    """A supervisor whose turns are counted; at each a test may do something."""

    def __init__(self, children: list[Child], run_folder: str, each: Callable[["Turns"], None]) -> None:
        self.count = 0
        self.since_ready = 0
        self.is_ready = False
        self.children = children
        self.each = each
        self.until = time.monotonic() + END_S
        self.supervisor = Supervisor(
            children,
            Notifier({}),
            run_folder,
            reload=lambda answer: None,
            status=dict,
            ready=self._ready,
            stopping=lambda: None,
        )
        turn = self.supervisor._turn
        self.supervisor._turn = lambda: self._turn(turn)  # type: ignore[method-assign]

    def _ready(self) -> None:
        self.is_ready = True

    def _turn(self, turn: Callable[[], None]) -> None:
        self.count += 1
        assert self.count < 2000, "it spins"
        turn()
        if time.monotonic() > self.until:
            self.supervisor.stop("the test takes too long")
        else:
            self.each(self)

    def run(self) -> int:
        """Until it stops."""
        return self.supervisor.run()


def test_a_process_that_cannot_be_forked_is_tried_again(signals: None, run_folder: str) -> None:
    """No room for a process more (fork: EAGAIN): it is tried again, later each time, while the other
    processes are looked after; then all is well."""
    unlucky, other = Unlucky(3), Child("link", obedient)

    def each(turns: Turns) -> None:
        if turns.is_ready and unlucky.starts == 1 and unlucky.pid:
            os.kill(unlucky.pid, signal.SIGKILL)
        if unlucky.starts == 5 and unlucky.is_ready:
            turns.supervisor.stop("enough")

    before = time.process_time()
    turns = Turns([unlucky, other], run_folder, each)
    assert turns.run() == 0
    assert unlucky.starts == 5
    assert time.process_time() - before < 3
    assert turns.count < 100


def test_a_first_start_that_fails_ends_the_server(signals: None, run_folder: str) -> None:
    """What was never there cannot be waited for: exit 71, and nobody stays behind."""
    first, unlucky, last = (
        Child("worker-0", obedient),
        Unlucky(100, is_lucky_first=False),
        Child("l", obedient),
    )
    turns = Turns([first, unlucky, last], run_folder, lambda _: None)
    assert turns.run() == EX_OSERR
    assert not any(child.pid for child in (first, unlucky, last))


@pytest.mark.parametrize("name", ["lost signal", "taken away"])
def test_a_process_that_goes_unseen(
    signals: None, run_folder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process ends and no SIGCHLD comes, or the kernel has taken it away: it is started again, also
    while another one is there."""
    monkeypatch.setattr(module, "PING_S", 0.1)
    child, other = Child("worker-0", obedient), Child("link", obedient)

    def each(turns: Turns) -> None:
        if turns.is_ready and not turns.since_ready:
            turns.since_ready = turns.count
            signal.signal(signal.SIGCHLD, signal.SIG_DFL if name == "lost signal" else signal.SIG_IGN)
            os.kill(child.pid, signal.SIGKILL)
        elif child.restarts and child.is_ready:
            turns.supervisor.stop("enough")

    turns = Turns([child, other], run_folder, each)
    turns.run()
    assert (child.restarts, other.restarts) == (1, 0)
    assert not child.pid and not other.pid
    assert turns.count < 200


def test_stop_while_a_process_waits_to_be_started_again(signals: None, run_folder: str) -> None:
    """Told to stop when nobody runs (one waits for its next start): it ends at once."""
    child = Child("worker-0", obedient)

    def each(turns: Turns) -> None:
        if turns.is_ready and child.pid and not child.restarts:
            os.kill(child.pid, signal.SIGKILL)
        if child.restarts and not child.pid:
            os.kill(os.getpid(), signal.SIGTERM)

    turns = Turns([child], run_folder, each)
    started = time.monotonic()
    assert turns.run() == 0
    assert time.monotonic() - started < END_S
    assert turns.count < 50


def test_a_question_when_no_descriptor_is_free(signals: None, run_folder: str) -> None:
    """Somebody asks while no file can be opened: the supervisor does not spin, and answers later."""
    child = Child("worker-0", obedient)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as asker, contextlib.ExitStack() as restored:
        restored.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)

        def each(turns: Turns) -> None:
            if not turns.is_ready:
                return
            if not turns.since_ready:
                turns.since_ready = turns.count
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
                asker.connect(f"{run_folder}/supervisor.sock")
                asker.sendall(b'{"ask": "status"}\n')
                asker.setblocking(False)
            elif turns.count == turns.since_ready + 20:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            elif turns.count > turns.since_ready + 20:
                with contextlib.suppress(BlockingIOError):
                    assert b'"worker-0"' in asker.recv(65536)
                    turns.supervisor.stop("enough")

        turns = Turns([child], run_folder, each)
        before = time.monotonic()
        assert turns.run() == 0
        assert time.monotonic() - before > 20 * module.TURN_S
        assert time.monotonic() < turns.until


@pytest.mark.limit(300)
def test_many_new_listeners_at_once(tmp_path: Path) -> None:
    """A reload that adds thirty listeners: each process gets all of them, and every one is served."""
    with RunningCmail(tmp_path) as cmail:
        ports = [free_port() for _ in range(30)]
        added = "".join(f'[[listener]]\nkind = "smtp"\naddress = "127.0.0.1:{port}"\n' for port in ports)
        cmail.config.write_text(cmail.config.read_text() + added)
        assert cmail.ask("supervisor", "reload") == {"number": 2}
        for port in ports:
            with socket.create_connection(("127.0.0.1", port), 60) as client:
                assert client.recv(100).startswith(b"220 ")
