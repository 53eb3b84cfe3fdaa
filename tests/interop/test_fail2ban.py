"""fail2ban with the filter from packaging/: it sees who misbehaves, and nobody else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"

# name, the line of the log behind its date, whether it counts against the client
LINES = [
    (
        "unknown user",
        "cmail/smtpd[7]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 550 5.1.1 <x@example.org>:"
        " user unknown; from=<a@example.net> to=<x@example.org> proto=ESMTP helo=<h>",
        True,
    ),
    (
        "relaying, over IPv6",
        "cmail/smtpd[7]: NOQUEUE: reject: RCPT from mx.example.net[2001:db8::7]: 554 5.7.1"
        " <x@example.net>: relay access denied; from=<> to=<x@example.net>",
        True,
    ),
    (
        "wrong password",
        "cmail/smtpd[7]: warning: unknown[192.0.2.8]: SASL PLAIN authentication failed",
        True,
    ),
    ("too many errors", "cmail/smtpd[7]: too many errors after RCPT from unknown[192.0.2.8]", True),
    (
        "our own trouble",
        "cmail/smtpd[7]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 451 4.3.0 try again",
        False,
    ),
    ("a good client", "cmail/smtpd[7]: AAAB2CD4: client=mail.example.net[192.0.2.9]", False),
    (
        "an address that a client put into its name",
        "cmail/smtpd[7]: AAAB2CD4: client=unknown[192.0.2.9], helo=<SASL PLAIN[192.0.2.1]>",
        False,
    ),
]


@pytest.mark.needs("fail2ban-regex")
@pytest.mark.parametrize(("line", "counts"), [row[1:] for row in LINES], ids=[r[0] for r in LINES])
def test_the_filter_counts_what_it_should(tmp_path: Path, line: str, counts: bool) -> None:
    """The shipped filter matches lines of clients that misbehave and leaves all others alone."""
    filters = tmp_path / "filter.d"
    filters.mkdir()
    shutil.copy("/etc/fail2ban/filter.d/common.conf", filters)
    shutil.copy(PACKAGING / "fail2ban/filter.d/cmail.conf", filters)
    log = tmp_path / "mail.log"
    log.write_text(f"Nov 23 04:35:01 mx {line}\n")
    done = subprocess.run(
        ["fail2ban-regex", str(log), str(filters / "cmail.conf")],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Failregex: (\d+) total", done.stdout)
    assert found, done.stdout
    assert int(found[1]) == counts, done.stdout
