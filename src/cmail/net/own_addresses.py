"""Which addresses this machine has, and from which it reaches the Internet; nothing is sent for it."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Final

from cmail.world import IPAddress

# Of documentation (RFC 5737, RFC 3849): they are routed as the Internet is, and nobody has them.
_ELSEWHERE: Final = ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1"))
_PRIVATE: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16"
        " 224.0.0.0/3 ::/127 fc00::/7 fe80::/10 ff00::/8"
    ).split()
)


def is_own(address: IPAddress) -> bool:
    """Whether a socket can be bound to it here."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def is_public(address: IPAddress) -> bool:
    """Whether it can be reached from the Internet at all."""
    return not any(address in network for network in _PRIVATE if network.version == address.version)


def outgoing_addresses() -> Sequence[IPAddress]:
    """The addresses that packets to the Internet would leave with, as the routes are now; without a way
    there, none."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                found.append(ip_address(probe.getsockname()[0]))
        except OSError:
            continue
    return found
