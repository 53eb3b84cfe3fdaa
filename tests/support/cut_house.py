"""What the tests of a link that is cut have in common: a server whose upstream server is behind a wire, mail for
it, and a peer that knows when mail came.

All times are monotonic seconds."""

import asyncio
import json
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.house import PATIENCE_S, SETTINGS, RunningCmail, wait_for
from tests.support.netns import FAR, Net
from tests.support.sink_mx import Script, SinkMx, Taken

PORT: Final = 2525
UPSTREAM: Final = f'\n[smtp]\nhost = "{FAR}"\nport = {PORT}\n[smtp.advanced]\ntimeout = "2s"\n'
ANNA: Final = "anna@example.org"
SOON_S: Final = 15.0  # a machine with nothing else to do needs some 20 ms


class FarSink(SinkMx):
    """The upstream server. `came`: when it had each content whole; `addresses`: who was connected. The reply
    to a content takes `think_s`."""

    def __init__(self, script: Script | None = None, extensions: Sequence[str] = (), **more: Any) -> None:
        usual = ("PIPELINING", "8BITMIME", "SIZE 0", *extensions)
        super().__init__(dict(script or {}), usual, **{"host": FAR, "port": PORT, **more})
        self.came: list[float] = []
        self.addresses: list[str] = []
        self.resumed: list[bool] = []  # whether a TLS session was, at each MAIL; one connection at a time
        self.stages: list[tuple[str, float]] = []  # what it was about to answer, and when
        self.think_s = 0.0
        self.on_stage = self._on_stage

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """See SinkMx."""
        self.addresses.append(writer.get_extra_info("peername")[0])
        self._writer = writer
        await super().serve(reader, writer)

    def _on_stage(self, stage: str) -> None:
        self.stages.append((stage, time.monotonic()))
        self.delay_s = self.think_s if stage == "content" else 0.0
        if stage == "MAIL" and (tls := self._writer.get_extra_info("ssl_object")) is not None:
            self.resumed.append(bool(tls.session_reused))
        if stage == "content":
            self.came.append(time.monotonic())

    def subjects(self) -> list[str]:
        """Of what it has, in the order in which it came."""
        return [subject_of(taken) for taken in self.taken]


def subject_of(taken: Taken) -> str:
    """The field Subject."""
    return taken.content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()


def serve(net: Net, folder: Path, more: str = "", upstream: str = UPSTREAM, **options: Any) -> RunningCmail:
    """A server here."""
    return RunningCmail(folder, more=upstream + more, prefix=net.prefix, **options)


def serve_both_ways(net: Net, folder: Path, more: str) -> RunningCmail:
    """It takes mail from there, too, and notices within seconds when nothing answers."""
    settings = SETTINGS.replace("127.0.0.1:0", "0.0.0.0:25", 1)
    return serve(net, folder, '[link]\nprobe_every = "5s"\n' + more, settings=settings)


def give(
    net: Net,
    cmail: RunningCmail,
    subject: str = "hello",
    *said: str,
    size: int = 500,
    sender: str = ANNA,
    to: str = "bob@example.net",
    fields: str = "",
) -> None:
    """One message, with these parameters of MAIL."""
    port = cmail.port("smtp")
    body = f"From: {ANNA}\r\nSubject: {subject}\r\n{fields}\r\n" + ("x" * 70 + "\r\n") * (size // 72)

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.sendmail(sender, [to], body, mail_options=said)

    net.inside(send)


def status(cmail: RunningCmail) -> dict[str, Any]:
    """What the link process says, and the workers have heard."""
    return cmail.ask("link", "link.status", is_heard=True)


def wait_until_down(cmail: RunningCmail, timeout_s: float = PATIENCE_S) -> str:
    """Until all workers have been told; why, in words."""
    wait_for(lambda: status(cmail)["is_down"], "the link to be down", timeout_s)
    return str(status(cmail)["words"])


def wait_until_up(cmail: RunningCmail, timeout_s: float = PATIENCE_S) -> None:
    """Until all workers have been told."""
    wait_for(lambda: not status(cmail)["is_down"], "the link to be up", timeout_s)


def wait_until_taken(peer: SinkMx, count: int, what: str, timeout_s: float = PATIENCE_S) -> None:
    """Until the upstream server has so many messages."""
    wait_for(lambda: len(peer.taken) >= count, what, timeout_s)


def wait_until_empty(cmail: RunningCmail, timeout_s: float = PATIENCE_S) -> None:
    """Until nothing is in the queue."""
    wait_for(lambda: not cmail.queue(), "the queue to be empty", timeout_s)


def attempts(cmail: RunningCmail) -> dict[str, int]:
    """How often each recipient in the queue was tried, by its address."""
    return {row["to"]: row["attempts"] for row in cmail.queue()}


def tries(cmail: RunningCmail) -> list[int]:
    """How often each recipient in the queue was tried."""
    return [row["attempts"] for row in cmail.queue()]


def connections(cmail: RunningCmail) -> int:
    """That go out, of all workers."""
    workers = [child["name"] for child in cmail.status()["children"] if child["name"].startswith("worker-")]
    routes = [r for n in workers for r in cmail.ask(n, "status")["routes"]]
    return sum(route["connections"] for route in routes if route["route"] != "local")


def command(cmail: RunningCmail, *arguments: str, code: int = 0) -> str:
    """`cmail ...`, which ends with this code: what it prints."""
    line = [sys.executable, "-m", "cmail", *arguments, "--config", str(cmail.config)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr * bool(code)


def history(cmail: RunningCmail) -> list[dict[str, Any]]:
    """The exchanges, the newest first."""
    return json.loads(command(cmail, "link", "history", "--json"))  # type: ignore[no-any-return]


def is_open(cmail: RunningCmail) -> bool:
    """Whether an exchange goes on."""
    return bool(status(cmail)["exchange"]["is_open"])


def first_of(peer: FarSink, since: float) -> Callable[[], float]:
    """How long after a time the first content came; 0 when none has."""
    return lambda: next((at - since for at in peer.came if at >= since), 0.0)
