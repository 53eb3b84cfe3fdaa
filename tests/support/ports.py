"""Free ports of loopback for servers that cannot be given a bound socket."""

import contextlib
import socket
import time


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody had a moment ago."""
    with socket.create_server((address, 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20.0, address: str = "127.0.0.1") -> None:
    """Until somebody listens there; TimeoutError when nobody does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on {address}:{port} after {seconds} s")
