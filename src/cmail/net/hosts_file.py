"""Names of /etc/hosts, read again when the file changes; localhost is known without it (RFC 6761 §6.3)."""

import os
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cmail.world import IPAddress

_LOCALHOST: Final[tuple[IPAddress, ...]] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_FILE_OCTETS_MAX: Final = 1_000_000  # a block list of a million names is not for mail
_LOOK_AGAIN_S: Final = 5.0


class HostsFile:
    """What the file said when it was last looked at; a look is one stat() in five seconds."""

    def __init__(self, monotonic: Callable[[], float], path: str = "/etc/hosts") -> None:
        self._monotonic, self._path = monotonic, path
        self._names: dict[str, tuple[IPAddress, ...]] = {}
        self._changed_ns = -1
        self._look_at = float("-inf")

    def addresses(self, name: str) -> tuple[IPAddress, ...]:
        """The addresses of a name; none when it is not in the file."""
        now = self._monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_AGAIN_S
            self._look()
        known = self._names.get(name, ())
        if not known and (name == "localhost" or name.endswith(".localhost")):
            return _LOCALHOST
        return known

    def _look(self) -> None:
        try:
            changed_ns = os.stat(self._path).st_mtime_ns
            if changed_ns == self._changed_ns:
                return
            with open(self._path, "rb") as file:
                self._names = parse_hosts(file.read(_FILE_OCTETS_MAX))
            self._changed_ns = changed_ns
        except OSError:
            self._names, self._changed_ns = {}, -1


def parse_hosts(octets: bytes) -> dict[str, tuple[IPAddress, ...]]:
    """Name -> addresses, names in lower case; lines that are none are passed over."""
    names: dict[str, list[IPAddress]] = {}
    for line in octets.decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].split()
        try:
            address = ip_address(words[0]) if words else None
        except ValueError:
            continue
        if address is None:
            continue
        for word in words[1:]:
            name = word.lower().removesuffix(".")
            names.setdefault(name, []).append(address)
    return {name: tuple(addresses) for name, addresses in names.items()}
