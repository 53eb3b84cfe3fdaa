"""Free ports of loopback for servers that cannot be given a bound socket."""

import contextlib
import random
import socket
import time
from typing import Final

# Below those that the system gives to connections and to who asks for any port (32768 and more, Linux): nobody
# comes to have one between the moment when it is found free and the one when it is bound.
_OURS: Final = range(20_000, 32_000)
_CHANCE: Final = random.SystemRandom()
_GIVEN: Final[set[int]] = set()


def free_port(address: str = "0.0.0.0") -> int:
    """A port that is free, by TCP and UDP, and stays so: nobody here is given it twice."""
    while True:
        port = _CHANCE.choice(_OURS)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            if port in _GIVEN:
                continue
            try:
                stream.bind((address, port))
                datagrams.bind((address, port))
            except OSError:
                continue
        _GIVEN.add(port)
        return port


def wait_for_port(port: int, seconds: float = 60.0, address: str = "127.0.0.1") -> None:
    """Until somebody listens there; TimeoutError when nobody does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on {address}:{port} after {seconds} s")
