"""Known: mail domains and hosts that mail went to, for who has nothing else to probe. No I/O."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, Final

from cmail.world import IPAddress

KEPT_MAX: Final = 4  # of each, the latest; all are asked at once
_NAME_MAX: Final = 253  # octets of a domain name (RFC 1035 §2.3.4)

HostPort = tuple[IPAddress, int]


class Known:
    """The latest first. It outlives restarts: the first thing that a server does may be to ask."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.hosts: tuple[HostPort, ...] = ()

    def note(self, names: Iterable[object], hosts: Iterable[object]) -> bool:
        """Mail went there; hosts as [address, port]. True when any is new. What makes no sense is out."""
        before = set(self.names), set(self.hosts)
        for name in names:
            if isinstance(name, str) and 0 < len(name) <= _NAME_MAX:
                self.names = (name, *(each for each in self.names if each != name))[:KEPT_MAX]
        for host in filter(None, map(_host, hosts)):
            self.hosts = (host, *(each for each in self.hosts if each != host))[:KEPT_MAX]
        return before != (set(self.names), set(self.hosts))

    def record(self) -> dict[str, Any]:
        """As it goes into the file."""
        return {"names": [*self.names], "hosts": [[str(address), port] for address, port in self.hosts]}

    def resume(self, record: object) -> None:
        """Go on from it."""
        if isinstance(record, Mapping):
            self.note(_reversed(record.get("names")), _reversed(record.get("hosts")))


def _reversed(value: object) -> list[object]:
    return value[::-1] if isinstance(value, list) else []


def _host(value: object) -> HostPort | None:
    """None also for what is on this machine: that somebody answers there says nothing of the Internet."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    try:
        address = ip_address(str(value[0]))
    except ValueError:
        return None
    port = value[1]
    is_port = type(port) is int and 0 < port < 65536
    return (address, port) if is_port and not address.is_loopback else None
