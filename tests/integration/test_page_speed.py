"""A hundred thousand recipients wait, and each page of the menu answers within 50 ms."""

import http.client
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from cmail.admin.overview import FRESH_S
from cmail.web.page import MENU
from tests.integration.test_commands import good
from tests.support.house import SETTINGS, RunningCmail

PASSWORD = "correct horse battery"
ENOUGH_MS = 50.0
LOOKS = 3
PATIENCE_S = 100.0  # others may work on this machine: the best of what is measured counts
MORE = ("/queue?state=held", "/queue?to=u77777", "/queue?domain=example.net", "/users", "/password")


@pytest.mark.limit(400)
def test_a_page_takes_no_longer_than_50_ms(tmp_path: Path) -> None:
    """Every page of the menu, lists and filters of the queue among them; the best of many looks is judged."""
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    house = RunningCmail(tmp_path, settings=settings)
    house.start()
    house.stop()
    fill(house)
    with house:
        good(house, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        page = Page(house)
        assert re.search(r"100\D?000 recipients wait", page.get("/"))
        took = {path: page.best_ms(path) for path in [path for path, _ in MENU] + list(MORE)}
        print({path: round(ms, 1) for path, ms in took.items()})
        assert {path: ms for path, ms in took.items() if ms > ENOUGH_MS} == {}


class Page:
    """Somebody who is logged in, on one connection."""

    def __init__(self, house: RunningCmail) -> None:
        self._client = http.client.HTTPConnection("127.0.0.1", house.port("admin"), timeout=60)
        self._cookie = ""
        body = urlencode({"password": PASSWORD})
        self._client.request("POST", "/login", body, {"content-type": "application/x-www-form-urlencoded"})
        answer = self._client.getresponse()
        answer.read()
        self._cookie = answer.headers["set-cookie"].partition(";")[0]

    def get(self, path: str) -> str:
        self._client.request("GET", path, headers={"cookie": self._cookie})
        answer = self._client.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, (path, answer.status)
        return text

    def best_ms(self, path: str) -> float:
        """Of several looks, each when what the page knew is too old to be shown again (FRESH_S): all that it shows
        is asked for anew. Of more looks, when the machine is busy with something else."""
        best, until, looks = 1e9, time.monotonic() + PATIENCE_S / len(MENU), 0
        while looks < LOOKS or (best > ENOUGH_MS and time.monotonic() < until):
            time.sleep(FRESH_S * 1.1)
            began = time.perf_counter()
            self.get(path)
            best = min(best, (time.perf_counter() - began) * 1000)
            looks += 1
        return best


def fill(house: RunningCmail) -> None:
    """50,000 messages in each of two shards, as the server's user writes them."""
    entry = house.data.stat()
    code = (
        "import asyncio, os, sys\n"
        "from cmail.mail.address import parse_address as address\n"
        "from cmail.mail.content import from_plain\n"
        "from cmail.mail.envelope import Envelope, Recipient\n"
        "from cmail.net.clock import RealClock\n"
        "from cmail.storage.spool import NewMessage\n"
        "from cmail.storage.spool_sqlite import SqliteSpool\n"
        "os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[3]))\n"
        "async def fill(shard):\n"
        "    spool = SqliteSpool.open(sys.argv[1], shard, RealClock())\n"
        "    for page in range(25):\n"
        "        await asyncio.gather(*(spool.accept(message(spool, page * 2000 + n)) for n in range(2000)))\n"
        "    await spool.close()\n"
        "NOW = RealClock().wall_ms()\n"
        "def message(spool, number):\n"
        "    to = Recipient(address(b'u%d@example.net' % number))\n"
        "    envelope = Envelope(address(b'anna@example.org'), (to,))\n"
        "    content = from_plain(b'Subject: hello\\n\\nHello.\\n')\n"
        "    return NewMessage(spool.new_queue_id(), envelope, content, ('relay',), NOW, NOW, 1 << 60)\n"
        "asyncio.run(fill(0)); asyncio.run(fill(1))\n"
    )
    arguments = [str(house.data / "spool"), str(entry.st_gid), str(entry.st_uid)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
