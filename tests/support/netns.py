"""Net: two network namespaces with wires between them, which a test cuts as a cable is cut, or in silence.

`here` is where a server runs, `there` is the Internet with its hosts. Made by root with ip(8), removed at
the end; nothing outside of them is touched."""

import asyncio
import contextlib
import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Self, TypeVar

FAR: Final = "10.77.0.1"  # a host of the Internet, behind every wire
NOBODY: Final = "02:00:00:00:00:99"  # a station that is on no wire
_CLONE_NEWNET: Final = 0x40000000
_NUMBERS: Final = itertools.count(1)
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")


class Net:
    """`with Net() as net: net.wire("fibre")`."""

    def __init__(self) -> None:
        name = f"cmail-{os.getpid()}-{next(_NUMBERS)}"
        self.here_name, self.there_name = f"{name}h", f"{name}t"
        self._wires: dict[str, str] = {}  # by name: the beginning of its addresses

    def __enter__(self) -> Self:
        for name in (self.here_name, self.there_name):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        self.there("addr", "add", f"{FAR}/32", "dev", "lo")
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.here_name, self.there_name):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def wire(self, name: str, *, metric: int = 0) -> None:
        """A wire with carrier, addresses 10.N.0.1 here and 10.N.0.2 there, and a default route by it."""
        net = self._wires[name] = f"10.{len(self._wires) + 1}.0"
        ends = ["netns", self.here_name, "type", "veth", "peer", "name", name, "netns", self.there_name]
        _run("ip", "link", "add", name, *ends)
        self.there("addr", "add", f"{net}.2/24", "dev", name)
        self.there("link", "set", name, "up")
        self.here("addr", "add", f"{net}.1/24", "dev", name)
        self.here("link", "set", name, "up")
        self.route(name, metric=metric)

    def route(self, name: str, *, metric: int = 0) -> None:
        """The default route by a wire."""
        self.here("route", "add", "default", "via", f"{self._wires[name]}.2", "metric", str(metric))

    def here(self, *arguments: str) -> None:
        """`ip` in the namespace of the server."""
        _run("ip", "-n", self.here_name, *arguments)

    def there(self, *arguments: str) -> None:
        """`ip` in the namespace of the Internet."""
        _run("ip", "-n", self.there_name, *arguments)

    def set_here(self, name: str, value: str) -> None:
        """A setting of the kernel (sysctl) in the namespace of the server."""
        path = "/proc/sys/" + name.replace(".", "/")
        _run(*self.prefix, "sh", "-c", f'echo "$1" > "{path}"', "sh", value)

    def cut(self, name: str) -> None:
        """Pull the cable at its far end: no carrier here."""
        self.there("link", "set", name, "down")

    def join(self, name: str) -> None:
        """Put it back."""
        self.there("link", "set", name, "up")

    def silence(self, name: str) -> None:
        """What is sent is lost, both ways, and nothing shows it: the frames go to a station that is not there."""
        for side, ip in self._neighbours(name):
            side("neigh", "replace", ip, "lladdr", NOBODY, "dev", name, "nud", "permanent")

    def speak(self, name: str) -> None:
        """It carries again."""
        for side, ip in self._neighbours(name):
            side("neigh", "flush", "to", ip, "dev", name, "nud", "permanent")

    def readdress(self, name: str, host: int) -> None:
        """As after another dialling in: an address here that is not the one of before, and a route with it."""
        net = self._wires[name]
        self.here("addr", "flush", "dev", name)
        self.here("addr", "add", f"{net}.{host}/24", "dev", name)
        self.route(name)

    def _neighbours(self, name: str) -> list[tuple[Callable[..., None], str]]:
        net = self._wires[name]
        return [(self.here, f"{net}.2"), (self.there, f"{net}.1")]

    @property
    def prefix(self) -> list[str]:
        """What a command begins with to run here."""
        return ["ip", "netns", "exec", self.here_name]

    @property
    def prefix_there(self) -> list[str]:
        """What a command begins with to run there."""
        return ["ip", "netns", "exec", self.there_name]

    def lose_uplink(self) -> None:
        """The wires and the router at their end stay; behind it there is nothing, as the router says."""
        _run("ip", "netns", "exec", self.there_name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.there("addr", "del", f"{FAR}/32", "dev", "lo")

    def find_uplink(self) -> None:
        """The Internet is there again."""
        self.there("addr", "add", f"{FAR}/32", "dev", "lo")

    def inside(self, function: Callable[[], Result]) -> Result:
        """Run a function in a thread whose sockets, and whose programs, are here."""
        return self._within(self.here_name, function)

    def outside(self, function: Callable[[], Result]) -> Result:
        """Run a function in a thread whose sockets, and whose programs, are there."""
        return self._within(self.there_name, function)

    def _within(self, name: str, function: Callable[[], Result]) -> Result:
        found: list[Any] = []

        def work() -> None:
            try:
                _enter(name)
                found.append(function())
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]


class There:
    """Servers of the Internet: `with There(net, sink, dns):` each an async context manager, in a thread
    whose sockets are there; with `is_here` beside the server."""

    def __init__(self, net: Net, *servers: AbstractAsyncContextManager[Any], is_here: bool = False) -> None:
        self._place, self._servers = net.here_name if is_here else net.there_name, servers
        self._thread = threading.Thread(target=self._work)
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def call(self, function: Callable[[], object]) -> None:
        """Do something in the thread of the servers."""
        self._loop.call_soon_threadsafe(function)

    def _work(self) -> None:
        try:
            _enter(self._place)
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            for server in self._servers:
                await stack.enter_async_context(server)
            self._ready.set()
            await self._over.wait()


def _enter(name: str) -> None:
    """The thread that calls this has its sockets in a namespace from now on."""
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.setns(fd, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {name}")
    finally:
        os.close(fd)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{' '.join(command)}: {done.stderr}"
