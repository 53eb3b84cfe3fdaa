"""A queue of 100,000 messages, that nobody wants to wait for: written as the server's user would write them."""

import subprocess
import sys
from typing import Final

from tests.support.house import RunningCmail

_FILL: Final = """
import asyncio, os, sys
from cmail.mail.address import parse_address as address
from cmail.mail.content import from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.net.clock import RealClock
from cmail.storage.spool import NewMessage
from cmail.storage.spool_sqlite import SqliteSpool
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[3]))
NOW = RealClock().wall_ms()
async def fill(shard):
    spool = SqliteSpool.open(sys.argv[1], shard, RealClock())
    for page in range(25):
        await asyncio.gather(*(spool.accept(message(spool, page * 2000 + n)) for n in range(2000)))
    await spool.close()
def message(spool, number):
    to = Recipient(address(b'u%d@example.net' % number))
    envelope = Envelope(address(b'anna@example.org'), (to,))
    content = from_plain(b'Subject: hello\\n\\nHello.\\n')
    return NewMessage(spool.new_queue_id(), envelope, content, ('relay',), NOW, NOW, 1 << 60)
asyncio.run(fill(0)); asyncio.run(fill(1))
"""


def fill(house: RunningCmail) -> None:
    """50,000 in each of two shards, due never; while it does not run, after it has run once."""
    entry = house.data.stat()
    arguments = [str(house.data / "spool"), str(entry.st_gid), str(entry.st_uid)]
    subprocess.run([sys.executable, "-c", _FILL, *arguments], check=True)
