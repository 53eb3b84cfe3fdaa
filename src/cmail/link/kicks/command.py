"""command: a program of the settings, without a shell; bounded in time and in what it may say."""

import asyncio
import contextlib
import os
import signal

from cmail.link.kicks.target import ANSWER_OCTETS_MAX, KickResult, Target, not_now, refused, sent, shown

_GRACE_S = 1.0  # for the last words of who has ended; a child of his may hold the pipe open for ever


async def command(target: Target) -> KickResult:
    """Run it and wait for its end; 0 means that it worked."""
    program = target.command[0] if target.command else ""
    try:
        process = await asyncio.create_subprocess_exec(
            *target.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        return refused(f"kick: {program} cannot be run: {words}")
    assert process.stdout is not None
    said = bytearray()
    reading = asyncio.create_task(_read(process.stdout, said), name="kick command")
    try:
        async with asyncio.timeout(target.timeout_s):
            code = await process.wait()
        await asyncio.wait([reading], timeout=_GRACE_S)
    except TimeoutError:
        return not_now(f"kick: {program} did not end in {target.timeout_s:.0f} s and was stopped")
    finally:
        if process.returncode is None:
            await _kill(process)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    if code:
        return not_now(f"kick: {program} ended with {code} and said: {shown(bytes(said))}")
    return sent(f"kick: {program} ended well and said: {shown(bytes(said))}")


async def _read(stream: asyncio.StreamReader, said: bytearray) -> None:
    """Keep the beginning; the rest is read all the same, so that it can come to its end."""
    while piece := await stream.read(ANSWER_OCTETS_MAX):
        said += piece[: ANSWER_OCTETS_MAX - len(said)]


async def _kill(process: asyncio.subprocess.Process) -> None:
    """It and all that it has started; it is the leader of their session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
