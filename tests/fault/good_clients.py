"""Good clients: honest people and servers, timed while others attack; a process beside the server.

`own` (127.0.0.1, of relay.networks) and `server` (127.9.9.9, a stranger) make a new connection for each message;
`mail program` logs in under TLS from the office's address, where 60 people work who log in too. Timed from
connect() to the 250 of the final dot."""

import json
import smtplib
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[2]
OFFICE: Final = "127.8.8.8"
PEOPLE: Final = 60
SOURCES: Final = {"own": "127.0.0.1", "server": "127.9.9.9", "mail program": OFFICE}
PACE_S: Final = 0.1  # between two messages of a timed client
OFFICE_PACE_S: Final = 12.0  # between two of one of the 60


@dataclass
class Told:
    """What they have to tell."""

    times: dict[str, list[float]] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)  # tag: queue id
    troubles: list[str] = field(default_factory=list)

    def quantile(self, name: str, part: float) -> float:
        """p50 is 0.5; 1 the worst."""
        found = sorted(self.times[name])
        return found[min(len(found) - 1, int(len(found) * part))]

    def words(self, name: str) -> str:
        """Its figures."""
        p50, p99, worst = (1000 * self.quantile(name, part) for part in (0.5, 0.99, 1.0))
        return f"{name}: {len(self.times[name])} messages, p50 {p50:.0f} p99 {p99:.0f} max {worst:.0f} ms"


class GoodClients:
    """The process; its clients begin at once."""

    def __init__(
        self, ports: dict[str, int], seconds: float, names: Sequence[str], prefix: str = "m"
    ) -> None:
        said = {"ports": ports, "seconds": seconds, "names": list(names), "prefix": prefix}
        arguments = json.dumps(said)
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fault.good_clients", arguments], stdout=subprocess.PIPE, cwd=ROOT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def told(self) -> Told:
        """Wait for the end of it."""
        out, _ = self._process.communicate(timeout=self._seconds + 120)
        return Told(**json.loads(out))


def send(ports: dict[str, int], source: str, tag: str, tls: ssl.SSLContext | None) -> tuple[float, str]:
    """One message over a new connection: seconds, and the queue id."""
    began = time.monotonic()
    port = ports["submission" if tls is not None else "smtp"]
    with smtplib.SMTP("127.0.0.1", port, "client.example", 30, (source, 0)) as client:
        if tls is not None:
            client.starttls(context=tls)
            client.login("anna@example.org", "secret")
        client.ehlo_or_helo_if_needed()
        for code, text in (
            client.mail("anna@example.org" if tls else "a@b.example"),
            client.rcpt("anna@example.org"),
        ):
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)
        code, text = client.data(
            f"From: <a@example.net>\r\nSubject: {tag}\r\n\r\n{'Hello. ' * 300}\r\n".encode()
        )
        took = time.monotonic() - began
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        return took, text.rpartition(b" ")[2].decode()


def _client(said: dict[str, Any], name: str, number: int, told: Told) -> None:
    """Send until the end; one message after the other."""
    until = time.monotonic() + said["seconds"]
    is_office = name == "office"
    tls = None
    if is_office or name == "mail program":
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    pace = OFFICE_PACE_S if is_office else PACE_S
    time.sleep(number * OFFICE_PACE_S / PEOPLE if is_office else 0)
    count = 0
    while time.monotonic() < until:
        count += 1
        tag = f"{said['prefix']}{name.replace(' ', '')}{number}x{count}"
        try:
            took, queue_id = send(said["ports"], SOURCES.get(name, OFFICE), tag, tls)
        except (OSError, smtplib.SMTPException) as error:
            told.troubles.append(f"{tag}: {error!r}")
        else:
            told.times[name].append(took)
            told.acknowledged[tag] = queue_id
        time.sleep(min(pace, max(0.0, until - time.monotonic())))


def _main() -> None:
    said: dict[str, Any] = json.loads(sys.argv[1])
    told = Told({name: [] for name in said["names"]})
    threads = [
        threading.Thread(target=_client, args=(said, name, number, told))
        for name in said["names"]
        for number in range(PEOPLE if name == "office" else 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"times": told.times, "acknowledged": told.acknowledged, "troubles": told.troubles}))


if __name__ == "__main__":
    _main()
