"""Asks a time server over UDP how wrong our clock is."""

import asyncio
import os
import time
from collections.abc import Callable

from cmail.protocol.sntp import Reading, question, read_answer
from cmail.world import IPAddress

PORT = 123


class _Waiting(asyncio.DatagramProtocol):
    """One question, the first answer; when it came is taken right there."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        self._wall_s = wall_s
        self.answer: asyncio.Future[tuple[bytes, float]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.answer.done():
            self.answer.set_result((data, self._wall_s()))

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def ask_time(
    address: IPAddress, port: int = PORT, *, timeout_s: float = 3.0, wall_s: Callable[[], float] = time.time
) -> Reading:
    """One server. OSError, TimeoutError: it does not answer; SntpError: what it says cannot be used."""
    loop = asyncio.get_running_loop()
    transport, waiting = await loop.create_datagram_endpoint(
        lambda: _Waiting(wall_s), remote_addr=(str(address), port)
    )
    nonce = os.urandom(8)
    try:
        sent_s = wall_s()
        transport.sendto(question(nonce))
        async with asyncio.timeout(timeout_s):
            octets, received_s = await waiting.answer
    finally:
        waiting.answer.cancel()
        transport.close()
    return read_answer(octets, nonce, sent_s, received_s)
