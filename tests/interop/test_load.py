"""Many messages at once: Postfix's smtp-source sends, they are in the mailbox or upstream, each once."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROGRAM_PATH
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.sink_mx import SinkMx
from tests.support.threads import in_thread

COUNT = 500
QUEUED = re.compile(rb"\bid ([0-9A-Z]+)")


def smtp_source(port: int, to: str, *words: str) -> None:
    """Send COUNT messages of 4 KiB by 20 sessions."""
    command = ["smtp-source", *words, "-s", "20", "-l", "4096", "-m", str(COUNT), "-f", "x@example.net"]
    done = subprocess.run(
        [*command, "-t", to, f"127.0.0.1:{port}"],
        capture_output=True,
        timeout=200,
        env={"PATH": PROGRAM_PATH},
    )
    assert done.returncode == 0, done.stderr.decode()


def queue_ids(messages: list[bytes]) -> set[bytes]:
    """Of our Received field on top of each."""
    found = [QUEUED.search(message) for message in messages]
    assert all(found)
    return {match.group(1) for match in found if match}


@pytest.mark.needs("smtp-source")
@pytest.mark.parametrize("words", [["-d"], [], ["-L", "-d"]], ids=["reused", "a connection each", "LMTP"])
def test_bulk_into_a_mailbox(tmp_path: Path, words: list[str]) -> None:
    """Every message of a bulk client is accepted, arrives, and none arrives twice."""
    settings = SETTINGS + '\n[[listener]]\nkind = "lmtp"\naddress = "127.0.0.1:0"\n'
    with RunningCmail(tmp_path, settings=settings) as cmail:
        smtp_source(cmail.port("lmtp" if "-L" in words else "smtp"), "anna@example.org", *words)
        found = cmail.wait_for_mail("anna@example.org", COUNT)
        wait_for(lambda: not cmail.queue(), "an empty queue")
        assert len(cmail.mailbox("anna@example.org")) == COUNT == len(queue_ids(found))


@pytest.mark.needs("smtp-source")
def test_bulk_to_the_upstream_server(tmp_path: Path) -> None:
    """'Connection reuse, pipelining across messages': every message goes on, once, by few connections."""
    with in_thread(SinkMx()) as sink:
        more = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n[smtp.advanced]\nconnections = 6\n'
        with RunningCmail(tmp_path, more=more) as cmail:
            smtp_source(cmail.port("smtp"), "b@example.net", "-d")
            wait_for(lambda: len(sink.taken) >= COUNT, "all messages upstream")
            wait_for(lambda: not cmail.queue(), "an empty queue")
            assert len(sink.taken) == COUNT == len(queue_ids([taken.content for taken in sink.taken]))
            assert sink.connections <= 12


@pytest.mark.needs("smtp-source")
def test_bulk_while_a_worker_dies(tmp_path: Path) -> None:
    """A worker that is killed in the middle costs no message that was accepted."""
    with in_thread(SinkMx(delay_s=0.002)) as sink:
        more = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n'
        with RunningCmail(tmp_path, more=more) as cmail:
            smtp_source(cmail.port("smtp"), "b@example.net", "-d")
            before = cmail.pid("worker-0")
            subprocess.run(["kill", "-KILL", str(before)], check=True)
            wait_for(lambda: is_another(cmail, before), "another worker")
            wait_for(lambda: not cmail.queue(), "an empty queue")
            assert len(queue_ids([taken.content for taken in sink.taken])) == COUNT


def is_another(cmail: RunningCmail, before: int) -> bool:
    """Whether a process other than the one with this id is worker-0, and serves (by one look at both)."""
    child = next(each for each in cmail.status()["children"] if each["name"] == "worker-0")
    return child["state"] == "running" and child["pid"] not in (0, before)
