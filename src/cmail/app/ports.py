"""The sockets that mail comes in by: bound before anything else, one a worker, kept by the supervisor."""

import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cmail.settings import Endpoint, parse_endpoint
from cmail.smtpd.settings import ListenerSettings

# Connections that wait: a worker restarts, or a storm is at the door. Where there is no room the kernel drops
# what comes, and a good client among them tries again after 1, 3, 7 s.
BACKLOG: Final = 4096


class PortError(Exception):
    """A socket cannot be bound; words for a person, and the exit code."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


@dataclass(slots=True)
class Port:
    """One [[listener]] (or the admin address): what is spoken there, and the sockets that are bound.

    A TCP port has a socket for each worker (SO_REUSEPORT: the kernel spreads the connections, and
    nobody is woken for nothing); one from systemd, or a Unix socket, is shared by all."""

    kind: str
    address: str  # as in the file
    endpoint: Endpoint  # as bound: with the real port
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same port in other settings."""
        return self.kind, self.address

    def of_worker(self, number: int) -> socket.socket:
        """The socket of a worker."""
        return self.sockets[number % len(self.sockets)]

    def close(self) -> None:
        """Nobody may connect any more."""
        for bound in self.sockets:
            bound.close()
        if self.endpoint.path:
            _remove_socket(self.endpoint.path)


def bind_all(
    listeners: Iterable[ListenerSettings], workers_count: int, given: Mapping[Endpoint, socket.socket]
) -> list[Port]:
    """A port for each listener; PortError for the first that cannot be, and then none is bound.
    `given` are sockets of systemd."""
    ports: list[Port] = []
    try:
        for listener in listeners:
            ports.append(bind(listener.kind, listener.address, workers_count, given))
    except PortError:
        for port in ports:
            port.close()
        raise
    return ports


def bind(
    kind: str, address: str, sockets_count: int, given: Mapping[Endpoint, socket.socket] | None = None
) -> Port:
    """One port. A bound socket of systemd is used where it has this address."""
    endpoint = parse_endpoint(address)
    held = _held(endpoint, given or {})
    if held is not None:
        return Port(kind, address, endpoint, [held])
    try:
        if endpoint.path:
            return Port(kind, address, endpoint, [_bind_unix(endpoint.path)])
        return _bind_tcp(kind, address, endpoint, sockets_count)
    except OSError as error:
        raise _port_error(kind, endpoint, error) from None


def _held(endpoint: Endpoint, given: Mapping[Endpoint, socket.socket]) -> socket.socket | None:
    """The socket of systemd for an address; its [::]:25 serves 0.0.0.0:25 as well."""
    if endpoint in given:
        return given[endpoint]
    if endpoint.host in ("0.0.0.0", "::"):
        return given.get(Endpoint("::", endpoint.port))
    return None


def _bind_tcp(kind: str, address: str, endpoint: Endpoint, sockets_count: int) -> Port:
    family, _, _, _, name = socket.getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    host = str(name[0])
    first = _tcp(family, host, endpoint.port, is_shared=False)  # fails when anybody has the port
    port = int(first.getsockname()[1])
    if sockets_count == 1:
        bound = [first]
    else:
        first.close()
        bound = [_tcp(family, host, port, is_shared=True) for _ in range(sockets_count)]
    for each in bound:
        each.listen(BACKLOG)
    return Port(kind, address, Endpoint(endpoint.host, port), bound)


def _tcp(family: int, host: str, port: int, *, is_shared: bool) -> socket.socket:
    # The protocol is named, or asyncio would not know TCP and leave Nagle's algorithm on.
    bound = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # [::] and 0.0.0.0 are two
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _bind_unix(path: str) -> socket.socket:
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        bound.bind(path)
        os.chmod(path, 0o666)  # as open as 127.0.0.1: the folder that it is in says who may
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens at; one that somebody does makes bind() fail."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            _remove_socket(path)
        except OSError:
            pass


def _remove_socket(path: str) -> None:
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except OSError:
        pass  # gone, or not ours to remove: whoever binds it next says so


def _port_error(kind: str, endpoint: Endpoint, error: OSError) -> PortError:
    what = f"cannot listen on {endpoint} ({kind})"
    if error.errno == errno.EADDRINUSE:
        look = f" (which: ss -ltnp 'sport = :{endpoint.port}')" if endpoint.port else ""
        return PortError(
            f"{what}: another program has that port{look}. End it, or choose another address.", 69
        )
    if error.errno == errno.EACCES and 0 < endpoint.port < 1024:
        return PortError(
            f"{what}: ports below 1024 are for root. Start as root (rights are dropped at once), use the"
            " systemd unit in packaging/, or choose a port above.",
            77,
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return PortError(f"{what}: this machine does not have that address (see: ip addr).", 69)
    return PortError(f"{what}: {error.strerror or error}", 71)
