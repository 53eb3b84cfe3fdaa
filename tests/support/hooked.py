"""HookedMachine: the hooks of packaging/hooks, installed by scripts/install-hooks on a machine that is only seen by
what a test runs on it: a mount namespace in which /etc, /usr/local and /run are others."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

from tests.support.house import RunningCmail, wait_for
from tests.support.netns import Net

ROOT: Final = Path(__file__).parents[2]

# $1: a folder of the test; all that is mounted is gone with the last process that sees it.
_SETUP: Final = """
set -e
mount -t tmpfs none "$1"
for place in etc usr/local; do
    name=$(basename $place)
    mkdir "$1/$name" "$1/$name-work"
    mount -t overlay overlay -o "lowerdir=/$place,upperdir=$1/$name,workdir=$1/$name-work" "/$place"
done
mkdir "$1/run"
mount --bind "$1/run" /run
mount --bind "$2" /usr/bin/logger
echo ready
exec sleep infinity
"""


class HookedMachine:
    """Network and mail server are those of the test; `log` is what the hooks tell the system's log."""

    def __init__(self, net: Net, folder: Path, cmail: RunningCmail) -> None:
        self._net, self._folder, self._cmail = net, folder, cmail
        self._log = folder / "syslog"

    def __enter__(self) -> Self:
        self._log.touch()
        logger = self._script("logger", f"""printf '%s\\n' "$*" >>{self._log}""")
        layers = self._folder / "layers"
        layers.mkdir()
        self._holder = subprocess.Popen(
            [*self._net.prefix, "sh", "-c", _SETUP, "setup", str(layers), str(logger)],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        places = [f"/etc/network/if-{name}.d" for name in ("pre-up", "up", "down", "post-down")]
        self.run("mkdir", "-p", *places, "/usr/local/sbin")
        self.program(f'exec {sys.executable} -m cmail "$@"')
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()

    def install(self, *words: str) -> str:
        """`scripts/install-hooks`: what it says."""
        script = str(ROOT / "scripts/install-hooks")
        named = ["--program", "/usr/local/sbin/cmail", "--config", str(self._cmail.config)]
        return self.run(script, *(words or named)).stderr

    def program(self, body: str) -> None:
        """What the hooks find as `cmail`."""
        path = self._script("cmail.sh", body)
        self.run("install", "-m", "755", str(path), "/usr/local/sbin/cmail")

    def run(self, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A command on the machine, which succeeds."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._holder.pid), "-m", "-n", *command],
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": "", **(env or {})},
            check=False,
        )
        assert not done.returncode, f"{command}: {done.stdout}{done.stderr}"
        return done

    @property
    def log(self) -> list[str]:
        """What was told the system's log, line by line."""
        return self._log.read_text().splitlines()

    def wait_until_said(self) -> None:
        """Until nothing that a hook has noted is still to be said."""
        is_said = (
            'exec 9>/run/cmail-hooks/lock; flock 9; set -- /run/cmail-hooks/noted-*; [ -e "$1" ] || echo all'
        )
        wait_for(lambda: self.run("sh", "-c", is_said).stdout, "the last word to be said")

    def wait_for_log(self, words: str, count: int = 1) -> None:
        """Until these words stand there so often."""
        wait_for(lambda: sum(words in line for line in self.log) >= count, f"{words!r} in {self.log}")

    def _script(self, name: str, body: str) -> Path:
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        os.chmod(path, 0o755)
        return path
