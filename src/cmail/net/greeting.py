"""Connects to an SMTP server, reads its greeting and says good-bye."""

import asyncio
import contextlib
from typing import Final

from cmail.world import IPAddress

LINE_MAX: Final = 2048
QUIT_S: Final = 1.0


async def greeting(address: IPAddress, port: int, *, timeout_s: float) -> str:
    """The first line that it says. OSError: there is no connection; TimeoutError: it is silent."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(str(address), port, limit=LINE_MAX)
        try:
            line = await reader.readline()
        except ValueError:
            line = b""
        finally:
            writer.write(b"QUIT\r\n")
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(QUIT_S):
                    await reader.read(LINE_MAX)
            writer.close()
    return "".join(c if c.isprintable() else "?" for c in line.decode("utf-8", "replace").rstrip("\r\n"))
