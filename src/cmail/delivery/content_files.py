"""Content that stands in a file, read in pieces by a few threads: never in the loop, never all at once."""

import asyncio
import os
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

PIECE_OCTETS: Final = 256 * 1024
_THREADS: Final = 4  # two cores and a disk: more of them would only wait for each other

_pool: ThreadPoolExecutor | None = None


async def pieces(path: str) -> AsyncGenerator[bytes, None]:
    """The octets of a file in order; the next piece is read while the one before is being sent.
    OSError when it cannot be read."""
    loop = asyncio.get_running_loop()
    pool = _threads()
    descriptor, piece = await loop.run_in_executor(pool, _open, path)
    coming: asyncio.Future[bytes] | None = None
    try:
        while piece:
            if descriptor >= 0:
                coming = loop.run_in_executor(pool, os.read, descriptor, PIECE_OCTETS)
            yield piece
            piece = await coming if coming is not None else b""
            coming = None
    finally:
        if descriptor >= 0:
            _close_after(coming, descriptor)


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="content")
    return _pool


def _open(path: str) -> tuple[int, bytes]:
    """The first piece, and the open file when there is more (-1: that was all)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        piece = os.read(descriptor, min(size, PIECE_OCTETS))
        if len(piece) == size:
            os.close(descriptor)
            return -1, piece
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, piece


def _close_after(coming: "asyncio.Future[bytes] | None", descriptor: int) -> None:
    """Not while a thread still reads from it: the number could mean another file by then."""
    if coming is None or coming.done():
        os.close(descriptor)
    else:
        coming.add_done_callback(lambda _: os.close(descriptor))
