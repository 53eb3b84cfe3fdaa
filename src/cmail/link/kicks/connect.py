"""connect: open a connection and say nothing; for servers to whom our address is enough."""

import asyncio
from typing import Final

from cmail.link.kicks.reach import UnreachedError, leave, reach, read_answer
from cmail.link.kicks.target import KickResult, Target, not_now, sent, shown

QUIET_S: Final = 2.0  # it may say something, or nothing


async def connect(target: Target, quiet_s: float = QUIET_S) -> KickResult:
    """Connect, listen for a moment, close."""
    where = target.where
    try:
        async with asyncio.timeout(target.timeout_s):
            reader, writer = await reach(target)
    except TimeoutError:
        return not_now(f"kick: {where} did not answer in {target.timeout_s:.0f} s")
    except UnreachedError as error:
        return not_now(f"kick: {where} cannot be reached: {error}")
    try:
        async with asyncio.timeout(target.timeout_s):
            answer = await read_answer(reader, quiet_s)
    except (TimeoutError, OSError):
        answer = b""  # there was a connection, and that was all that was wanted
    finally:
        leave(writer)
    return sent(f"kick: there was a connection to {where}, and it said: {shown(answer)}")
