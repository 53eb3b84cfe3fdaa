"""An office: a running server with people, mail that waits for many reasons, and its page; for browser tests
and screenshots."""

import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

PASSWORD: Final = "correct horse battery"
# Three ways to the Internet, somebody to be kicked, a mailbox elsewhere, two sites; nobody answers at port 9.
LINKS: Final = """
[exchange]
every = "1h"
at = ["Mon-Fri 12:30", "22:00-06:00"]
messages = 20

[[link.via]]
name = "fibre"
device = ["fibre*"]

[[link.via]]
name = "lte"
use = "small"
rate = 2000
cost = 0.02
budget = "200MiB"

[[link.via]]
name = "satellite"
rate = 256
cost = 4.5
largest = "2MiB"
window = ["00:00-24:00"]

[[link.kick]]
method = "etrn"
host = "127.0.0.1"
port = 9
wait = "1s"
repeat = 0

[[link.kick]]
method = "finger"
host = "127.0.0.1"
port = 9
wait = "1s"
repeat = 0

[[collect]]
name = "info"
protocol = "imap"
host = "127.0.0.1"
port = 9
username = "info@isp.example"
password_file = "PASSWORD_FILE"
to = "anna@example.org"

[[site]]
name = "ship"
domains = ["ship.example.org"]
networks = ["192.0.2.0/28"]

[[site]]
name = "farm"
domains = ["farm.example.org", "barn.example.org"]
networks = ["192.0.2.16/28"]
messages = 1
"""
SUBJECTS: Final = (
    ("bob@example.net", "Offer for the roof"),
    ("full@example.net", "Photographs of the building site"),
    ("grey@example.com", "Question about your invoice"),
    ("anna@example.org", "Lunch?"),
    ("captain@ship.example.org", "The weather of the week"),
    ("farmer@farm.example.org", "Seeds"),
)


@contextmanager
def office(folder: Path, more: str = "") -> Iterator[tuple[RunningCmail, str]]:
    """The server and the URL of its page; the password of the page is PASSWORD. The upstream server takes
    some mail and puts off the rest for several reasons."""
    script = {
        "RCPT:full@example.net": b"452 4.2.2 The mailbox is full\r\n",
        "RCPT:grey@example.com": b"451 4.7.1 Greylisted, please try again in 300 seconds\r\n",
        "RCPT:nobody@example.net": b"550 5.1.1 No such user here\r\n",
    }
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with Peers() as peers:
        sink = peers.start(SinkMx(script))
        smtp = f'[smtp]\nhost = "127.0.0.1"\nport = {sink.port}\n'
        password = folder / "mailbox-password"
        password.write_text("secret")
        password.chmod(0o600)
        links = LINKS.replace("PASSWORD_FILE", str(password))
        house = RunningCmail(folder, settings=settings, more=smtp + links + more)
        with house:
            command(house, "page", "password", "--stdin", stdin=PASSWORD + "\n")
            for to, subject in SUBJECTS:
                send(house, to, subject)
            leave_broken(house)
            wait_for(lambda: sum(bool(row["reason"]) for row in house.queue()) == 2, "reasons")
            yield house, f"http://127.0.0.1:{house.port('admin')}"


def send(house: RunningCmail, to: str, subject: str) -> None:
    """A message from anna."""
    head = f"From: Anna <anna@example.org>\r\nTo: <{to}>\r\nSubject: {subject}\r\n"
    head += f"Date: Mon, 23 Nov 2026 09:12:00 +0100\r\nMessage-ID: <{len(subject)}.{to}>\r\n"
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        client.sendmail("anna@example.org", [to], head + "\r\nHello, this is Anna.\r\n")


def leave_broken(house: RunningCmail) -> None:
    """A program of this machine leaves a message that Validation would refuse: it goes to quarantine."""
    code = "import sys; from cmail.cli.sendmail import main; sys.argv[0] = 'sendmail'; main()"
    words = ["-C", str(house.config), "-f", "scanner@example.org", "anna@example.org"]
    message = b"From: scanner@example.org\nSubject: Scan 17\nSubject: Scan 17\n\nA page was scanned.\n"
    subprocess.run([sys.executable, "-c", code, *words], input=message, timeout=60, check=True)
    wait_for(lambda: "is in quarantine" in house.log(), "the message in quarantine")


def further_pages(page: Any, url: str) -> list[tuple[str, str]]:
    """name and path of the pages that no menu leads to, for who is logged in at `page`."""
    found = [("user", "/users/user?address=anna@example.org"), ("password", "/password"), ("setup", "/setup")]
    found.append(("user-delete", "/users/delete?address=anna@example.org"))
    found += [(f"add-{path[1:]}", f"{path}/add") for path in ("/links", "/kicks", "/collect", "/sites")]
    for name, path in (("message", "/queue"), ("quarantined", "/quarantine")):
        page.goto(url + path)
        link = page.query_selector(f"main a[href^='{path}/']")
        assert link, f"nothing to look at on {path}"
        found.append((name, str(link.get_attribute("href"))))
    return found


def command(house: RunningCmail, *words: str, stdin: str = "") -> str:
    """A `cmail` command for this server; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "cmail", *words, "--config", str(house.config)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
