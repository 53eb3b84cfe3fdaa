"""Ports: whether the running server could open one now, asked before the settings say that it shall."""

import errno
import socket
from dataclasses import dataclass
from typing import Final

from cmail.settings import parse_endpoint

_CAP_NET_BIND_SERVICE: Final = 10  # capabilities(7)
_RESTART: Final = (
    "below 1024 only root may open one. Start the server as root (it drops the rights at once) or by its"
    " systemd unit; or have your router hand port 25 to another port here, and name that one."
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why not. `is_for_ever`: starting the server again would not help."""

    words: str
    is_for_ever: bool


def port_fault(address: str, supervisor: int) -> Fault | None:
    """None: it can be opened. `supervisor` is the process that would; 0: whoever is started as we are."""
    endpoint = parse_endpoint(address)
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.host, endpoint.port))
            has_right = True
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM):
                is_taken = error.errno == errno.EADDRINUSE
                words = "another program has it." if is_taken else f"{error.strerror or error}."
                return Fault(words, True)
            has_right = False
    if supervisor and endpoint.port < _first_free():
        has_right = _may_open_low(supervisor)
    return None if has_right else Fault(_RESTART, False)


def _first_free() -> int:
    """Ports from here on are for everybody."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024


def _may_open_low(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"CapEff:"):
                    return bool(int(line.split()[1], 16) >> _CAP_NET_BIND_SERVICE & 1)
    except (OSError, ValueError, IndexError):
        pass
    return False
