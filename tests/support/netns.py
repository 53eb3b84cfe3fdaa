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
        """What is sent is lost, and nothing shows it."""
        self.there("route", "add", "blackhole", f"{self._wires[name]}.1/32")

    def speak(self, name: str) -> None:
        """It carries again."""
        self.there("route", "del", "blackhole", f"{self._wires[name]}.1/32")

    @property
    def prefix(self) -> list[str]:
        """What a command begins with to run here."""
        return ["ip", "netns", "exec", self.here_name]

    def inside(self, function: Callable[[], Result]) -> Result:
        """Run a function in a thread whose sockets are here."""
        found: list[Any] = []

        def work() -> None:
            try:
                _enter(self.here_name)
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
    whose sockets are there."""

    def __init__(self, net: Net, *servers: AbstractAsyncContextManager[Any]) -> None:
        self._net, self._servers = net, servers
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
            _enter(self._net.there_name)
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
