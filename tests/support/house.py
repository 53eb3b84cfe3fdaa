"""RunningCmail: a real `cmail serve` on free ports in a temporary folder, for integration and interop tests.

    with RunningCmail(tmp_path) as cmail:
        smtplib.SMTP("127.0.0.1", cmail.port("smtp"))

It waits until the server listens; stop() ends it in order, kill() as a power cut would."""

import atexit
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

from cmail.net.control import BlockingControlClient, ControlError

START_S: Final = 60.0
STOP_S: Final = 60.0
# What is waited for comes, on a machine that is slow and has other things to do as well: no test is about this.
PATIENCE_S: Final = 60.0

SETTINGS: Final = """\
[host]
hostname = "mail.example.org"
domains = ["example.org"]
data_dir = "data"
user = "nobody"
workers = 2

[[listener]]
kind = "smtp"
address = "127.0.0.1:0"

[[listener]]
kind = "submission"
address = "127.0.0.1:0"

[admin]
address = ""
"""


def wait_for(condition: Callable[[], Any], what: str = "it", timeout_s: float = PATIENCE_S) -> Any:
    """The first true value of the condition; AssertionError when none comes in time."""
    until = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.01)


class RunningCmail:
    """A server and its folder. As root it runs as the user `nobody`, as an installed one would run as
    `cmail`. `settings` is the whole settings file; `more` is appended to the usual one. `domains` are
    those of users and aliases that are made before the first start. `prefix`: a command that starts
    another one and becomes it (`ip netns exec NAME`)."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: str = SETTINGS,
        more: str = "",
        environ: dict[str, str] | None = None,
        users: Sequence[tuple[str, str]] = (("anna@example.org", "secret"),),
        aliases: Sequence[tuple[str, Sequence[str]]] = (),
        domains: Sequence[str] = ("example.org",),
        prefix: Sequence[str] = (),
    ) -> None:
        self.folder = reachable(folder) / "cmail"
        self.folder.mkdir(mode=0o755, exist_ok=True)
        self.config = self.folder / "cmail.toml"
        self.data = self.folder / "data"
        self.log_file = self.folder / "log"
        self.screen_file = self.folder / "screen"
        self.config.write_text(settings + more)
        self.config.chmod(0o644)
        self._environ = environ or {}
        self._users, self._aliases, self._domains = users, aliases, domains
        self._prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it (again) and wait until it listens."""
        if not self.data.exists():
            self._make_accounts()
        self.launch()
        wait_for(self._is_ready, "the server to listen", START_S)

    def launch(self) -> None:
        """Start it and do not wait."""
        with open(self.log_file, "ab") as log, open(self.screen_file, "wb") as screen:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "cmail", "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=log,
                env={**os.environ, **self._environ},
                start_new_session=True,
                extra_groups=[0, 4] if os.geteuid() == 0 else None,  # as root has them after a log-in
            )

    def run_to_end(self, timeout_s: float = START_S) -> tuple[int, str]:
        """Start it, expecting that it refuses: exit code and what it said."""
        before = len(self.log())
        self.launch()
        assert self.process is not None
        code = self.process.wait(timeout_s)
        return code, self.log()[before:]

    def stop(self) -> int:
        """End it in order (SIGTERM); the exit code. Fine when it has ended already."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL to the supervisor and to all of its processes: a power cut, but for the disk."""
        assert self.process is not None
        pids = [child["pid"] for child in self.status()["children"] if child["pid"]]
        self.process.kill()
        for pid in pids:
            _kill(pid, signal.SIGKILL)
        self.process.wait(STOP_S)
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the processes to be gone")

    def hang_up(self) -> None:
        """SIGHUP: read the settings anew."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def ask(
        self, name: str, question: str, timeout_s: float = PATIENCE_S, **arguments: Any
    ) -> dict[str, Any]:
        """A control question to a process (supervisor, worker-0, link...)."""
        return BlockingControlClient(str(self.data / "run"), name, timeout_s).ask(question, arguments).ok

    def rows(self, name: str, question: str, **arguments: Any) -> list[dict[str, Any]]:
        """The rows of the answer to a control question."""
        client = BlockingControlClient(str(self.data / "run"), name, PATIENCE_S)
        return client.ask(question, arguments).rows

    def status(self) -> dict[str, Any]:
        """What the supervisor says."""
        return self.ask("supervisor", "status")

    def port(self, kind: str, number: int = 0) -> int:
        """The port of the first (or another) listener of a kind; "admin" is the admin address."""
        found = [each["address"] for each in self.status()["listeners"] if each["kind"] == kind]
        return int(found[number].rpartition(":")[2])

    def pid(self, name: str) -> int:
        """The process id of a child."""
        pids = {child["name"]: child["pid"] for child in self.status()["children"]}
        return int(pids[name])

    def log(self) -> str:
        """All that it wrote to standard error: the log."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def screen(self) -> str:
        """All that it printed: the start screen."""
        return self.screen_file.read_text()

    def wait_for_log(self, words: str, count: int = 1, timeout_s: float = PATIENCE_S) -> str:
        """Wait until these words stand in the log (so often); all of the log."""
        wait_for(lambda: self.log().count(words) >= count, f"{words!r} in the log:\n{self.log()}", timeout_s)
        return self.log()

    def queue(self) -> list[dict[str, Any]]:
        """All recipients in the queue, of all workers."""
        names = [c["name"] for c in self.status()["children"] if c["name"].startswith("worker-")]
        return [row for name in names for row in self.rows(name, "queue.list", filter={}, limit=1000)]

    def mailbox(self, address: str) -> list[bytes]:
        """The messages in a mailbox here, oldest first."""
        local_part, _, domain = address.partition("@")
        new = self.data / "mail" / domain / local_part / "new"
        return [path.read_bytes() for path in sorted(new.iterdir())] if new.exists() else []

    def wait_for_mail(self, address: str, count: int = 1, timeout_s: float = PATIENCE_S) -> list[bytes]:
        """Wait until a mailbox has so many messages."""
        wait_for(lambda: len(self.mailbox(address)) >= count, f"{count} messages for {address}", timeout_s)
        return self.mailbox(address)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log()}"
        try:
            return all(child["state"] == "running" for child in self.status()["children"])
        except ControlError:
            return False

    def _make_accounts(self) -> None:
        """As `cmail user add` would, in a process of its own: SQLite and forks do not mix here."""
        code = (
            "import json, os, sys\n"
            "data, uid, gid, users, aliases, domains = json.loads(sys.argv[1])\n"
            "os.umask(0o077); os.mkdir(data, 0o711); os.chmod(data, 0o711); os.chown(data, uid, gid)\n"
            "os.setgid(gid); os.setuid(uid)\n"
            "from cmail.storage.account_book import AccountBook\n"
            "with AccountBook(data, domains=tuple(domains), hostname='mail.example.org') as book:\n"
            "    [book.add_user(n, p) for n, p in users]; [book.add_alias(a, t) for a, t in aliases]\n"
        )
        entry = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        facts = [str(self.data), entry.pw_uid, entry.pw_gid, list(self._users), list(self._aliases)]
        facts.append(list(self._domains))
        preload = "import cmail.storage.account_book, encodings.idna\n" if os.geteuid() == 0 else ""
        subprocess.run([sys.executable, "-c", preload + code, json.dumps(facts)], check=True)


_PLACES: Final[dict[Path, Path]] = {}


def reachable(folder: Path) -> Path:
    """A folder of a test that the user of the server can get to. The folders of pytest are closed to
    others (and closed again by every pytest that starts), so root gets one beside them."""
    if os.geteuid() != 0:
        return folder
    if folder not in _PLACES:
        place = _PLACES[folder] = Path(tempfile.mkdtemp(prefix="cmail-test-"))
        place.chmod(0o755)
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    return _PLACES[folder]


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
