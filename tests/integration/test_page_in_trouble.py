"""The page crashes, or hangs: mail goes on as if nothing were, and the page is there again."""

import os
import signal
import smtplib
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

COUNT = 60
SLOW_S = 20.0  # a reply that takes so long would mean that somebody waits for the page


@pytest.mark.limit(400)
def test_mail_flows_while_the_page_is_killed_and_hangs(tmp_path: Path) -> None:
    """Messages are taken, delivered here and sent on while the admin process is ended by force and while it stands
    still; every one arrives once, each reply comes in time, no other process was started again. Afterwards the page
    answers, and the commands never stopped to."""
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with Peers() as peers:
        sink = peers.start(SinkMx())
        more = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\ntls = "none"\n'
        with RunningCmail(tmp_path, settings=settings, more=more) as house:
            send(house, "healthy")
            before = processes(house)
            os.kill(before["admin"]["pid"], signal.SIGKILL)
            send(house, "killed")
            wait_for(lambda: is_back(house, before["admin"]["pid"]), "the page to be started again")

            hanging = processes(house)["admin"]["pid"]
            os.kill(hanging, signal.SIGSTOP)
            try:
                send(house, "hanging")
                wait_for(lambda: len(sink.taken) == 3 * COUNT, "all at the upstream server")
                assert len(house.wait_for_mail("anna@example.org", 3 * COUNT)) == 3 * COUNT
                wait_for(lambda: not house.queue(), "the queue to be empty: the workers tell it all the same")
            finally:
                os.kill(hanging, signal.SIGCONT)
            wait_for(lambda: answers(house), "the page to answer")
            after = processes(house)
            others = {name for name in before if name != "admin"}
            assert {n: after[n]["pid"] for n in others} == {n: before[n]["pid"] for n in others}


def send(house: RunningCmail, words: str) -> None:
    """To somebody here and somebody elsewhere, COUNT messages on one connection; no reply may take long."""
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=SLOW_S) as client:
        for number in range(COUNT):
            began = time.monotonic()
            text = f"From: bob@example.net\r\nSubject: {words} {number}\r\n\r\nHello.\r\n"
            client.sendmail("bob@example.net", ["anna@example.org", f"u{number}@example.com"], text)
            assert time.monotonic() - began < SLOW_S


def processes(house: RunningCmail) -> dict[str, dict[str, Any]]:
    return {child["name"]: child for child in house.status()["children"]}


def is_back(house: RunningCmail, before: int) -> bool:
    admin = processes(house)["admin"]
    return admin["state"] == "running" and admin["pid"] != before and answers(house)


def answers(house: RunningCmail) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{house.port('admin')}/login", timeout=60) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
