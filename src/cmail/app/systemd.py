"""What systemd and we say to each other: readiness, watchdog, sockets that it holds for us."""

import os
import socket
from collections.abc import MutableMapping
from typing import Final

from cmail.settings import Endpoint

_FIRST_FD: Final = 3  # sd_listen_fds(3)


class Notifier:
    """Tells systemd how we are; silent when nobody asked (no NOTIFY_SOCKET)."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        pid = environ.pop("WATCHDOG_PID", "")
        usec = environ.pop("WATCHDOG_USEC", "")
        is_ours = not pid or pid == str(os.getpid())
        # Half of what it waits, so that one late turn of ours is no reason to be killed.
        self.watchdog_s = int(usec) / 2e6 if usec.isdigit() and is_ours else 0.0

    @property
    def is_watched(self) -> bool:
        """systemd started us."""
        return bool(self._address)

    def say(self, *states: str) -> None:
        """READY=1, STOPPING=1, WATCHDOG=1, STATUS=words. Nothing depends on it: errors are let go."""
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(states).encode(), address)
        except OSError:
            pass


def given_sockets(environ: MutableMapping[str, str] = os.environ) -> dict[Endpoint, socket.socket]:
    """The listening sockets that systemd holds for us, by their address (socket activation)."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", "")
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    given: dict[Endpoint, socket.socket] = {}
    for fd in range(_FIRST_FD, _FIRST_FD + int(count)):
        os.set_inheritable(fd, False)
        held = socket.socket(fileno=fd)
        held.setblocking(False)
        given[_endpoint(held)] = held
    return given


def _endpoint(held: socket.socket) -> Endpoint:
    name = held.getsockname()
    if held.family == socket.AF_UNIX:
        return Endpoint(path=name)
    return Endpoint(name[0], name[1])
