"""string: a text of the settings, as it stands there, to a port; what comes back is shown."""

import asyncio
from typing import Final

from cmail.link.kicks.reach import UnreachedError, leave, reach, read_answer, words_of
from cmail.link.kicks.target import KickResult, Target, not_now, refused, sent, shown
from cmail.link.kicks.texts import unescape

QUIET_S: Final = 5.0  # who has answered and is silent for so long has said all


async def string(target: Target, quiet_s: float = QUIET_S) -> KickResult:
    """Connect, send, read until it closes or is silent."""
    where = target.where
    try:
        octets = unescape(target.text)
    except ValueError as error:
        return refused(f"kick: {target.text!r} cannot be sent: {error}")
    try:
        async with asyncio.timeout(target.timeout_s):
            return await _say(target, octets, quiet_s)
    except TimeoutError:
        return not_now(f"kick: {where} did not answer in {target.timeout_s:.0f} s")
    except UnreachedError as error:
        return not_now(f"kick: {where} cannot be reached: {error}")
    except OSError as error:
        return not_now(f"kick: {where} broke off: {words_of(error)}")


async def _say(target: Target, octets: bytes, quiet_s: float) -> KickResult:
    reader, writer = await reach(target)
    try:
        writer.write(octets)
        await writer.drain()
        answer = await read_answer(reader, quiet_s)
    finally:
        leave(writer)
    return sent(f"kick: {target.where} was told {target.text!r} and said: {shown(answer)}")
