"""Two network namespaces and the link between them; what runs in them ends with them."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

from wire import FAR, NEAR, Kind, Wire, open_device

NEAR_ADDRESS, FAR_ADDRESS = "10.99.0.1", "10.99.0.2"
CONGESTION = "cubic"  # what nearly every machine has as its default


def hindrance() -> str:
    """Why links cannot be emulated on this machine; "" when they can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if not shutil.which("ip"):
        return "there is no `ip` (Debian: iproute2)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    name = f"cmail-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    tried = subprocess.run(["ip", "netns", "exec", name, "true"], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], check=False)
    return f"nothing can be run in a network namespace: {tried.stderr.strip()}" if tried.returncode else ""


class Ground:
    """`with Ground(kind) as ground:` - the near side is on line now and then, the far side is the world."""

    def __init__(self, kind: Kind) -> None:
        self._names = tuple(f"cmail-{side}-{os.getpid()}" for side in ("near", "far"))
        self.device = f"link{os.getpid() % 100_000}n"
        self.folder = Path(tempfile.mkdtemp(prefix="cmail-link-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.kind = kind
        self._devices: list[int] = []
        self.wire: Wire

    def __enter__(self) -> Self:
        try:
            self._make(NEAR, self.device, NEAR_ADDRESS)
            self._make(FAR, f"link{os.getpid() % 100_000}f", FAR_ADDRESS)
            self.wire = Wire(self.kind, (self._devices[NEAR], self._devices[FAR]))
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()
        self._remove()

    def _make(self, side: int, device: str, address: str) -> None:
        name = self._names[side]
        _ip("netns", "add", name)
        self._devices.append(open_device(device))
        _ip("link", "set", device, "netns", name)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{address}/30", "dev", device)
        _ip("-n", name, "link", "set", device, "up", "txqueuelen", "1000")
        other = FAR_ADDRESS if side == NEAR else NEAR_ADDRESS
        _ip("-n", name, "route", "add", f"{other}/32", "dev", device, "congctl", CONGESTION)
        if side == NEAR:
            _ip("-n", name, "route", "add", "default", "via", other, "dev", device, "congctl", CONGESTION)

    def command(self, side: int, command: Sequence[str]) -> list[str]:
        """A command as it is run on one side."""
        return ["ip", "netns", "exec", self._names[side], *command]

    def run(self, side: int, command: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[Any]":
        """Run a command on one side to its end."""
        return subprocess.run(
            self.command(side, command), **{"check": True, "capture_output": True, **options}
        )

    def start(
        self, side: int, command: Sequence[str], log: IO[bytes], **options: Any
    ) -> "subprocess.Popen[Any]":
        """Start a program on one side."""
        return subprocess.Popen(
            self.command(side, command),
            **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options},
        )

    def _remove(self) -> None:
        for name in self._names:
            found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
            for pid in found.stdout.split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        for descriptor in self._devices:
            os.close(descriptor)
        shutil.rmtree(self.folder, ignore_errors=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
