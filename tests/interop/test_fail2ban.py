"""fail2ban with the filter from packaging/, on lines of our own log: it sees who misbehaves, and nobody else."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmail.mail.reply import Reply
from cmail.mail.status import parse_status
from cmail.observe import log_file, maillog
from cmail.observe.settings import LogSettings

FILTER = Path(__file__).parents[2] / "packaging/fail2ban/filter.d/cmail.conf"
CLIENT = maillog.client_text("", "192.0.2.7")
CLIENT_V6 = maillog.client_text("mx.example.net", "2001:db8::7")


def refused(client: str, code: int, status: str, helo: str = "h") -> None:
    """A recipient was refused."""
    reply = Reply(code, parse_status(status), "no")
    to = "x@example.org"
    maillog.refused("smtpd", client, stage="RCPT", reply=reply, reverse_path="", forward_path=to, helo=helo)


def failed(username: str = "anna") -> None:
    """A log-in went wrong."""
    maillog.login_failed("submission", CLIENT, mechanism="PLAIN", username=username)


# name, what happens, how often it counts against a client
EVENTS: list[tuple[str, Callable[[], None], int]] = [
    ("unknown user", lambda: refused(CLIENT, 550, "5.1.1"), 1),
    ("relaying, over IPv6", lambda: refused(CLIENT_V6, 554, "5.7.1"), 1),
    ("wrong password", failed, 1),
    ("too many errors", lambda: maillog.too_many_errors("smtpd", CLIENT, stage="RCPT"), 1),
    ("our own trouble", lambda: refused(CLIENT, 451, "4.3.0"), 0),
    ("a message that is too large", lambda: refused(CLIENT, 552, "5.3.4"), 0),
    ("a good client", lambda: maillog.connected("smtpd", CLIENT), 0),
]

# A client names somebody else in what it says of itself: that one must not be locked out.
LIE = "cmail/smtpd[1]: warning: unknown[203.0.113.1]: SASL PLAIN authentication failed"

FORMS = {
    "file": lambda line: line,
    "journal": lambda line: f"Nov 23 04:35:01 mx cmail[7]: {line}",
}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The file that the log is written to."""
    path = tmp_path / "mail.log"
    log_file.open(LogSettings(file=str(path)), "mx.example.org")
    yield path
    log_file.open(LogSettings())


def judged(log: Path, form: str, *options: str) -> str:
    """What fail2ban makes of the log."""
    log_file.flush()
    lines = [FORMS[form](line) for line in log.read_text().splitlines()]
    assert lines
    log.write_text("\n".join(lines) + "\n")
    command = ["fail2ban-regex", *options, str(log), str(FILTER)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.needs("fail2ban-regex")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("event", "count"), [row[1:] for row in EVENTS], ids=[row[0] for row in EVENTS])
def test_it_counts_what_it_should(log: Path, event: Callable[[], None], count: int, form: str) -> None:
    """The filter matches lines of clients that misbehave and leaves all others alone."""
    event()
    shown = judged(log, form)
    found = re.search(r"Failregex: (\d+) total", shown)
    assert found, shown
    assert int(found[1]) == count, shown


@pytest.mark.needs("fail2ban-regex")
@pytest.mark.parametrize("form", FORMS)
def test_nobody_is_locked_out_by_what_another_says(log: Path, form: str) -> None:
    """A line that a client forges within its name counts against the client, if at all."""
    refused(CLIENT, 550, "5.1.1", helo=LIE)
    refused(CLIENT, 451, "4.3.0", helo=LIE)
    failed(username=LIE)
    assert set(judged(log, form, "-o", "ip").split()) == {"192.0.2.7"}
