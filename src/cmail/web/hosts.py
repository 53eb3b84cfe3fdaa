"""Whether a Host field names us."""

from ipaddress import ip_address


def is_own_host(given: str, hosts: frozenset[str]) -> bool:
    """Whether a Host field names us: a name of ours, localhost, or any address (an address cannot be
    made to lead elsewhere, and who reaches us by one has reached us)."""
    name = given.lower()
    if name.startswith("["):
        name, closed, port = name[1:].partition("]")
        port = port.removeprefix(":") if closed else "x"
    else:
        name, _, port = name.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return False
    name = name.removesuffix(".")
    if name in hosts or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
