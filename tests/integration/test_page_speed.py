"""A hundred thousand recipients wait, and each page of the menu answers within 50 ms: as many times that as this machine is
slow."""

import http.client
import re
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from cmail.admin.overview import FRESH_S
from cmail.web.page import MENU
from tests.integration.test_commands import good
from tests.support.full_queue import fill
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.machine import Slowness

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
        wait_for(lambda: re.search(r"100\D?000 recipients wait", page.get("/")), "all of them to be counted")
        slowness = Slowness()
        took = {path: page.best_ms(path, slowness) for path in [path for path, _ in MENU] + list(MORE)}
        print({path: round(ms, 1) for path, ms in took.items()}, f"slower by {slowness.factor:.2f}")
        assert {path: ms for path, ms in took.items() if ms > ENOUGH_MS * slowness.factor} == {}


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

    def best_ms(self, path: str, slowness: Slowness) -> float:
        """Of several looks, each when what the page knew is too old to be shown again (FRESH_S): all that it shows
        is asked for anew. Of more looks, when the machine is busy with something else."""
        best, until, looks = 1e9, time.monotonic() + PATIENCE_S / len(MENU), 0
        while looks < LOOKS or (best > ENOUGH_MS and time.monotonic() < until):
            slowness.look()
            time.sleep(FRESH_S * 1.1)
            began = time.perf_counter()
            self.get(path)
            best = min(best, (time.perf_counter() - began) * 1000)
            looks += 1
        return best
