"""The spool's process is killed at any moment: what was acknowledged is there, once."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cmail.mail.queue_id import parse_queue_id
from cmail.storage.spool import QueueFilter
from cmail.storage.spool_sqlite import SqliteSpool
from tests.support.clock import FakeClock

# Accepts and settles without end; says each queue id on a line of its own once it is durable.
PROGRAM = """
import asyncio, os, sys
from cmail.mail.address import Address
from cmail.mail.content import Content, from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.queue_id import print_queue_id
from cmail.net.clock import RealClock
from cmail.storage.spool import Final, NewMessage, RecipientState, Settlement
from cmail.storage.spool_sqlite import SqliteSpool

spool = SqliteSpool.open(sys.argv[1], 0, RealClock())
envelope = Envelope(None, (Recipient(Address("bob", "example.net")),))

def say(word, queue_id):
    os.write(1, f"{word} {print_queue_id(queue_id)}\\n".encode())

async def lane(number):
    while True:
        queue_id = spool.new_queue_id()
        content = from_plain(b"x" * 3000)
        if number % 3 == 0:
            path = spool.content_path(queue_id)
            with open(path, "xb") as file:
                file.write(content.octets)
            content = Content(b"", b"", content.size_bytes, path, len(content.octets))
        await spool.accept(NewMessage(queue_id, envelope, content, ("relay",), 1, 1))
        say("accepted", queue_id)
        if number % 2:
            say("settling", queue_id)
            done = (Final(0, RecipientState.DELIVERED),)
            await spool.settle(Settlement(queue_id, done, is_whole=True))
            say("settled", queue_id)

async def main():
    await asyncio.gather(*(lane(n) for n in range(12)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 50, 333, 1000])
def test_what_was_said_holds(tmp_path: Path, lines: int) -> None:
    """Killed after so many lines: each accepted one is queued, no settled one is, all are whole."""
    said: dict[str, set[int]] = {"accepted": set(), "settling": set(), "settled": set()}
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for number, line in enumerate(child.stdout):
        if number == lines:
            os.kill(child.pid, signal.SIGKILL)
        word, _, queue_id = line.strip().partition(" ")
        said[word].add(parse_queue_id(queue_id))
    child.wait()

    files: dict[int, str] = {}

    async def look() -> set[int]:
        spool = SqliteSpool.open(str(tmp_path), 0, FakeClock())
        entries = await spool.select(QueueFilter(), 100_000)
        for entry in entries:
            message = await spool.message(entry.queue_id)
            assert message is not None and message.content.size_bytes == 3002
            files[entry.queue_id] = message.content.path
        await spool.close()
        return {entry.queue_id for entry in entries}

    there = asyncio.run(look())
    assert all(not path or os.path.getsize(path) == 3002 for path in files.values())
    assert said["accepted"] - said["settling"] <= there
    assert not said["settled"] & there
