"""Handshakes: how many clients may shake hands for TLS at once; the others wait for their turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cmail.mail import limits
from cmail.smtpd.context import Client
from cmail.smtpd.guests import Guests


class Handshakes:
    """Who is of our own networks, or of an address that somebody has logged in from, never waits."""

    def __init__(self, guests: Guests, at_once: int) -> None:
        self._guests = guests
        self._at_once = at_once
        self.count = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def update(self, at_once: int) -> None:
        """Another limit."""
        self._at_once = at_once
        self._call()

    @asynccontextmanager
    async def turn(self, client: Client) -> AsyncIterator[float]:
        """Wait until it may begin (TimeoutError: too long); how long it may then take."""
        if self.count >= self._at_once and not self._guests.is_trusted(client):
            await self._wait()
        self.count += 1
        is_crowded = self.count * 2 > self._at_once or self._guests.is_crowded(client)
        try:
            yield limits.CROWDED_HANDSHAKE_TIMEOUT_S if is_crowded else limits.TLS_HANDSHAKE_TIMEOUT_S
        finally:
            self.count -= 1
            self._call()

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(limits.TLS_HANDSHAKE_TIMEOUT_S):
                await turn
        except BaseException:
            self._call()
            raise

    def _call(self) -> None:
        """Let those go on for whom there is room now."""
        free = self._at_once - self.count
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
