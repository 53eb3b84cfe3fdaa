"""fetchmail as the program of a site: it takes its mail by ATRN (its protocol ODMR), or has it sent by ETRN."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_serve_sites import SITE, hub, send, spread, subjects_of
from tests.integration.test_serve_sites_digest import with_password
from tests.support.house import RunningCmail, wait_for
from tests.support.hub_and_site import CREW, post
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

pytestmark = [pytest.mark.needs("fetchmail"), pytest.mark.limit(400)]

DONE, REFUSED = 0, 3  # its exit codes
NEAR = 'networks = ["127.0.0.0/8"]\n'


def fetchmail(folder: Path, cmail: RunningCmail, kind: str, protocol: str, more: str) -> tuple[int, str]:
    """One poll of a listener of the hub: the exit code, and what it said."""
    settings = folder / "fetchmailrc"
    settings.write_text(f"poll 127.0.0.1 service {cmail.port(kind)} protocol {protocol} timeout 30\n{more}\n")
    settings.chmod(0o600)
    command = [
        "fetchmail",
        "--fetchmailrc",
        str(settings),
        "--pidfile",
        str(folder / "pid"),
        "--nosyslog",
        "-v",
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "HOME": str(folder), "FETCHMAILHOME": str(folder), "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def by_atrn(folder: Path, cmail: RunningCmail, ship: SinkMx, password: str = "digested") -> tuple[int, str]:
    more = (
        f'  user "ship@example.org" password "{password}"\n'
        f"  fetchdomains ship.example smtphost 127.0.0.1/{ship.port}"
    )
    return fetchmail(folder, cmail, "odmr", "ODMR", more)


def test_it_takes_the_mail_of_a_site_by_atrn(tmp_path: Path) -> None:
    """What both workers have, a large one too, each message once, into the server of the site; then there is none. A wrong
    password takes nothing."""
    with Peers() as peers, hub(tmp_path, with_password(tmp_path)) as cmail:
        ship = peers.start(SinkMx())
        sent = spread(cmail, 8)
        post("127.0.0.1", cmail.port("smtp"), "b@example.net", CREW, "large", 300_000)
        code, said = by_atrn(tmp_path, cmail, ship, "wrong")
        assert code != DONE and "535" in said and not ship.taken, said
        code, said = by_atrn(tmp_path, cmail, ship)
        assert code == DONE, said
        assert subjects_of([taken.content for taken in ship.taken]) == sorted([*sent, "large"])
        wait_for(lambda: not cmail.queue(), "an empty queue")
        code, said = by_atrn(tmp_path, cmail, ship)
        assert code == DONE and "You have no mail" in said, said
        assert "Traceback" not in cmail.log()


def test_it_has_the_mail_of_a_site_sent_by_etrn(tmp_path: Path) -> None:
    """From the site's network without a log-in; for a domain that is not the site's it hears why not."""
    with Peers() as peers:
        ship = peers.start(SinkMx())
        with hub(tmp_path, SITE + NEAR + f'host = "127.0.0.1:{ship.port}"\n') as cmail:
            send(cmail, "waits")
            code, said = fetchmail(tmp_path, cmail, "smtp", "ETRN", "  fetchdomains other.example")
            assert code == REFUSED and "not allowed" in said and not ship.taken, said
            code, said = fetchmail(tmp_path, cmail, "smtp", "ETRN", "  fetchdomains ship.example")
            assert code == DONE and "Pending messages for ship.example started" in said, said
            wait_for(lambda: len(ship.taken) == 1, "it at the ship")
