"""finger: our domain and CRLF to the finger port, the answer read to its end (RFC 1288 §2.2)."""

import asyncio

from cmail.link.kicks.reach import UnreachedError, leave, reach, read_answer, words_of
from cmail.link.kicks.target import KickResult, Target, is_one_line, not_now, refused, sent, shown


async def finger(target: Target) -> KickResult:
    """Connect, send the text, read to the end; bounded in time and size."""
    where, text = target.where, target.text
    if not is_one_line(text):
        return refused(f"kick: {text!r} cannot be sent as one line")
    try:
        async with asyncio.timeout(target.timeout_s):
            return await _finger(target)
    except TimeoutError:
        return not_now(f"kick: {where} did not answer in {target.timeout_s:.0f} s")
    except UnreachedError as error:
        return not_now(f"kick: {where} cannot be reached: {error}")
    except OSError as error:
        return not_now(f"kick: {where} broke off: {words_of(error)}")


async def _finger(target: Target) -> KickResult:
    reader, writer = await reach(target)
    try:
        writer.write(target.text.encode("ascii") + b"\r\n")
        await writer.drain()
        answer = await read_answer(reader)
    finally:
        leave(writer)
    return sent(f"kick: {target.where} was told {target.text!r} and said: {shown(answer)}")
