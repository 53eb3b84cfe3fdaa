"""Places: what counts as one client address, and how much of a limit each worker hands out."""

from ipaddress import IPv6Address, ip_address
from math import ceil, sqrt


def place_of(client_address: str) -> str:
    """An IPv4 address, or the /64 that one IPv6 client has all of; "" for a Unix socket."""
    try:
        address = ip_address(client_address.partition("%")[0])
    except ValueError:
        return client_address  # a Unix socket
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def share_of(limit: int, workers_count: int) -> int:
    """What one worker hands out of a limit that is meant for all of them together.

    The kernel spreads the connections of an address over the workers by chance, so an even part alone would
    refuse an office that is within its limit: two standard deviations are added. All workers together may
    thus give somewhat more than the limit, never less to who is spread as chance has it."""
    if workers_count <= 1:
        return limit
    part = limit / workers_count
    return min(limit, ceil(part + 2 * sqrt(part)))
