"""A plain connection to the first address of a target that answers; say(): one sentence and its answer."""

import asyncio
from typing import Final

from cmail.link.kicks.target import ANSWER_OCTETS_MAX, KickResult, Target, not_now, sent, shown

ADDRESSES_MAX: Final = 6  # tried one after the other

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class UnreachedError(Exception):
    """Nobody answers there; the text says why."""


async def reach(target: Target) -> Streams:
    """The streams of a connection; UnreachedError."""
    why = "it has no address"
    ways = [(address, port) for port in target.ports for address in target.addresses[:ADDRESSES_MAX]]
    for address, port in ways:
        try:
            async with asyncio.timeout(share_s(target.timeout_s, len(ways))):
                return await asyncio.open_connection(str(address), port)
        except TimeoutError:
            why = "it does not answer"
        except OSError as error:
            why = (error.strerror or str(error)).lower()
    raise UnreachedError(why)


def share_s(all_s: float, ways_count: int) -> float:
    """How long one of several ways may be silent: the others have their turn, and time is left to talk."""
    return all_s / (ways_count + 1) if ways_count > 1 else all_s


async def say(target: Target, octets: bytes, quiet_s: float | None = None) -> KickResult:
    """Connect, send, read the answer; bounded in time and size."""
    where = target.where
    try:
        async with asyncio.timeout(target.timeout_s):
            answer = await _say(target, octets, quiet_s)
    except TimeoutError:
        return not_now(f"kick: {where} did not answer in {target.timeout_s:.0f} s")
    except UnreachedError as error:
        return not_now(f"kick: {where} cannot be reached: {error}")
    except OSError as error:
        return not_now(f"kick: {where} broke off: {error.strerror or str(error) or type(error).__name__}")
    return sent(f"kick: {where} was told {target.text!r} and said: {shown(answer)}")


async def _say(target: Target, octets: bytes, quiet_s: float | None) -> bytes:
    reader, writer = await reach(target)
    try:
        writer.write(octets)
        await writer.drain()
        return await read_answer(reader, quiet_s)
    finally:
        leave(writer)


async def read_answer(reader: asyncio.StreamReader, quiet_s: float | None = None) -> bytes:
    """What it says: to its end, to the bound, or (with quiet_s) until it has been quiet for so long.
    OSError when it broke off and had said nothing."""
    answer = b""
    while len(answer) < ANSWER_OCTETS_MAX:
        try:
            async with asyncio.timeout(quiet_s):
                piece = await reader.read(ANSWER_OCTETS_MAX - len(answer))
        except TimeoutError:
            if quiet_s is None:
                raise  # the time of the whole kick is over
            break
        except OSError:
            if not answer:
                raise
            break
        if not piece:
            break
        answer += piece
    return answer


def leave(writer: asyncio.StreamWriter) -> None:
    """Close in order; who does not even take our line is not waited for."""
    if writer.transport.get_write_buffer_size():
        writer.transport.abort()
    else:
        writer.close()
